"""Whether a video shows what clips of `moving_shapes` do: one connected figure of one colour on a way without jumps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from diffsynth.training.data.moving_shapes import COLOURS

Floats = NDArray[np.float64]
SEEN = 64
"""Of 255: what is darker in all channels is ground."""
WHOLE = 0.95
"""The share of the figure's brightness that must hang together."""
PURE = 0.97
"""The least cosine between the figure's colour and one that shapes have."""
LEAST, MOST = 0.01, 0.25
"""Shares of the frame that a figure covers."""
JUMP = 0.04
"""Of the frame's shorter side: how much a step may differ from the one before, but at a border."""
STILL = 0.015
"""Of it: less than that is no step, and turns nowhere. A way turns once at most in each direction."""
TOUCHING = 0.03
"""Of it: how near the border a figure is that turns there, beside its own size."""


@dataclass(frozen=True)
class Figure:
    """What stands on the ground in one frame."""

    colour: str
    centre: Floats
    """(x, y) in pixels."""
    box: Floats
    """Left, top, and what is left to the right and below, in pixels."""


def figure_of(frame: NDArray[np.uint8]) -> Figure | None:
    """The one figure in a frame (H, W, 3); None where there is none, or more, or of no colour that shapes have."""
    pixels = frame.astype(np.float64)
    light = pixels.max(-1)
    there = light > SEEN
    share = there.mean()
    if not LEAST <= share <= MOST:
        return None
    parts, count = label(there, np.ones((3, 3)))
    weights = np.array([light[parts == part].sum() for part in range(1, count + 1)])
    if weights.max() < WHOLE * weights.sum():
        return None
    mask = parts == 1 + int(weights.argmax())
    colour = pixels[mask].sum(0)
    names = list(COLOURS)
    known = np.array([COLOURS[name] for name in names], dtype=np.float64)
    likeness = known @ colour / (np.linalg.norm(known, axis=1) * np.linalg.norm(colour))
    if likeness.max() < PURE:
        return None
    y, x = np.nonzero(mask)
    weight = light[mask]
    centre = np.array([np.average(x, weights=weight), np.average(y, weights=weight)])
    height, width = mask.shape
    box = np.array([x.min(), y.min(), width - 1 - x.max(), height - 1 - y.max()], dtype=np.float64)
    return Figure(names[int(likeness.argmax())], centre, box)


def is_moving_shape(video: NDArray[np.uint8]) -> bool:
    """Of a video (F, H, W, 3): the same figure in all frames, that moves evenly but where it turns at a border."""
    found = [figure_of(frame) for frame in video]
    figures = [each for each in found if each is not None]
    if len(figures) < len(video) or len({each.colour for each in figures}) > 1:
        return False
    side = min(video.shape[1:3])
    steps = np.diff([each.centre for each in figures], axis=0)
    if np.linalg.norm(steps, axis=1).sum() < 0.01 * side * len(steps):
        return False
    for axis in range(2):
        way = np.sign(steps[abs(steps[:, axis]) > STILL * side, axis])
        if np.count_nonzero(np.diff(way)) > 1:
            return False
    uneven = abs(np.diff(steps, axis=0)) > JUMP * side
    for moment, axis in np.argwhere(uneven):
        near = min(each.box[[axis, axis + 2]].min() for each in figures[moment : moment + 3])
        speed = abs(steps[:, axis]).max()
        if near > TOUCHING * side + speed:
            return False
    return True
