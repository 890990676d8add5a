"""`ControlnetImageProcesserClassicDepth`: a guess at depth from what painters know; `Video…`: the same, held still."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.frames import Image
from diffsynth.processors.base import PerFrame, Processor, ProcessorSettings, as_rgb, to_levels
from diffsynth.processors.steady import SteadyDepthSettings
from diffsynth.runtime import Runtime

Plane = NDArray[np.float32]

WORKING_HEIGHT = 192
"""Shorter side at which depth is guessed; the frame's outlines come back in with the last step."""
GROUND, CLEAR, CRISP = np.float32(0.55), np.float32(0.25), np.float32(0.2)


def classic_depth(frame: Image) -> Image:
    """(H, W, 3) RGB in, (H, W) map out, near is bright. No network: three rules that hold in most landscapes.

    What stands lower is nearer; distance is hazy, so that all its colours are bright; what is near shows more detail.
    The scale is the same for all frames: nothing is stretched to what a frame happens to hold.
    """
    import cv2

    height, width = frame.shape[:2]
    scale = min(1.0, WORKING_HEIGHT / min(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    ground = np.broadcast_to(np.linspace(0, 1, size[1], dtype=np.float32)[:, None], grey.shape)
    clear = 1 - cv2.blur(cv2.erode(small.min(-1), np.ones((9, 9), np.uint8)), (9, 9))
    across, down = (cv2.Scharr(grey, cv2.CV_32F, dx, dy) for dx, dy in ((1, 0), (0, 1)))
    crisp = np.tanh(cv2.GaussianBlur(np.hypot(across, down), (0, 0), 9))
    near = _led(grey, GROUND * ground + CLEAR * clear + CRISP * crisp, radius=9, softness=1e-3)
    return to_levels(cv2.resize(near, (width, height), interpolation=cv2.INTER_LINEAR) * 255)


def _led(guide: NDArray[Any], values: NDArray[Any], *, radius: int, softness: float) -> Plane:
    """Smooth `values` but where `guide` has an edge (He, Sun, Tang: guided image filtering)."""
    import cv2

    def mean(plane: NDArray[Any]) -> Plane:
        return np.asarray(cv2.blur(plane, (2 * radius + 1, 2 * radius + 1)), dtype=np.float32)

    guide_mean, value_mean = mean(guide), mean(values)
    slope = (mean(guide * values) - guide_mean * value_mean) / (mean(guide * guide) - guide_mean**2 + softness)
    led: Plane = mean(slope) * guide + mean(value_mean - slope * guide_mean)
    return led


def _depth(settings: ProcessorSettings) -> PerFrame:
    return PerFrame.plain(settings.fingerprint(), lambda frame: as_rgb(classic_depth(frame)))


class ControlnetImageProcessorClassicDepthConfig(ProcessorSettings):
    """A guess at depth from position, haze and detail; needs no weights."""

    type: Literal["ControlnetImageProcesserClassicDepth"] = Field(
        default="ControlnetImageProcesserClassicDepth", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return _depth(self)


class VideoControlnetImageProcessorClassicDepthConfig(SteadyDepthSettings):
    """A guess at depth from position, haze and detail, held still along the clip's motion; needs no weights."""

    type: Literal["VideoControlnetImageProcesserClassicDepth"] = Field(
        default="VideoControlnetImageProcesserClassicDepth", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return self.steadied(_depth(self))
