"""Which digit a video of `moving_digits` shows, told by comparing it with drawings of all of them."""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from diffsynth.metrics.templates import Floats, Templates
from diffsynth.training.data.moving_digits import HEIGHT, THICKNESS, WIDTH
from diffsynth.training.data.strokes import DIGITS, Polyline, draw, segments

BLUR = 0.03
"""Of the frame's shorter side."""
SIZES, SLANTS = (0.9, 1.0, 1.1), (-0.12, 0.0, 0.12)


def digit_of(video: NDArray[np.uint8]) -> int:
    """The digit whose drawing, at its best place, size and slant, is most like the frames of (F, H, W, C)."""
    return _templates(*video.shape[1:3]).best(video.astype(np.float64).mean(-1) / 255)


@lru_cache(maxsize=4)
def _templates(height: int, width: int) -> Templates:
    return Templates.of([_drawn(figure, height, width) for figure in DIGITS], BLUR * min(height, width))


def _drawn(figure: tuple[Polyline, ...], height: int, width: int) -> list[Floats]:
    side = min(height, width)
    middle = np.array([[width / 2, height / 2]])
    drawn = []
    for tall, wide, slant in product(SIZES, SIZES, SLANTS):
        ends = (segments(figure) - 0.5) * np.array([WIDTH * side * wide, HEIGHT * side * tall])
        ends[..., 0] -= ends[..., 1] * slant
        drawn.append(draw(ends, middle, max(THICKNESS * side, 1.0), height, width)[0])
    return drawn
