"""Annotator networks: on the device for as long as one clip takes, in batches, in half precision where that is fast."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.config import ModelRef
from diffsynth.errors import ModelError
from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, ProcessorSettings, as_rgb, to_levels
from diffsynth.processors.detection import to_detection, to_frame
from diffsynth.processors.weights import ANNOTATORS, fill, read_weights, require, weight_file, weights_identity
from diffsynth.runtime import DeviceName, Runtime

if TYPE_CHECKING:
    import torch

Read = Callable[["torch.nn.Module", "torch.Tensor"], "torch.Tensor"]
"""A network and RGB (B, 3, H, W) of 0 to 1 to maps (B, 1 or 3, H, W) of 0 to 1."""


class NetworkSettings(ProcessorSettings):
    """What the config of every processor with a network has."""

    device: DeviceName = "auto"
    """Where the network runs; `auto` is where everything else does."""

    def place(self, runtime: Runtime) -> "Place":
        chosen = runtime if self.device == "auto" else replace(runtime, device=self.device)
        return Place(chosen)


class BatchedSettings(NetworkSettings):
    """What the config of a processor has whose network reads several frames at a time."""

    batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    """Frames that go through the network at a time."""


class DetectorSettings(NetworkSettings):
    """What the config of every processor with weights of controlnet_aux has."""

    model_path: ModelRef = ANNOTATORS
    """A file of weights, a folder that holds it under its usual name, or a repository of the hub."""
    detect_resolution: Annotated[int, Field(ge=64, le=8192)] | None = None
    """Shorter side of what the network sees, rounded to 64; left out, the frame's own. The map has the frame's size."""

    def models(self) -> tuple[str, ...]:
        return (self.model_path,)


class AnnotatorSettings(BatchedSettings, DetectorSettings):
    """What the config of every `Annotator` has."""


@dataclass(frozen=True)
class Place:
    """A device and a precision, looked up when first needed."""

    runtime: Runtime
    full: bool = False
    """The network can't be computed in half precision."""

    @property
    def precision(self) -> str:
        return "float32" if self.full else str(self.runtime.torch_dtype()).removeprefix("torch.")

    @contextmanager
    def holding(self, load: "Callable[[], torch.nn.Module]") -> "Iterator[torch.nn.Module]":
        """A network on the device while the block lasts. Afterwards its memory is free, whoever still refers to it."""
        import torch

        device = self.runtime.torch_device()
        dtype = torch.float32 if self.full else self.runtime.torch_dtype()
        network = load().eval().requires_grad_(requires_grad=False).to(device, dtype)
        try:
            yield network
        finally:
            network.to("meta")
            del network
            gc.collect()
            self.runtime.release_memory()


@dataclass(frozen=True)
class Annotator:
    """A network of controlnet_aux: what it is called, what its weights' file is called, and how it reads frames."""

    filename: str
    make: "Callable[[str], torch.nn.Module]"
    """The network without weights, for the processor of that name."""
    read: Read
    inside: str = ""
    """The key of the checkpoint that the weights lie under, where they don't lie at its top."""
    full: bool = False
    """Half precision doesn't work."""

    def build(
        self, config: AnnotatorSettings, runtime: Runtime, finish: Callable[[Image], Image] | None = None
    ) -> PerFrame:
        """A processor: frames are brought to the network's resolution, read in batches, and brought back.

        `finish` works on each map at the network's resolution. Weights that are missing are found out here.
        """
        name = config.name()
        require("controlnet_aux", name)
        file = weight_file(config.model_path, self.filename, name)
        place = replace(config.place(runtime), full=self.full)
        resolution = config.detect_resolution

        def load() -> "torch.nn.Module":
            return fill(self.make(name), read_weights(file, name, self.inside), file, name)

        @contextmanager
        def opened() -> Iterator[Mapper]:
            with place.holding(load) as network:
                yield lambda frames: _mapped(name, network, self.read, frames, resolution, finish)

        fingerprint = config.fingerprint(weights=weights_identity(file), precision=place.precision)
        return PerFrame(fingerprint, opened, config.batch_size)


def _mapped(
    name: str,
    network: "torch.nn.Module",
    read: Read,
    frames: Sequence[Image],
    resolution: int | None,
    finish: Callable[[Image], Image] | None,
) -> list[Image]:
    import torch

    height, width = frames[0].shape[:2]
    first = next(network.parameters())
    with torch.inference_mode():
        found = read(network, to_tensor([to_detection(frame, resolution) for frame in frames], first))
    maps = to_levels(numbers(found.float().mul(255).permute(0, 2, 3, 1), name))
    finished = [each if finish is None else finish(each) for each in maps]
    return [to_frame(_three(each), height, width) for each in finished]


def numbers(found: "torch.Tensor", processor: str) -> NDArray[np.float32]:
    """What a network said, on the host; infinity and its like are an error, where they would be a black map."""
    values: NDArray[np.float32] = found.cpu().numpy()
    if not np.isfinite(values).all():
        raise ModelError(
            f"{processor}: the network's values are no numbers. Its weights are damaged, or they need more precision: "
            'try "device": "cpu" in its processor_config.'
        )
    return values


def to_tensor(frames: Sequence[Image], like: "torch.Tensor") -> "torch.Tensor":
    """RGB frames as (B, 3, H, W) of 0 to 1, on the device and in the precision of `like`."""
    import torch

    stacked = torch.from_numpy(np.stack(frames)).to(like.device)
    return stacked.permute(0, 3, 1, 2).to(torch.float32).div(255).to(like.dtype)


def _three(found: Image) -> Image:
    """An (H, W), (H, W, 1) or (H, W, 3) map with three channels."""
    return found if found.shape[2:] == (3,) else as_rgb(found.reshape(found.shape[:2]))
