"""`ControlnetImageProcesserInpaint`: the frames with the part that is to be painted anew cut out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.config import OptionalPath
from diffsynth.errors import ConfigError
from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.identity import identify
from diffsynth.processors.base import MAPS, Advance, Frames, Processor, ProcessorSettings
from diffsynth.runtime import Runtime


class ControlnetImageProcessorInpaintConfig(ProcessorSettings):
    """The frames with the part that is to be painted anew cut out; needs no weights."""

    type: Literal["ControlnetImageProcesserInpaint"] = Field(default="ControlnetImageProcesserInpaint", exclude=True)
    mask: OptionalPath = None
    """An image or a clip, white where the frames are painted anew; a clip has one picture for each frame that is used.
    Left out, it is the transparent part of the clip."""
    grow: Annotated[int, Field(ge=0, le=256)] = 0
    """Pixels by which the mask grows to all sides."""

    def build(self, runtime: Runtime) -> Processor:
        held = {} if self.mask is None else {"mask": identify(self.mask)["sha256"]}
        return Inpaint({**self.fingerprint(), **held}, self.mask, self.grow)


@dataclass(frozen=True)
class Inpaint:
    """Leaves the mask as the maps' transparency: what is clear is painted anew. `condition_values` makes it -1."""

    fingerprint: Mapping[str, Any]
    mask: Path | None
    grow: int
    passes: int = 1
    looks_around: bool = True

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        if is_complete(folder / MAPS):
            advance(len(frames))
            return FrameStore(folder / MAPS)
        with FrameWriter(folder / MAPS, frames.height, frames.width, alpha=True) as writer:
            advance(writer.count)
            for position, mask in enumerate(self._masks(frames, writer.count), writer.count):
                hole = self._grown(mask)
                writer.append(np.where(hole[..., None], 0, frames[position]), np.where(hole, 0, 255).astype(np.uint8))
                advance(1)
            return writer.finish()

    def _masks(self, frames: Frames, start: int) -> Iterator[NDArray[np.bool_]]:
        """(H, W) for each frame from `start` on: whether a pixel is painted anew."""
        count = len(frames)
        if self.mask is None:
            if not frames.has_alpha:
                problem = (
                    'ControlnetImageProcesserInpaint: the clip has no transparency, and no "mask" says what is to be '
                    "painted anew. Add one to its processor_config."
                )
                raise ConfigError([problem])
            for position in range(start, count):
                yield frames.alpha(position) < 128
            return
        pictures = _pictures(self.mask, frames.height, frames.width)
        first = next(pictures)
        second = next(pictures, None)
        for position in range(count):
            picture = first if position == 0 or second is None else second if position == 1 else next(pictures, None)
            if picture is None:
                problem = (
                    f"ControlnetImageProcesserInpaint: {self.mask} ends after {position} pictures, the clip has "
                    f"{count} frames. Give one picture, or one for each frame."
                )
                raise ConfigError([problem])
            if position >= start:
                yield picture.mean(-1) >= 128

    def _grown(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        import cv2

        if self.grow == 0:
            return mask
        side = 2 * self.grow + 1
        grown: NDArray[np.bool_] = cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
        return grown


def _pictures(mask: Path, height: int, width: int) -> Iterator[Image]:
    from diffsynth.video.clip import open_clip
    from diffsynth.video.options import Geometry

    for frame in open_clip(mask, geometry=Geometry(height, width, "crop")).frames():
        yield frame.rgb


def condition_values(found: Image, alpha: Image | None = None) -> NDArray[np.float32]:
    """What a ControlNet reads: (H, W, 3) of 0 to 1, and -1 where an inpainting map is clear."""
    values = found.astype(np.float32) / np.float32(255)
    if alpha is not None:
        values[alpha == 0] = -1
    return values
