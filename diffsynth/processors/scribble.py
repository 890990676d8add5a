"""`ControlnetImageProcesserScribble`: bold strokes, as if the frame had been scribbled by hand."""

from typing import Literal

import numpy as np
from pydantic import Field

from diffsynth.frames import Image
from diffsynth.processors.base import Processor
from diffsynth.processors.hed import HED
from diffsynth.processors.network import AnnotatorSettings
from diffsynth.runtime import Runtime

DIRECTIONS = tuple(
    np.array(rows, np.uint8)
    for rows in (
        [[0, 0, 0], [1, 1, 1], [0, 0, 0]],
        [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 1], [0, 1, 0], [1, 0, 0]],
    )
)


def scribble(edges: Image, spread: float = 3.0, strength: float = 127.0) -> Image:
    """(H, W) or (H, W, 1) soft edges to (H, W) strokes of 0 and 255.

    The edges' ridges above `strength`, once blurred by `spread` pixels, become strokes about as wide as that.
    """
    import cv2

    soft = cv2.GaussianBlur(edges.reshape(edges.shape[:2]).astype(np.float32), (0, 0), spread)
    # A ridge is the highest of its three neighbours along at least one direction.
    ridge = np.logical_or.reduce([cv2.dilate(soft, direction) == soft for direction in DIRECTIONS])
    points = np.where(ridge & (soft > strength), 255, 0).astype(np.uint8)
    wide = cv2.GaussianBlur(points, (0, 0), spread)
    return np.where(wide > 4, 255, 0).astype(np.uint8)


class ControlnetImageProcessorScribbleConfig(AnnotatorSettings):
    """Bold strokes as if drawn by hand, from the edges that the HED network finds."""

    type: Literal["ControlnetImageProcesserScribble"] = Field(default="ControlnetImageProcesserScribble", exclude=True)

    def build(self, runtime: Runtime) -> Processor:
        return HED.build(self, runtime, finish=scribble)
