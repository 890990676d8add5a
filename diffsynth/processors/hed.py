"""`ControlnetImageProcesserHED`: soft edges found by the HED network; `Video…`: the same, held still."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from diffsynth.processors.base import Processor
from diffsynth.processors.network import Annotator, AnnotatorSettings
from diffsynth.processors.steady import SteadySettings
from diffsynth.processors.weights import annotator
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    import torch


def _network(name: str) -> "torch.nn.Module":
    network: torch.nn.Module = annotator("hed", name).ControlNetHED_Apache2()
    return network


def _read(network: "torch.nn.Module", frames: "torch.Tensor") -> "torch.Tensor":
    """The mean of the edges seen at five scales. This HED was trained on 0 to 255."""
    import torch

    scales = network(frames * 255)
    size = frames.shape[-2:]
    grown = [torch.nn.functional.interpolate(each.float(), size, mode="bilinear") for each in scales]
    return torch.stack(grown).mean(0).sigmoid()


HED = Annotator("ControlNetHED.pth", _network, _read)


class ControlnetImageProcessorHEDConfig(AnnotatorSettings):
    """Soft edges found by the HED network."""

    type: Literal["ControlnetImageProcesserHED"] = Field(default="ControlnetImageProcesserHED", exclude=True)

    def build(self, runtime: Runtime) -> Processor:
        return HED.build(self, runtime)


class VideoControlnetImageProcessorHEDConfig(SteadySettings, AnnotatorSettings):
    """Soft edges found by the HED network, held still along the clip's motion."""

    type: Literal["VideoControlnetImageProcesserHED"] = Field(default="VideoControlnetImageProcesserHED", exclude=True)

    def build(self, runtime: Runtime) -> Processor:
        return self.steadied(HED.build(self, runtime))
