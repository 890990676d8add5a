"""Frames at another size, scaled as they are read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.processors.base import Frames

Resampling = PIL.Image.Resampling


def scaled(picture: Image, height: int, width: int, resampling: Resampling) -> Image:
    """An (H, W) or (H, W, 3) picture stretched to another size."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.array(PIL.Image.fromarray(picture).resize((width, height), resampling))


@dataclass(frozen=True)
class Sized:
    """Frames stretched to `height` × `width`."""

    frames: Frames
    height: int
    width: int
    opaque: bool = False
    """Whether transparency is left out, where it says nothing."""

    @property
    def has_alpha(self) -> bool:
        return self.frames.has_alpha and not self.opaque

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, position: int) -> Image:
        return scaled(self.frames[position], self.height, self.width, Resampling.LANCZOS)

    def alpha(self, position: int) -> Image:
        return scaled(self.frames.alpha(position), self.height, self.width, Resampling.NEAREST)


def sized_store(store: FrameStore, height: int, width: int, path: Path) -> FrameStore:
    """The frames of a store at another size in the store at `path`, with their alpha and times; continues it."""
    if (store.height, store.width) == (height, width):
        return store
    if is_complete(path):
        return FrameStore(path)
    sized = Sized(store, height, width)
    timing = store.timing
    base = timing.time_base if timing is not None else None
    with FrameWriter(path, height, width, alpha=store.has_alpha, time_base=base) as writer:
        for position in range(writer.count, len(store)):
            alpha = sized.alpha(position) if store.has_alpha else None
            tick, until = store.shown(position) or (None, None)
            writer.append(sized[position], alpha, tick=tick, until=until)
        return writer.finish()
