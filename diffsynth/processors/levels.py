"""One scale of brightness for the maps of a whole clip, where each frame's map came with a scale of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffsynth.frames import FrameStore
from diffsynth.processors.base import Advance, Frames
from diffsynth.processors.flow import FlowFinder, fetch, likeness, within

Floats = NDArray[np.float64]

MEMORY = 30.0
"""Frames over which levels may drift: changes that are slower stay, for they may be the scene's own."""
LOOK_ALIKE = 12.0
"""Colours that differ by this many levels of 255 hardly belong to the same thing."""
TAIL = 0.5
"""Percent of a map at either end that doesn't decide its range."""


@dataclass(frozen=True)
class Levels:
    """`gains[t] * map + offsets[t]` puts the map of frame t on the clip's scale."""

    gains: Floats
    offsets: Floats

    def apply(self, position: int, found: NDArray[np.generic]) -> NDArray[np.float32]:
        gain, offset = np.float32(self.gains[position]), np.float32(self.offsets[position])
        levelled: NDArray[np.float32] = np.clip(found.astype(np.float32) * gain + offset, 0, 255)
        return levelled

    @classmethod
    def unchanged(cls, count: int) -> "Levels":
        return cls(np.ones(count), np.zeros(count))


@dataclass(frozen=True)
class Relation:
    """How the map of a frame relates to that of the frame before, on the pixels that both show."""

    gain: float
    """What the frame's map is to be multiplied with."""
    mean_before: float
    mean: float


def relate(before: NDArray[Any], after: NDArray[Any], weight: NDArray[Any]) -> Relation:
    """Compare two maps of the same pixels. The ratio of their spreads treats both alike: a fit of one to the other
    would shrink the gain by the noise, frame after frame."""
    kept = weight > 0.25
    if kept.sum() < 16:
        return Relation(1.0, 0.0, 0.0)
    u, v, w = (each[kept].astype(np.float64) for each in (before, after, weight))
    middle_u, middle_v = float(np.median(u)), float(np.median(v))
    gain = _ratio(float(np.median(np.abs(u - middle_u))), float(np.median(np.abs(v - middle_v))))
    for _ in range(5):
        # What moved otherwise than the flow says sticks out; it must not decide.
        apart = (v - middle_v) * gain + middle_u - u
        usual = 1.4826 * np.median(np.abs(apart)) + 0.5
        trust = w * np.square(np.clip(1 - (apart / (4 * usual)) ** 2, 1e-6, None))
        middle_u, middle_v = float(np.average(u, weights=trust)), float(np.average(v, weights=trust))
        spread_u, spread_v = (
            float(np.sqrt(np.average((each - middle) ** 2, weights=trust)))
            for each, middle in ((u, middle_u), (v, middle_v))
        )
        gain = _ratio(spread_u, spread_v)
    return Relation(gain, middle_u, middle_v)


def _ratio(before: float, after: float) -> float:
    """The gain that makes one spread the other; a map that is even tells nothing."""
    return float(np.clip(before / after, 0.25, 4.0)) if min(before, after) > 1.0 else 1.0


def steady_path(steps: Floats) -> Floats:
    """Values whose differences follow `steps` while they stay near 0: what is slower than `MEMORY` is forgotten.

    Minimises Σ (x[t] - x[t-1] - steps[t])² + Σ (x[t] / MEMORY)², with steps[0] unused.
    """
    from scipy.linalg import solveh_banded

    count = len(steps)
    if count == 1:
        return np.zeros(1)
    diagonal = np.full(count, 2 + MEMORY**-2)
    diagonal[[0, -1]] -= 1
    above = np.concatenate([[0.0], np.full(count - 1, -1.0)])
    pull = np.zeros(count)
    pull[1:] += steps[1:]
    pull[:-1] -= steps[1:]
    return np.asarray(solveh_banded(np.stack([above, diagonal]), pull), dtype=np.float64)


def find_levels(frames: Frames, maps: FrameStore, advance: Advance) -> Levels:
    """The gain and offset of each frame's map that make the clip's maps agree where they show the same."""
    finder = FlowFinder()
    count = len(maps)
    relations = [Relation(1.0, 0.0, 0.0)]
    lows, highs = np.empty(count), np.empty(count)
    frame_before, before = frames[0], maps[0][..., 0]
    for position in range(count):
        found = maps[position][..., 0]
        lows[position], highs[position] = np.percentile(found, [TAIL, 100 - TAIL])
        if position:
            frame = frames[position]
            flow = finder.flow(frame, frame_before)
            alike = likeness(frame, fetch(frame_before, flow), LOOK_ALIKE) * within(flow)
            relations.append(relate(fetch(before, flow), found, alike))
            frame_before = frame
        before = found
        advance(1)
    return settle(relations, lows, highs)


def settle(relations: list[Relation], lows: Floats, highs: Floats) -> Levels:
    """From what neighbours say of each other to the levels of all; `lows` and `highs` are the ranges of the maps."""
    gains = np.exp(steady_path(np.log([each.gain for each in relations])))
    steps = np.zeros(len(relations))
    for position, each in enumerate(relations[1:], 1):
        steps[position] = gains[position - 1] * each.mean_before - gains[position] * each.mean
    offsets = steady_path(steps)
    low = min(0.0, float((gains * lows + offsets).min()))
    high = max(255.0, float((gains * highs + offsets).max()))
    squeeze = 255 / (high - low)
    return Levels(gains * squeeze, (offsets - low) * squeeze)
