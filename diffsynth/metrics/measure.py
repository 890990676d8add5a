"""One pass over a source and the clips made from it; every metric as a curve over the frames and one number."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, nan

import cv2
import numpy as np

from diffsynth.frames import Image
from diffsynth.metrics.flow import Field, Mask, flow, visible, warped
from diffsynth.smoothers.base import Frames, check_pair

STILL = 0.25
"""Pixels a frame below which a place counts as standing still."""
ENOUGH = 0.01
"""Share of the picture that must stand still for flicker to be measured."""


@dataclass(frozen=True)
class Step:
    """One frame of a clip with the one before it, and how the source moved between them."""

    source: Image
    clip: Image
    truth: Image | None
    reference: Image
    """The frame of the first clip: what was there before it was smoothed."""
    source_before: Image
    clip_before: Image
    reference_before: Image
    motion: Field
    """From this frame to the one before."""
    seen: Mask
    """Where the pixel was to be seen in the frame before."""


@dataclass(frozen=True)
class Curve:
    """A metric over a clip. Where there is nothing to measure, a value is None."""

    values: tuple[float | None, ...]
    mean: float | None


@dataclass(frozen=True)
class Metric:
    """`of` measures one step; nan: nothing to measure here."""

    of: Callable[[Step], float]
    better: str
    meaning: str
    needs_truth: bool = False


def warp_error(step: Step) -> float:
    """Root mean square difference, in grey levels, from the frame before, moved along the source's motion."""
    if not step.seen.any():
        return nan
    change = step.clip - warped(step.clip_before, step.motion)
    return float(np.sqrt(np.square(change)[step.seen].mean()))


def flicker(step: Step) -> float:
    """Root of the temporal energy above the source's, in grey levels, where the source stands still."""
    still = (np.square(step.motion).sum(2) < STILL**2) & step.seen
    if still.mean() < ENOUGH:
        return nan
    change = _change(step.clip, step.clip_before)[still]
    usual = _change(step.source, step.source_before)[still]
    return float(np.sqrt(max(float(np.square(change).mean() - np.square(usual).mean()), 0.0)))


def sharpness(step: Step) -> float:
    """Detail against the first clip's: the Laplacian's part that stays from frame to frame along the source's motion.

    Noise that changes with each frame has no such part, and so does not count as detail.
    """
    if not step.seen.any():
        return nan
    kept = _lasting_detail(step.clip, step.clip_before, step)
    had = _lasting_detail(step.reference, step.reference_before, step)
    return kept / had if had > 0 else nan


def structure(step: Step) -> float:
    """Correlation of the strengths of edges in the clip and in the source, 1 at best."""
    ours, theirs = _edges(step.clip), _edges(step.source)
    ours, theirs = ours - ours.mean(), theirs - theirs.mean()
    scale = float(np.sqrt(np.square(ours).sum() * np.square(theirs).sum()))
    return float((ours * theirs).sum()) / scale if scale > 0 else nan


def colour_drift(step: Step) -> float:
    """Change of the mean colour since the frame before, in grey levels, beyond the source's own."""
    ours = step.clip.mean((0, 1)) - step.clip_before.mean((0, 1))
    theirs = step.source.mean((0, 1)) - step.source_before.mean((0, 1))
    return float(np.sqrt(np.square(ours - theirs).mean()))


def psnr(step: Step) -> float:
    """Peak signal-to-noise ratio to the truth, in dB."""
    if step.truth is None:
        return nan
    square = float(np.square(step.clip.astype(np.float32) - step.truth).mean())
    return float(10 * np.log10(255**2 / max(square, 1e-6)))


METRICS: dict[str, Metric] = {
    "warp_error": Metric(warp_error, "lower", "change along the source's motion, grey levels"),
    "flicker": Metric(flicker, "lower", "change where the source stands still, beyond the source's own"),
    "sharpness": Metric(sharpness, "higher", "lasting detail against the first clip"),
    "structure": Metric(structure, "higher", "correlation of edges with the source's"),
    "colour_drift": Metric(colour_drift, "lower", "change of the mean colour beyond the source's own"),
    "psnr": Metric(psnr, "higher", "dB to the truth", needs_truth=True),
}


@dataclass(frozen=True)
class Measured:
    """The curves of one clip by metric. Value t belongs to the step from frame t to frame t + 1."""

    curves: Mapping[str, Curve]

    def __getitem__(self, metric: str) -> float | None:
        return self.curves[metric].mean


def measure(
    source: Frames,
    clips: Mapping[str, Frames],
    truth: Frames | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Measured]:
    """Measure clips against their source. The first clip is what sharpness is relative to."""
    for each in clips.values():
        check_pair(source, each)
    if truth is not None:
        check_pair(source, truth)
    names = [name for name, metric in METRICS.items() if truth is not None or not metric.needs_truth]
    values: dict[str, dict[str, list[float]]] = {clip: {name: [] for name in names} for clip in clips}
    first = next(iter(clips))
    before, shown_before = source[0], {name: clip[0] for name, clip in clips.items()}
    for t in range(1, len(source)):
        now, shown = source[t], {name: clip[t] for name, clip in clips.items()}
        motion = flow(now, before)
        seen = visible(motion, flow(before, now))
        true = truth[t] if truth is not None else None
        for clip in clips:
            step = Step(
                now, shown[clip], true, shown[first], before, shown_before[clip], shown_before[first], motion, seen
            )
            for name in names:
                values[clip][name].append(METRICS[name].of(step))
        before, shown_before = now, shown
        if progress is not None:
            progress(t)
    return {clip: Measured({name: _curve(each) for name, each in curves.items()}) for clip, curves in values.items()}


def _curve(values: Iterable[float]) -> Curve:
    known = tuple(round(value, 6) if isfinite(value) else None for value in values)
    finite = [value for value in known if value is not None]
    return Curve(known, round(float(np.mean(finite)), 6) if finite else None)


def _change(now: Image, before: Image) -> Field:
    return now.astype(np.float32) - before


def _laplacian(image: Image) -> Field:
    grey = cv2.transform(image.astype(np.float32), np.full((1, 3), 1 / 3, np.float32))
    return np.asarray(cv2.Laplacian(grey, cv2.CV_32F), np.float32)


def _lasting_detail(now: Image, before: Image, step: Step) -> float:
    return float((_laplacian(now) * warped(_laplacian(before), step.motion))[step.seen].mean())


def _edges(image: Image) -> Field:
    grey = cv2.transform(image.astype(np.float32), np.full((1, 3), 1 / 3, np.float32))
    return np.asarray(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)), np.float32)
