"""Outlines and affine maps, the painter's alphabet. The unit is the picture's height; y points down."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]
Affine = NDArray[np.float64]

STILL: Affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def shift(dx: float, dy: float = 0.0) -> Affine:
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


def turn(angle: float, pivot: tuple[float, float], stretch: tuple[float, float] = (1.0, 1.0)) -> Affine:
    """Rotation by `angle` about `pivot`, after stretching about the same point."""
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) * np.asarray(stretch)
    centre = np.asarray(pivot)
    return np.column_stack([linear, centre - linear @ centre])


def shear(factor: float, horizon: float) -> Affine:
    """x grows by `factor` for each unit below the horizon: how flat ground moves under a panning camera."""
    return np.array([[1.0, factor, -factor * horizon], [0.0, 1.0, 0.0]])


def compose(last: Affine, first: Affine) -> Affine:
    linear = last[:, :2] @ first[:, :2]
    return np.column_stack([linear, last[:, :2] @ first[:, 2] + last[:, 2]])


def invert(motion: Affine) -> Affine:
    linear = np.linalg.inv(motion[:, :2])
    return np.column_stack([linear, -linear @ motion[:, 2]])


def apply(motion: Affine, polygon: Polygon) -> Polygon:
    return polygon @ motion[:, :2].T + motion[:, 2]


def outline(*corners: tuple[float, float]) -> Polygon:
    return np.array(corners, dtype=np.float64)


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return outline((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(x: float, y: float, rx: float, ry: float | None = None, points: int = 28) -> Polygon:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.column_stack([x + rx * np.cos(angle), y + (rx if ry is None else ry) * np.sin(angle)])


UPPER = (np.pi, 2 * np.pi)
"""The angles of an upper half."""


def arc(x: float, y: float, rx: float, ry: float, span: tuple[float, float], *, points: int = 20) -> Polygon:
    """The part of an ellipse between two angles, closed by its chord. Angles run clockwise on the screen."""
    angle = np.linspace(*span, points)
    return np.column_stack([x + rx * np.cos(angle), y + ry * np.sin(angle)])


def capsule(start: tuple[float, float], stop: tuple[float, float], width: float, taper: float = 1.0) -> Polygon:
    """A limb: a stroke with round ends, `taper` times as wide at its far end."""
    (x0, y0), (x1, y1) = start, stop
    heading = np.arctan2(y1 - y0, x1 - x0)
    near = arc(x0, y0, width / 2, width / 2, (heading + np.pi / 2, heading + 3 * np.pi / 2), points=8)
    far = arc(x1, y1, width * taper / 2, width * taper / 2, (heading - np.pi / 2, heading + np.pi / 2), points=8)
    return np.concatenate([near, far])


def smooth(corners: Sequence[tuple[float, float]], points: int = 5) -> Polygon:
    """A closed curve through rounded `corners` (quadratic B-spline)."""
    control = np.array(corners, dtype=np.float64)
    before, after = np.roll(control, 1, 0), np.roll(control, -1, 0)
    weight = np.linspace(0, 1, points, endpoint=False)[None, :, None]
    start, stop = (before + control)[:, None] / 2, (control + after)[:, None] / 2
    curve = (1 - weight) ** 2 * start + 2 * weight * (1 - weight) * control[:, None] + weight**2 * stop
    return curve.reshape(-1, 2)
