"""`VideoControlnetImageProcesserDepth`: depth levelled over the whole clip."""

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth import disk
from diffsynth.frames import FrameStore, Image
from diffsynth.processors.base import Advance, Frames, MapAt, Processor, Refined, to_levels
from diffsynth.processors.depth import DepthSettings, depth_estimator
from diffsynth.processors.steady import steady, steady_depth
from diffsynth.runtime import Runtime

MEANS = "means.json"


class VideoControlnetImageProcessorDepthConfig(DepthSettings):
    """Depth estimated by a network and levelled over the whole clip."""

    type: Literal["VideoControlnetImageProcesserDepth"] = Field(
        default="VideoControlnetImageProcesserDepth", exclude=True
    )
    sigmoid: bool = False
    """Pull near and far apart with a sigmoid."""
    threshold: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Where the sigmoid turns: 1 is the middle of the range."""
    level: Literal["mean", "motion"] = "mean"
    """`mean` moves each frame's mean to the clip's; `motion` makes neighbours agree on what both show, which also
    mends scales that differ and is not misled by what enters the frame."""
    window: Annotated[int, Field(ge=0, le=16)] = 0
    """Frames on either side that each map is averaged with, along the motion."""

    def build(self, runtime: Runtime) -> Processor:
        depth: Processor = depth_estimator(self, runtime)
        if self.level == "mean":
            depth = mean_levelled(depth)
        if self.window or self.level == "motion":
            depth = steady(depth, steady_depth(self.window, level=self.level == "motion"))
        return with_contrast(depth, self.threshold) if self.sigmoid else depth


def mean_levelled(processor: Processor) -> Refined:
    """Moves the mean of each frame's map to that of the clip: `d - mean(d) + clip mean`."""

    def prepare(frames: Frames, raw: FrameStore, folder: Path, advance: Advance) -> MapAt:
        means = _means(raw, folder / MEANS, advance)
        overall = means.mean()
        return lambda position: to_levels(raw[position] - means[position] + overall)

    return Refined(processor, prepare, counts=1)


def _means(raw: FrameStore, file: Path, advance: Advance) -> NDArray[np.float64]:
    if file.is_file():
        advance(len(raw))
        return np.array(json.loads(file.read_bytes()))
    means = np.empty(len(raw))
    for position, found in enumerate(raw.frames()):
        means[position] = found.mean()
        advance(1)
    disk.write_json(file, means.tolist())
    return means


def with_contrast(processor: Processor, threshold: float) -> Refined:
    """Passes each map through a sigmoid."""
    return Refined(
        processor, lambda frames, raw, folder, advance: lambda position: contrasted(raw[position], threshold)
    )


def contrasted(depth: Image, threshold: float) -> Image:
    """`255·σ(5·(d/127.5 - threshold))`."""
    return to_levels(255 / (1 + np.exp(-5 * (depth / 127.5 - threshold))))
