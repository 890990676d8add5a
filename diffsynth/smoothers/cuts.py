"""Where one shot ends and the next begins: nothing is blended across a cut."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from diffsynth.frames import Image

SIDE = 32
"""Frames are compared as pictures of this size: motion within a shot moves few of their pixels."""
JUMP = 12.0
"""Mean difference in grey levels below which nothing is a cut."""
FACTOR = 3.0
"""A cut differs this many times more than the steps around it; a fast pan differs everywhere."""
NEIGHBOURS = 4


def find_cuts(frames: Iterable[Image]) -> list[int]:
    """The frames that begin a new shot."""
    steps = np.array([0.0, *_steps(frames)])
    found: list[int] = []
    for t in range(1, len(steps)):
        around = np.concatenate([steps[max(1, t - NEIGHBOURS) : t], steps[t + 1 : t + 1 + NEIGHBOURS]])
        usual = float(np.median(around)) if len(around) else 0.0
        if steps[t] > max(JUMP, FACTOR * usual):
            found.append(t)
    return found


def _steps(frames: Iterable[Image]) -> Iterator[float]:
    before: NDArray[np.float32] | None = None
    for frame in frames:
        now = _thumbnail(frame)
        if before is not None:
            yield _difference(before, now)
        before = now


def _difference(before: NDArray[np.float32], now: NDArray[np.float32]) -> float:
    """Of two thumbnails, each pixel against the nearest value around it: what moved by one of them is no change."""
    import cv2

    low, high = cv2.erode(before, np.ones((3, 3))), cv2.dilate(before, np.ones((3, 3)))
    outside = np.maximum(now - high, 0) + np.maximum(low - now, 0)
    return float(outside.mean())


def _thumbnail(frame: Image) -> NDArray[np.float32]:
    import cv2

    return cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
