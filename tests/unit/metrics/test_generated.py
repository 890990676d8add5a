"""What samples should show, by their labels, and how often they do."""

import numpy as np
import pytest

from diffsynth.errors import MediaError
from diffsynth.metrics.generated import Compared, digit_accuracy, shape_accuracy
from diffsynth.training.data.moving_digits import MovingDigits
from diffsynth.training.data.moving_shapes import MovingShapes

CHANCE = np.random.default_rng(0)


def compared(clips: MovingShapes | MovingDigits, labels: list[int | None]) -> Compared:
    return Compared([clips.clip(number, CHANCE).pixels for number in range(len(labels))], labels, (), (), clips.classes)


def test_digits_are_right_where_the_label_is() -> None:
    found = digit_accuracy(compared(MovingDigits(16, 16, 4), [0, 1, 2, 7]))
    assert found["value"] == 0.75
    assert found["by_class"] == {"zero": 1.0, "one": 1.0, "two": 1.0, "seven": 0.0}


def test_shapes_are_right_by_what_the_class_tells() -> None:
    by_shape = MovingShapes(16, 16, 4)
    assert shape_accuracy(compared(by_shape, [0, 1, 2, 4]))["value"] == 0.75
    both = MovingShapes(16, 16, 4, told="shape_and_colour")
    labels = [both.clip(number, CHANCE).label for number in range(4)]
    assert shape_accuracy(compared(both, labels))["value"] == 1
    other = [(label or 0) ^ 1 for label in labels]  # the shape in a colour beside its own
    assert shape_accuracy(compared(both, other))["value"] == 0


def test_labels_that_no_class_has_are_said() -> None:
    with pytest.raises(MediaError, match=r"labels up to 12, but the classes of .* are 5: disc"):
        shape_accuracy(compared(MovingShapes(16, 16, 4), [0, 12]))
    with pytest.raises(MediaError, match="told classes"):
        digit_accuracy(compared(MovingDigits(16, 16, 4), [0, None]))
