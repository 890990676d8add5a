"""Latte's config: the published sizes, and every choice that the paper compares."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel
from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, Variant, VideoShape

if TYPE_CHECKING:
    from diffsynth.models.latte import Latte

LatteSize = Literal["S/2", "S/4", "S/8", "B/2", "B/4", "B/8", "L/2", "L/4", "L/8", "XL/2", "XL/4", "XL/8"]
AttentionBackend = Literal["sdpa", "math"]
SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
"""Hidden size, depth and heads."""
DIMENSIONS = ("hidden", "depth", "heads", "patch")


def _latte(_name: str) -> Literal["latte"]:
    return "latte"


class LatteConfig(ConfigModel):
    """A transformer that attends over a frame's patches and, in turn, over the frames at a patch."""

    type: Annotated[Literal["latte", "diffusynth", "lavita"], AfterValidator(_latte)] = "latte"
    size: LatteSize | None = None
    """A published size; instead of `hidden`, `depth`, `heads` and `patch`."""
    hidden: Annotated[int, Field(ge=8, multiple_of=8)] = 384
    depth: Annotated[int, Field(ge=1)] = 12
    heads: Annotated[int, Field(ge=1)] = 6
    patch: Annotated[int, Field(ge=1)] = 2
    """Side of the square that becomes one token."""
    variant: Variant = "interleaved"
    """The paper's four: spatial and temporal blocks in turn; first all spatial, then all temporal ones; both attentions
    in each block; half of each attention's heads over space, half over time."""
    patch_embedding: Literal["uniform", "tube"] = "uniform"
    """Whether each frame is cut into patches, or `tube_length` frames together."""
    tube_length: Annotated[int, Field(ge=1)] = 2
    conditioning: Literal["s_adaln", "all_tokens"] = "s_adaln"
    """Whether time and condition scale and shift each block's layers, or are tokens beside the video's."""
    temporal_positions: Literal["sincos", "rotary"] = "sincos"
    mlp_ratio: Annotated[float, Field(gt=0, strict=False)] = 4.0
    attention: AttentionBackend = "sdpa"
    """`math` is attention written out: slower, and what the other is held against."""

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        """A size becomes its numbers, so that a config that was read says all of them."""
        if not isinstance(data, dict) or data.get("size") not in LatteSize.__args__:  # type: ignore[attr-defined]
            return data
        name, patch = data["size"].split("/")
        numbers = dict(zip(DIMENSIONS, (*SIZES[name], int(patch)), strict=True))
        wrong = [key for key in DIMENSIONS if key in data and data[key] != numbers[key]]
        if wrong:
            told = ", ".join(f"{key} is {numbers[key]}, not {data[key]}" for key in wrong)
            sentence = f"must hold a size or numbers that don't contradict it: in {data['size']}, {told}"
            raise PydanticCustomError("problem", "{sentence}", {"sentence": sentence})
        return {**data, **numbers}

    @field_validator("heads")
    @classmethod
    def _even_heads(cls, heads: int, info: ValidationInfo) -> int:
        hidden = info.data.get("hidden", 0)
        if hidden % heads or hidden // heads % 2:
            sentence = f"must divide hidden = {hidden} into heads of an even size"
            raise PydanticCustomError("path", "{sentence}", {"sentence": sentence})
        return heads

    @model_validator(mode="after")
    def _halves(self) -> "LatteConfig":
        if self.variant == "split" and self.heads % 2:
            raise PydanticCustomError("problem", 'must hold an even number of "heads" with "variant": "split"', {})
        return self

    def build(self, shape: VideoShape, condition: Condition, *, learned_sigma: bool) -> "Latte":
        self.require_fit(shape)
        from diffsynth.models.latte import Latte

        return Latte(
            shape,
            condition,
            hidden=self.hidden,
            depth=self.depth,
            heads=self.heads,
            patch=self.patch,
            tube=self.tube_length if self.patch_embedding == "tube" else None,
            variant=self.variant,
            tokens=self.conditioning == "all_tokens",
            rotary=self.temporal_positions == "rotary",
            mlp_ratio=self.mlp_ratio,
            learned_sigma=learned_sigma,
            backend=self.attention,
        )

    def require_fit(self, shape: VideoShape) -> None:
        """Raises `ModelError` for videos that its patches don't divide."""
        if shape.height % self.patch or shape.width % self.patch:
            raise ModelError(
                f'"backbone.patch" is {self.patch}, which doesn\'t divide frames of {shape.width}×{shape.height}. '
                "Choose another patch or frame size."
            )
        if self.patch_embedding == "tube" and shape.frames % self.tube_length:
            raise ModelError(
                f'"backbone.tube_length" is {self.tube_length}, which doesn\'t divide {shape.frames} frames. '
                "Choose another length or number of frames."
            )
