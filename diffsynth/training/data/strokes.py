"""Figures of straight strokes, drawn with soft edges: exact, small, and the same on every machine."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Polyline = tuple[tuple[float, float], ...]

# Points are (x, y) in a box from (0, 0), top left, to (1, 1).
DIGITS: tuple[tuple[Polyline, ...], ...] = (
    (((0, 0.2), (0.25, 0), (0.75, 0), (1, 0.2), (1, 0.8), (0.75, 1), (0.25, 1), (0, 0.8), (0, 0.2)),),
    (((0.15, 0.22), (0.55, 0), (0.55, 1)),),
    (((0, 0.2), (0.25, 0), (0.75, 0), (1, 0.2), (0.9, 0.42), (0, 1), (1, 1)),),
    (((0, 0), (1, 0), (0.45, 0.4), (0.8, 0.45), (1, 0.7), (0.75, 1), (0.25, 1), (0, 0.86)),),
    (((0.75, 1), (0.75, 0), (0, 0.66), (1, 0.66)),),
    (((0.95, 0), (0.08, 0), (0.03, 0.45), (0.65, 0.4), (1, 0.6), (1, 0.8), (0.7, 1), (0, 0.95)),),
    (((0.85, 0), (0.3, 0.2), (0, 0.6), (0.08, 0.88), (0.4, 1), (0.8, 0.96), (1, 0.74), (0.75, 0.5), (0.05, 0.62)),),
    (((0, 0), (1, 0), (0.35, 1)),),
    (
        ((0.5, 0.46), (0.08, 0.26), (0.2, 0.05), (0.5, 0), (0.8, 0.05), (0.92, 0.26), (0.5, 0.46)),
        ((0.5, 0.46), (0, 0.74), (0.15, 0.95), (0.5, 1), (0.85, 0.95), (1, 0.74), (0.5, 0.46)),
    ),
    (((0.15, 1), (0.7, 0.8), (1, 0.4), (0.92, 0.12), (0.6, 0), (0.2, 0.04), (0, 0.26), (0.25, 0.5), (0.95, 0.38)),),
)
"""The ten digits."""


def segments(figure: tuple[Polyline, ...]) -> Floats:
    """(S, 2, 2): each stroke's two ends as (x, y)."""
    ends = [(a, b) for line in figure for a, b in pairwise(line)]
    return np.asarray(ends, dtype=np.float64)


def draw(ends: Floats, centres: Floats, thickness: float, height: int, width: int) -> Floats:
    """(F, H, W) coverage, 0 to 1, of strokes whose (S, 2, 2) ends are in pixels about the figure's centre.

    `centres` is (F, 2): where the figure's centre lies in each frame, as (x, y); pixel centres are at half numbers.
    """
    y, x = np.mgrid[:height, :width] + 0.5
    points = np.stack([x, y], -1)[None] - centres[:, None, None]
    nearest = np.full(points.shape[:3], np.inf)
    for start, end in ends:
        along = end - start
        share = np.clip(((points - start) @ along) / max(float(along @ along), 1e-12), 0, 1)
        away = points - start - share[..., None] * along
        np.minimum(nearest, (away**2).sum(-1), out=nearest)
    return np.asarray(np.clip(thickness / 2 + 0.5 - np.sqrt(nearest), 0, 1))


def bounced(start: float, speed: float, room: float, frames: int) -> Floats:
    """(F,) positions within ±`room` of something that moves evenly and turns at the ends."""
    if room <= 0:
        return np.zeros(frames)
    way = (start + room + speed * np.arange(frames)) % (4 * room)
    return np.asarray(np.where(way > 2 * room, 4 * room - way, way) - room)
