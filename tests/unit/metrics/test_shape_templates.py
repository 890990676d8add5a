"""Shapes are told apart by their drawings: all of them, in other places and sizes than the templates."""

import numpy as np
import pytest

from diffsynth.metrics.shape_templates import colour_of, shape_of
from diffsynth.training.data.moving_shapes import MovingShapes


@pytest.mark.parametrize(("height", "width", "frames"), [(16, 16, 6), (32, 40, 2), (20, 16, 1)])
def test_drawn_shapes_are_told_apart(height: int, width: int, frames: int) -> None:
    clips = MovingShapes(height, width, frames, set_seed=3, told="shape_and_colour")
    for number in range(60):
        drawn = clips.clip(number, np.random.default_rng(0))
        assert drawn.label is not None
        assert f"{colour_of(drawn.pixels)} {shape_of(drawn.pixels)}" == clips.classes[drawn.label]


def test_a_video_of_nothing_is_told_without_dividing_by_it() -> None:
    nothing = np.zeros((2, 16, 16, 3), np.uint8)
    assert (colour_of(nothing), shape_of(nothing)) == ("red", "disc")
