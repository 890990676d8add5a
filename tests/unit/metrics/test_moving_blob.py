"""What counts as a moving shape, on clips of the set and on what is like them in all but one thing."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from diffsynth.metrics.moving_blob import is_moving_shape
from diffsynth.training.data.moving_shapes import MovingShapesConfig

Video = NDArray[np.uint8]
CHANCE = np.random.default_rng(0)


def clips(side: int, frames: int) -> list[Video]:
    drawn = MovingShapesConfig(size=(side, side), frames=frames).build()
    return [drawn.clip(number, CHANCE).pixels for number in range(150)]


def share(videos: list[Video]) -> float:
    return float(np.mean([is_moving_shape(each) for each in videos]))


@pytest.mark.parametrize(("side", "frames"), [(16, 6), (32, 8)])
def test_clips_of_the_set_are_moving_shapes(side: int, frames: int) -> None:
    # At 16 pixels the triangle's edge lies now on this pixel, now on that one.
    assert share(clips(side, frames)) >= 0.97


def recoloured(video: Video) -> Video:
    """Another colour from the middle on."""
    late = video.copy()
    late[3:] = late[3:, :, :, [2, 0, 1]]
    return late


SPOILED: dict[str, Callable[[Video], Video]] = {
    "noise": lambda video: CHANCE.integers(0, 256, video.shape, np.uint8),
    "nothing": np.zeros_like,
    "held still": lambda video: np.repeat(video[:1], len(video), 0),
    "in any order": lambda video: video[[3, 0, 5, 1, 4, 2]],
    "another colour": recoloured,
    "grey": lambda video: np.repeat(video.max(-1, keepdims=True), 3, -1),
    "two shapes": lambda video: np.maximum(video, np.roll(video, 8, 2)),
    "one frame lost": lambda video: np.where(np.arange(6)[:, None, None, None] == 2, 0, video).astype(np.uint8),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_is_spoiled_is_none(how: str) -> None:
    # A slow shape near a border may pass in any order of its frames, and one that touches its double is one figure.
    assert share([SPOILED[how](each) for each in clips(16, 6)]) <= 0.1
