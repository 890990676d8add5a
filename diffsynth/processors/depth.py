"""`ControlnetImageProcesserDepth`: depth from any depth-estimation network of transformers, near is bright."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.config import ModelRef
from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, Processor, as_rgb, to_levels
from diffsynth.processors.network import BatchedSettings, numbers
from diffsynth.processors.pretrained import folder_identity, image_processor, model_folder, prepared, pretrained
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    import torch

METRES = frozenset({"zoedepth", "glpn", "depth_pro"})
"""Kinds of network whose values are distances. The others say how near a thing is."""


class DepthSettings(BatchedSettings):
    """What the config of every processor with a depth network has."""

    model_path: ModelRef = "Intel/dpt-large"
    """A depth-estimation model of transformers (DPT, MiDaS, Depth Anything, ZoeDepth, …): a folder, or an id on the
    hub."""
    detect_resolution: Annotated[int, Field(ge=64, le=8192)] | None = None
    """Side of what the network sees; left out, the one that comes with the model."""
    invert: bool | None = None
    """The network's values grow with the distance; left out, that is told from the model's kind."""

    def models(self) -> tuple[str, ...]:
        return (self.model_path,)


class ControlnetImageProcessorDepthConfig(DepthSettings):
    """Depth estimated by a network, near is bright."""

    type: Literal["ControlnetImageProcesserDepth"] = Field(default="ControlnetImageProcesserDepth", exclude=True)
    threshold: Annotated[float, Field(ge=0, le=255)] = 0.0
    """Depths below this level of 255 become 0: it takes the background away."""

    def build(self, runtime: Runtime) -> Processor:
        threshold = self.threshold

        def cut(depth: Image) -> Image:
            return np.where(depth < threshold, 0, depth).astype(np.uint8)

        return depth_estimator(self, runtime, cut)


def depth_estimator(
    config: DepthSettings, runtime: Runtime, finish: Callable[[Image], Image] | None = None
) -> PerFrame:
    """A processor that stretches each frame's depth to 0 to 255; `finish` works on each (H, W) map."""
    name = config.name()
    folder = model_folder(config.model_path, name)
    place, resolution, invert = config.place(runtime), config.detect_resolution, config.invert

    def load() -> "torch.nn.Module":
        return pretrained("AutoModelForDepthEstimation", folder, name)

    @contextmanager
    def opened() -> Iterator[Mapper]:
        with place.holding(load) as network:
            yield DepthMapper(name, network, image_processor(folder, name), resolution, invert, finish)

    fingerprint = config.fingerprint(weights=folder_identity(folder), precision=place.precision)
    return PerFrame(fingerprint, opened, config.batch_size)


@dataclass(frozen=True)
class DepthMapper:
    """A depth network and the way its pictures are prepared."""

    name: str
    network: "torch.nn.Module"
    preparation: Any
    resolution: int | None
    invert: bool | None
    finish: Callable[[Image], Image] | None

    def __call__(self, frames: Sequence[Image]) -> list[Image]:
        import torch

        inputs = prepared(self.preparation, frames, self.resolution, next(self.network.parameters()))
        with torch.inference_mode():
            outputs = self.network(inputs)
            outputs.predicted_depth = outputs.predicted_depth.float()
            shapes = [frame.shape[:2] for frame in frames]
            found = self.preparation.post_process_depth_estimation(outputs, shapes)
        # Shaped anew: a side of one pixel has been taken off.
        depths = [numbers(each["predicted_depth"], self.name).reshape(shapes[0]) for each in found]
        return [as_rgb(self._finished(nearness(each, invert=self._grows()))) for each in depths]

    def _finished(self, near: NDArray[np.float32]) -> Image:
        level = to_levels(near * 255)
        return level if self.finish is None else self.finish(level)

    def _grows(self) -> bool:
        if self.invert is not None:
            return self.invert
        config: Any = self.network.config
        return config.model_type in METRES or getattr(config, "depth_estimation_type", "relative") == "metric"


def nearness(depth: NDArray[np.float32], *, invert: bool) -> NDArray[np.float32]:
    """A frame's depth stretched to 0 to 1, near is 1; distances are turned over first. Even depth is 0."""
    near = 1 / np.maximum(depth, 1e-3) if invert else depth
    low, high = float(near.min()), float(near.max())
    if high <= low:
        return np.zeros_like(near)
    return ((near - low) / (high - low)).astype(np.float32)
