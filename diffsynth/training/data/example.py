"""What a data set gives: clips and pictures as bytes, with their labels and captions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel, OptionalPath

Pixels = NDArray[np.uint8]
"""(F, H, W, C) for a clip, C being 1 (grey) or 3 (RGB)."""
Chance = np.random.Generator
Labels = Sequence[Sequence[int | None]]
"""Of each example: the clip's, then one for each picture beside it."""
Texts = Sequence[Sequence[str | None]]
"""Likewise."""

LONGEST_SIDE = 8192


def _size(value: object) -> tuple[int, int]:
    sides = [value, value] if isinstance(value, int) else list(value) if isinstance(value, list | tuple) else []
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= LONGEST_SIDE for side in sides):
        raise PydanticCustomError("path", "must be one side, or [height, width], in pixels", {})
    return sides[0], sides[1]


_SIDE = {"type": "integer", "minimum": 1, "maximum": LONGEST_SIDE}
Size = Annotated[
    tuple[int, int],
    BeforeValidator(_size),
    Field(strict=False),
    WithJsonSchema({"anyOf": [_SIDE, {"type": "array", "items": _SIDE, "minItems": 2, "maxItems": 2}]}),
]
"""Height and width; a config may say one number for both."""


class ClipSetConfig(ConfigModel):
    """What every data set says of the clips that it gives."""

    size: Size = (256, 256)
    """Side of the frames in pixels, or `[height, width]`."""
    frames: Annotated[int, Field(ge=1, le=4096)] = 16
    """Frames of a clip."""
    frame_channels: Literal[1, 3] = 3
    """1: grey clips; 3: colour."""
    latents: OptionalPath = None
    """For `"space": "latent"`: the folder of a run of `save_latents` on the same clips. Frames are neither read nor
    encoded again."""
    images: Annotated[int, Field(ge=0, le=256)] = 0
    """Single pictures that are learned beside each clip (joint training of pictures and clips)."""


@dataclass(frozen=True)
class Drawn:
    """One clip, or one picture (F = 1), of a data set."""

    pixels: NDArray[Any]
    """Bytes, as `Pixels`; or, of saved latents, moments (F, 2 · Z, h, w) float32."""
    label: int | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Trouble:
    """A file that was passed over, and why."""

    path: Path
    reason: str
    too_short: bool = False

    @classmethod
    def of(cls, path: Path, problem: Exception) -> "Trouble":
        """Of an error whose words begin with the path and end as a sentence: they stand within another one."""
        return cls(path, str(problem).removeprefix(f"{path}: ").removesuffix("."))


class Unusable(Exception):  # noqa: N818  not a fault of the program: another clip takes its place
    """A clip that can't be used: corrupt, or too short."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.reason)
        self.trouble = trouble


class ClipSet(Protocol):
    """Numbered clips. What `clip` and `image` return depends on the number and on what `chance` draws, on nothing else.

    Picklable: worker processes hold copies.
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels, in their order; empty where clips have none."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of a set its user asked for and can't be had: told where a run begins."""

    @property
    def fingerprint(self) -> str:
        """Changes when the set does: a run is not continued on other data."""

    def __len__(self) -> int: ...

    def clip(self, number: int, chance: Chance) -> Drawn:
        """Raises `Unusable` where a file is corrupt or too short."""

    @property
    def picture_count(self) -> int:
        """How many numbers `image` takes."""

    def image(self, number: int, chance: Chance) -> Drawn:
        """A picture of (1, H, W, C) for joint training."""
