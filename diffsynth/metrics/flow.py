"""Motion of the source clip: dense flow, and where it can be trusted."""

import cv2
import numpy as np
from numpy.typing import NDArray

from diffsynth.frames import Image

Field = NDArray[np.float32]
Mask = NDArray[np.bool_]


def flow(here: Image, there: Image) -> Field:
    """(H, W, 2): for each pixel of `here`, by how much (x, y) it has moved in `there`. DIS optical flow on grey."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    start = np.zeros((*here.shape[:2], 2), np.float32)
    grey = [cv2.cvtColor(np.ascontiguousarray(each), cv2.COLOR_RGB2GRAY) for each in (here, there)]
    return np.asarray(finder.calc(grey[0], grey[1], start), np.float32)


def warped(picture: NDArray[np.generic], motion: Field) -> Field:
    """`picture` of the other frame as it lies here, in float: a difference of bytes would wrap."""
    height, width = motion.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    source = np.ascontiguousarray(picture, np.float32)
    return np.asarray(
        cv2.remap(
            source, columns + motion[..., 0], rows + motion[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        ),
        np.float32,
    )


def visible(forth: Field, back: Field) -> Mask:
    """Where going there and back ends near the start, and inside the picture.

    The bound grows with the motion, as flow gets less exact: |f + b|² < 0.01 (|f|² + |b|²) + 0.5.
    """
    height, width = forth.shape[:2]
    returned = warped(back, forth)
    gap = np.square(forth + returned).sum(2)
    bound = 0.01 * (np.square(forth).sum(2) + np.square(returned).sum(2)) + 0.5
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = columns + forth[..., 0], rows + forth[..., 1]
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return np.asarray((gap < bound) & inside, np.bool_)
