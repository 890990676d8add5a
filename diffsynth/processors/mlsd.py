"""`ControlnetImageProcesserMLSD`: straight lines of walls, roads and furniture."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, Processor, as_rgb
from diffsynth.processors.detection import to_detection, to_frame
from diffsynth.processors.network import AnnotatorSettings, to_tensor
from diffsynth.processors.weights import annotator, fill, read_weights, require, weight_file, weights_identity
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    import torch

WEIGHTS = "mlsd_large_512_fp32.pth"
MOST_LINES = 200


class ControlnetImageProcessorMLSDConfig(AnnotatorSettings):
    """Straight lines, found by the M-LSD network."""

    type: Literal["ControlnetImageProcesserMLSD"] = Field(default="ControlnetImageProcesserMLSD", exclude=True)
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How sure the network must be of a line."""
    length_threshold: Annotated[float, Field(ge=0)] = 0.1
    """Shorter lines are left out; pixels of the network's output, which has half its input's resolution."""

    def build(self, runtime: Runtime) -> Processor:
        name = self.name()
        require("controlnet_aux", name)
        file = weight_file(self.model_path, WEIGHTS, name)
        place, resolution = self.place(runtime), self.detect_resolution
        score, length = self.score_threshold, self.length_threshold

        def load() -> "torch.nn.Module":
            aux = annotator("mlsd.models.mbv2_mlsd_large", name)
            return fill(aux.MobileV2_MLSD_Large(), read_weights(file, name), file, name)

        @contextmanager
        def opened() -> Iterator[Mapper]:
            with place.holding(load) as network:
                yield lambda frames: _drawn(network, frames, resolution, score, length)

        fingerprint = self.fingerprint(weights=weights_identity(file), precision=place.precision)
        return PerFrame(fingerprint, opened, self.batch_size)


def _drawn(
    network: "torch.nn.Module", frames: Sequence[Image], resolution: int | None, score: float, length: float
) -> list[Image]:
    import torch

    height, width = frames[0].shape[:2]
    pictures = to_tensor([to_detection(frame, resolution) for frame in frames], next(network.parameters()))
    with torch.inference_mode():
        # The network reads -1 to 1 and, as a fourth channel, a plane of ones; its tool scales that one too.
        ones = torch.full_like(pictures[:, :1], 1 / 255)
        found = network(torch.cat([pictures, ones], 1) * 2 - 1).float()
        centres = found[:, 0].sigmoid()
        peaks = torch.nn.functional.max_pool2d(centres, 3, stride=1, padding=1) == centres
        scores = (centres * peaks).cpu().numpy()
        shifts = found[:, 1:5].permute(0, 2, 3, 1).cpu().numpy()
    rows, columns = pictures.shape[-2:]
    return [
        to_frame(as_rgb(draw_lines(lines(one, shift, score, length), rows, columns)), height, width)
        for one, shift in zip(scores, shifts, strict=True)
    ]


def lines(scores: NDArray[np.float32], shifts: NDArray[np.float32], score: float, length: float) -> NDArray[np.float32]:
    """(N, 4) lines `x0 y0 x1 y1` in pixels of the input, from (H, W) scores of line centres at half its resolution and
    the (H, W, 4) way from a centre to the line's two ends."""
    flat = scores.ravel()
    best = np.argsort(-flat, kind="stable")[:MOST_LINES]
    y, x = np.unravel_index(best, scores.shape)
    ends = shifts[y, x]
    long = np.hypot(ends[:, 0] - ends[:, 2], ends[:, 1] - ends[:, 3]) > length
    kept = (flat[best] > score) & long
    found = ends[kept] + np.stack([x, y, x, y], 1)[kept]
    return np.asarray(2 * found, dtype=np.float32)


def draw_lines(found: NDArray[np.float32], height: int, width: int) -> Image:
    import cv2

    canvas = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in np.clip(found, -32768, 32767).astype(np.int64).tolist():
        cv2.line(canvas, (x0, y0), (x1, y1), 255, 1)
    return canvas
