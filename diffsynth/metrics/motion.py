"""How fast videos move, and how much they change: histograms that two sets of videos can be compared by."""

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
SPEEDS = np.linspace(0, 0.2, 21)
"""Edges of the bins, in shares of the frame's shorter side a frame; the last bin also holds what is faster."""


def speeds(video: Pixels) -> NDArray[np.float64]:
    """(F - 1): by how much the picture as a whole moves from frame to frame, by phase correlation."""
    grey = video.astype(np.float32).mean(-1)
    side = min(grey.shape[1:])
    shifts = [cv2.phaseCorrelate(here, there)[0] for here, there in pairwise(grey)]
    return np.array([math.hypot(x, y) / side for x, y in shifts])


def changes(video: Pixels) -> float:
    """The mean absolute difference of neighbouring frames, in grey levels."""
    return float(np.abs(np.diff(video.astype(np.float32), axis=0)).mean())


def histogram(videos: Sequence[Pixels]) -> NDArray[np.float64]:
    """Shares of all steps from frame to frame by their speed."""
    found = np.concatenate([speeds(each) for each in videos])
    counts, _ = np.histogram(np.clip(found, SPEEDS[0], SPEEDS[-1]), SPEEDS)
    return np.asarray(counts / max(counts.sum(), 1))


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """0: the same shares; 1: nothing in common."""
    return float(np.abs(one - other).sum() / 2)
