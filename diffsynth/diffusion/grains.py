"""Noise that moves with a clip and stays white.

A picture's noise is made of grains, one to a pixel, each an independent draw for every channel. Grains ride on the
clip's motion at exact positions. A pixel shows the grain that lies nearest its centre; others in it are dropped, and
where none does, a fresh one begins. Which grain is kept never hangs on what it holds, so at every frame the pixels hold
independent draws: mean 0, variance 1, and a flat spectrum, exactly.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Fresh = Callable[[int], Floats]
"""A whole field of new draws for a frame: (C, H, W)."""


@dataclass(frozen=True)
class Motion:
    """How the pixels of a frame move on to the next."""

    forth: Floats
    """(H, W, 2), x before y."""
    lasting: NDArray[np.bool_]
    """(H, W): what is still to be seen in the next frame."""


@dataclass(frozen=True)
class Grains:
    """One grain for each pixel, in the order of the pixels."""

    x: Floats
    y: Floats
    values: Floats
    """(C, H · W)."""

    @classmethod
    def begin(cls, field: Floats) -> "Grains":
        height, width = field.shape[1:]
        y, x = np.mgrid[:height, :width].astype(np.float32).reshape(2, -1)
        return cls(x, y, field.reshape(len(field), -1).copy())

    def moved(self, motion: Motion, field: Floats) -> "Grains":
        """Carried to the next frame, with grains of `field` where none arrives."""
        height, width = motion.lasting.shape
        here = _pixel(self.y, self.x, width)
        x = self.x + motion.forth[..., 0].reshape(-1)[here]
        y = self.y + motion.forth[..., 1].reshape(-1)[here]
        stays = motion.lasting.reshape(-1)[here] & (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
        old = np.flatnonzero(stays)
        offset = np.hypot(x - np.floor(x + 0.5), y - np.floor(y + 0.5))
        old = old[np.argsort(offset[old], kind="stable")]
        pixels, first = np.unique(_pixel(y[old], x[old], width), return_index=True)
        kept = old[first]
        fresh = Grains.begin(field)
        fresh.x[pixels], fresh.y[pixels] = x[kept], y[kept]
        fresh.values[:, pixels] = self.values[:, kept]
        return fresh


def _pixel(y: Floats, x: Floats, width: int) -> NDArray[Any]:
    """The number of the pixel that a position lies in. Halves go up: to even, two neighbours would share a pixel."""
    row, column = np.floor(y + 0.5).astype(np.int64), np.floor(x + 0.5).astype(np.int64)
    return np.asarray(row * width + column)


def ride(motions: Iterable[Motion], fresh: Fresh) -> Iterator[Grains]:
    """The grains of each frame; `motions` holds one entry fewer than there are frames."""
    grains = Grains.begin(fresh(0))
    yield grains
    for frame, motion in enumerate(motions, 1):
        grains = grains.moved(motion, fresh(frame))
        yield grains


def pooled(grains: Grains, height: int, width: int, side: int) -> Floats:
    """(C, h, w) noise of a picture `side` times as coarse: each pixel the sum over a block, brought to variance 1."""
    blocks = grains.values.reshape(len(grains.values), height, side, width, side)
    return np.asarray(blocks.sum((2, 4)) / side, dtype=np.float32)
