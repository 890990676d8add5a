"""Soft edges without a network: how steep the picture is, relative to its surroundings."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.processors.base import PerFrame, Processor, ProcessorSettings, as_rgb
from diffsynth.processors.steady import SteadySettings
from diffsynth.runtime import Runtime

_SCHARR_STEP = 32.0
"""What OpenCV's unscaled Scharr kernel answers to a ramp of 1 per pixel."""


def soft_edges(
    frame: NDArray[np.uint8], *, blur: float = 0.8, neighbourhood: float = 0.09, texture: float = 0.15
) -> NDArray[np.uint8]:
    """(H, W, 3) RGB in, (H, W) map out: 0 where the picture is smooth, near 255 on its outlines.

    The gradient of the steepest Lab channel, after a Gaussian of `blur` pixels (at a height of 192; it grows with the
    picture), is divided by its root mean square over a `neighbourhood` (a share of the height), so that dusk and snow
    keep their outlines. What stays below `texture` (a share of a full edge) is grain and becomes 0.
    """
    import cv2

    height = min(frame.shape[:2])
    lab = cv2.cvtColor(frame.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
    lab = lab * np.array([1.0, 0.7, 0.7], dtype=np.float32)
    lab = cv2.GaussianBlur(lab, (0, 0), blur * max(1.0, height / 192), borderType=cv2.BORDER_REPLICATE)
    across = cv2.Scharr(lab, cv2.CV_32F, 1, 0, borderType=cv2.BORDER_REPLICATE)
    down = cv2.Scharr(lab, cv2.CV_32F, 0, 1, borderType=cv2.BORDER_REPLICATE)
    steep = np.sqrt((across**2 + down**2).max(-1)) / np.float32(_SCHARR_STEP) * np.float32(max(1.0, height / 192))
    around = np.sqrt(cv2.GaussianBlur(steep**2, (0, 0), neighbourhood * height, borderType=cv2.BORDER_REFLECT))
    overall = np.sqrt((steep**2).mean())
    strength = steep / (np.float32(2.4) * np.maximum(around, overall * np.float32(0.35)) + np.float32(1.2))
    kept = np.clip((strength - texture) / (np.float32(1) - texture), 0, 1)
    return np.asarray(np.rint(np.tanh(kept * np.float32(1.6)) / np.tanh(1.6) * 255), dtype=np.uint8)


class ClassicSoftEdgeSettings(ProcessorSettings):
    """What both forms of the classical soft edge have."""

    texture: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """What is weaker than this share of a full edge is grain and is left out."""

    def edges(self) -> PerFrame:
        texture = self.texture
        return PerFrame.plain(self.fingerprint(), lambda frame: as_rgb(soft_edges(frame, texture=texture)))


class ControlnetImageProcessorClassicSoftEdgeConfig(ClassicSoftEdgeSettings):
    """Soft edges from gradients; needs no weights."""

    type: Literal["ControlnetImageProcesserClassicSoftEdge"] = Field(
        default="ControlnetImageProcesserClassicSoftEdge", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return self.edges()


class VideoControlnetImageProcessorClassicSoftEdgeConfig(SteadySettings, ClassicSoftEdgeSettings):
    """Soft edges from gradients, held still along the clip's motion; needs no weights."""

    type: Literal["VideoControlnetImageProcesserClassicSoftEdge"] = Field(
        default="VideoControlnetImageProcesserClassicSoftEdge", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return self.steadied(self.edges())
