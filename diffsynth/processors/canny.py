"""Canny edges: thin binary lines."""

import cv2
import numpy as np
from numpy.typing import NDArray


def canny_edges(frame: NDArray[np.uint8], low: float = 100.0, high: float = 200.0) -> NDArray[np.uint8]:
    """(H, W, 3) RGB in, (H, W) map of 0 and 255 out, with hysteresis between gradient magnitudes `low` and `high`.

    Each colour channel is differentiated on its own and the steepest one counts, so equally bright things of
    different colour are still told apart.
    """
    gradients = [
        cv2.Sobel(frame, cv2.CV_16S, dx, dy, ksize=3, borderType=cv2.BORDER_REPLICATE) for dx, dy in ((1, 0), (0, 1))
    ]
    magnitude = np.abs(gradients[0].astype(np.int32)) + np.abs(gradients[1])
    steepest = magnitude.argmax(-1)[..., None]
    dx, dy = (np.ascontiguousarray(np.take_along_axis(g, steepest, -1)[..., 0]) for g in gradients)
    return np.asarray(cv2.Canny(dx, dy, low, high), dtype=np.uint8)
