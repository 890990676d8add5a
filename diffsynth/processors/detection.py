"""The size that a network looks at, and the way back to the frame's own."""

import numpy as np

from diffsynth.frames import Image

GRID = 64
"""The annotator networks were published with sides that are multiples of this."""


def detection_size(height: int, width: int, resolution: int | None) -> tuple[int, int]:
    """(height, width) whose shorter side is about `resolution` (left out: the frame's own), on the grid."""
    scale = 1.0 if resolution is None else resolution / min(height, width)
    # Half up in the sense of `round`, to even: what ControlNet's own annotators do.
    rows, columns = (max(1, round(side * scale / GRID)) * GRID for side in (height, width))
    return rows, columns


def to_detection(frame: Image, resolution: int | None) -> Image:
    """The frame at the size that the network looks at."""
    import cv2

    height, width = frame.shape[:2]
    size = detection_size(height, width, resolution)
    if size == (height, width):
        return frame
    grows = (resolution or min(height, width)) > min(height, width)
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_LANCZOS4 if grows else cv2.INTER_AREA))


def to_frame(found: Image, height: int, width: int) -> Image:
    """A map at the frame's size."""
    import cv2

    if found.shape[:2] == (height, width):
        return found
    shrinks = found.shape[0] > height or found.shape[1] > width
    return np.asarray(cv2.resize(found, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
