"""How near each video is to the nearest clip that was learned from: drawn anew, or remembered?"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
AT_ONCE = 64
"""Clips in memory at a time: of all of them there may be too many."""
LARGEST = 32
"""Frames are compared at this size at most: finer detail would tell apart what shows the same."""


@dataclass(frozen=True)
class Nearest:
    """For each video, its nearest clip and the root mean square difference, in grey levels."""

    clips: NDArray[np.int64]
    distances: NDArray[np.float64]


def nearest(videos: Sequence[Pixels], clips: Sequence[Pixels]) -> Nearest:
    here = np.stack([_small(each) for each in videos])
    found, least = np.zeros(len(here), np.int64), np.full(len(here), np.inf)
    for start in range(0, len(clips), AT_ONCE):
        part = clips[start : start + AT_ONCE]
        there = np.stack([_small(each) for each in part])
        gaps = np.square(here).sum(1)[:, None] - 2 * here @ there.T + np.square(there).sum(1)
        nearer = gaps.min(1) < least
        found[nearer] = start + gaps.argmin(1)[nearer]
        least = np.minimum(least, gaps.min(1))
    return Nearest(found, np.sqrt(np.maximum(least, 0) / here.shape[1]))


def _small(video: Pixels) -> NDArray[np.float64]:
    height, width = video.shape[1:3]
    scale = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    frames = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in video] if scale < 1 else list(video)
    return np.stack(frames).astype(np.float64).ravel()
