"""`ControlnetImageProcesserLineart`: a line drawing, white on black; `Video…`: the same, held still."""

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
    network: torch.nn.Module = annotator("lineart", name).Generator(3, 1, 3)
    return network


def _read(network: "torch.nn.Module", frames: "torch.Tensor") -> "torch.Tensor":
    """The network draws black on white."""
    drawn: torch.Tensor = network(frames)
    return 1 - drawn


FINE = Annotator("sk_model.pth", _network, _read)
COARSE = Annotator("sk_model2.pth", _network, _read)


class ControlnetImageProcessorLineartConfig(AnnotatorSettings):
    """A line drawing of the frame, white on black."""

    type: Literal["ControlnetImageProcesserLineart"] = Field(default="ControlnetImageProcesserLineart", exclude=True)
    coarse: bool = False
    """Fewer, bolder lines, from the network `sk_model2.pth`."""

    def build(self, runtime: Runtime) -> Processor:
        return (COARSE if self.coarse else FINE).build(self, runtime)


class VideoControlnetImageProcessorLineartConfig(SteadySettings, AnnotatorSettings):
    """A line drawing of the frame, white on black, held still along the clip's motion."""

    type: Literal["VideoControlnetImageProcesserLineart"] = Field(
        default="VideoControlnetImageProcesserLineart", exclude=True
    )
    coarse: bool = False
    """Fewer, bolder lines, from the network `sk_model2.pth`."""

    def build(self, runtime: Runtime) -> Processor:
        return self.steadied((COARSE if self.coarse else FINE).build(self, runtime))
