"""Canny edges: thin binary lines."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.processors.base import PerFrame, Processor, ProcessorSettings, as_rgb
from diffsynth.runtime import Runtime


def canny_edges(frame: NDArray[np.uint8], low: float = 100.0, high: float = 200.0) -> NDArray[np.uint8]:
    """(H, W, 3) RGB in, (H, W) map of 0 and 255 out, with hysteresis between gradient magnitudes `low` and `high`.

    Each colour channel is differentiated on its own and the steepest one counts, so equally bright things of
    different colour are still told apart.
    """
    import cv2

    gradients = [
        cv2.Sobel(frame, cv2.CV_16S, dx, dy, ksize=3, borderType=cv2.BORDER_REPLICATE) for dx, dy in ((1, 0), (0, 1))
    ]
    magnitude = np.abs(gradients[0].astype(np.int32)) + np.abs(gradients[1])
    steepest = magnitude.argmax(-1)[..., None]
    dx, dy = (np.ascontiguousarray(np.take_along_axis(g, steepest, -1)[..., 0]) for g in gradients)
    return np.asarray(cv2.Canny(dx, dy, low, high), dtype=np.uint8)


class ControlnetImageProcessorCannyConfig(ProcessorSettings):
    """Thin lines where the picture is steep; needs no weights."""

    type: Literal["ControlnetImageProcesserCanny"] = Field(default="ControlnetImageProcesserCanny", exclude=True)
    low_threshold: Annotated[float, Field(ge=0)] = 100.0
    """Gradients above this continue a line."""
    high_threshold: Annotated[float, Field(ge=0)] = 200.0
    """Gradients above this begin a line."""

    def build(self, runtime: Runtime) -> Processor:
        low, high = self.low_threshold, self.high_threshold
        return PerFrame.plain(self.fingerprint(), lambda frame: as_rgb(canny_edges(frame, low, high)))
