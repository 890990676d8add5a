"""How near each video is to the nearest clip that was learned from: drawn anew, or remembered?"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
LARGEST = 32
"""Frames are compared at this size at most: finer detail would tell apart what shows the same."""


@dataclass(frozen=True)
class Nearest:
    """For each video, its nearest clip and the root mean square difference, in grey levels."""

    clips: NDArray[np.int64]
    distances: NDArray[np.float64]


def nearest(videos: Sequence[Pixels], clips: Sequence[Pixels]) -> Nearest:
    there = np.stack([_small(each) for each in clips])
    squares = np.square(there).sum(1)
    found, distances = [], []
    for video in videos:
        here = _small(video)
        gaps = np.maximum(squares - 2 * there @ here + here @ here, 0)
        found.append(int(gaps.argmin()))
        distances.append(float(np.sqrt(gaps.min() / len(here))))
    return Nearest(np.array(found), np.array(distances))


def _small(video: Pixels) -> NDArray[np.float64]:
    height, width = video.shape[1:3]
    scale = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    frames = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in video] if scale < 1 else list(video)
    return np.stack(frames).astype(np.float64).ravel()
