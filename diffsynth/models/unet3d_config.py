"""The U-net's config."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel
from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, Pooling, SkipFrom, VideoShape

if TYPE_CHECKING:
    from diffsynth.models.unet3d import Unet3D
    from diffsynth.models.video_unet import VideoUnet

Width = Annotated[int, Field(ge=1, le=65_536)]


class Unet3DConfig(ConfigModel):
    """A space-time factored U-net: convolutions and attention over each frame, attention over time in between."""

    type: Literal["unet3d"] = "unet3d"
    dim: Annotated[int, Field(ge=4, multiple_of=2)] = 64
    """Channels of the first level."""
    dim_mults: Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=8)] = (1, 2, 4, 8)
    """Each level's channels, in multiples of `dim`. Each level but the last halves the frames."""
    attn_heads: Width = 8
    attn_dim_head: Annotated[int, Field(ge=2, multiple_of=2)] = 32
    """Size of a head of the attention over time."""
    init_dim: Width | None = None
    """Channels of the first convolution; left out: `dim`."""
    init_kernel_size: Annotated[int, Field(ge=1)] = 7
    """Side of the first convolution; odd."""
    use_sparse_linear_attn: bool = True
    """Whether each level has attention over a frame's places, of linear cost."""
    resnet_groups: Width | None = None
    """Group norm in so many groups over the whole video, as published before version 0.7; left out: each place is
    normed by itself."""
    skip_from: SkipFrom = "attention"
    """What the last block sees of the start: the first attention, or the convolution in front of it."""
    cond_dim: Width | None = None
    """For classes: the width of the vector that stands for one; left out: 4 · `dim`. A text's is the encoder's."""
    text_pooling: Pooling = "words"
    """How a text becomes one vector: the mean over its tokens but the first, which BERT puts there; over all; or the
    first one (BERT's [CLS])."""
    clock: Annotated[int, Field(ge=1)] = 1000
    """What the network's time counts to."""

    @model_validator(mode="after")
    def _sound(self) -> "Unet3DConfig":
        if self.init_kernel_size % 2 == 0:
            raise PydanticCustomError("problem", 'must hold an odd "init_kernel_size"', {})
        widths = [self.dim, self.init_dim or self.dim, *(self.dim * each for each in self.dim_mults)]
        if self.resnet_groups is not None and any(width % self.resnet_groups for width in widths):
            sentence = f'must hold "resnet_groups" that divide all widths, {widths}'
            raise PydanticCustomError("problem", "{sentence}", {"sentence": sentence})
        return self

    @classmethod
    def of(cls, network: "Unet3D") -> "Unet3DConfig":
        """What would build such a network."""
        return cls(
            dim=network.dim,
            dim_mults=network.dim_mults,
            attn_heads=network.attn_heads,
            attn_dim_head=network.attn_dim_head,
            init_dim=network.init_dim,
            init_kernel_size=network.init_kernel_size,
            use_sparse_linear_attn=network.use_sparse_linear_attn,
            resnet_groups=network.resnet_groups,
            skip_from=network.skip_from,
        )

    def told_width(self, condition: Condition) -> int | None:
        """The width of the vector that the network is told."""
        if condition.kind == "none":
            return None
        return condition.text_dim if condition.kind == "text" else self.cond_dim or 4 * self.dim

    def build(self, shape: VideoShape, condition: Condition, *, learned_sigma: bool) -> "VideoUnet":
        self.require_fit(shape)
        from diffsynth.models.video_unet import VideoUnet

        out = shape.channels * (2 if learned_sigma else 1)
        network = self.network(shape.channels, out, self.told_width(condition))
        return VideoUnet(network, shape, condition, pooling=self.text_pooling, clock=self.clock)

    def require_fit(self, shape: VideoShape) -> None:
        """Raises `ModelError` for videos that its levels can't halve."""
        halved = 2 ** (len(self.dim_mults) - 1)
        if shape.height % halved or shape.width % halved:
            raise ModelError(
                f'"backbone.dim_mults" has {len(self.dim_mults)} levels, which need frames whose sides are multiples '
                f"of {halved}; they are {shape.width}×{shape.height}. Use fewer levels or other frames."
            )

    def network(self, channels: int, out: int, told: int | None) -> "Unet3D":
        """The network alone, which is told a vector of width `told`."""
        from diffsynth.models.unet3d import Unet3D

        return Unet3D(
            self.dim,
            told,
            out,
            self.dim_mults,
            channels,
            self.attn_heads,
            self.attn_dim_head,
            init_dim=self.init_dim,
            init_kernel_size=self.init_kernel_size,
            use_sparse_linear_attn=self.use_sparse_linear_attn,
            resnet_groups=self.resnet_groups,
            skip_from=self.skip_from,
        )
