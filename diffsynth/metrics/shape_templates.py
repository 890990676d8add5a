"""Which shape, in which colour, a video of `moving_shapes` shows, told by comparing it with drawings of all of them."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from diffsynth.metrics.templates import Floats, Templates
from diffsynth.training.data.moving_shapes import COLOURS, RADII, SHAPES, covered

BLUR = 0.02
"""Of the frame's shorter side."""
SIZES = np.linspace(*RADII, 5)
OFFSETS = (0.0, 0.5)
"""In pixels: where between two of them the middle lies shows in small frames."""


def shape_of(video: NDArray[np.uint8]) -> str:
    """The shape whose drawing, at its best place and size, is most like the frames of (F, H, W, 3)."""
    return SHAPES[_templates(*video.shape[1:3]).best(video.astype(np.float64).max(-1) / 255)]


def colour_of(video: NDArray[np.uint8]) -> str:
    """The colour that what is lit in (F, H, W, 3) is most like, all in all."""
    lit = video.reshape(-1, 3).astype(np.float64).sum(0)
    names = list(COLOURS)
    known = np.array([COLOURS[name] for name in names], dtype=np.float64)
    return names[int((known @ lit / np.linalg.norm(known, axis=1)).argmax())]


@lru_cache(maxsize=4)
def _templates(height: int, width: int) -> Templates:
    blur = BLUR * min(height, width)
    return Templates.of([_drawn(shape, height, width) for shape in range(len(SHAPES))], blur)


def _drawn(shape: int, height: int, width: int) -> list[Floats]:
    side = min(height, width)
    middles = [np.array([[width / 2 + x, height / 2 + y]]) for x in OFFSETS for y in OFFSETS]
    return [covered(shape, middle, size * side, height, width)[0] for size in SIZES for middle in middles]
