"""`ControlnetImageProcesserPidiNet`: soft edges found by PiDiNet; `Video…`: the same, held still."""

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
    network: torch.nn.Module = annotator("pidi.model", name).pidinet()
    return network


def _read(network: "torch.nn.Module", frames: "torch.Tensor") -> "torch.Tensor":
    """The last of its outputs is the fused one. ControlNet's copy reads BGR."""
    fused: torch.Tensor = network(frames.flip(1))[-1]
    return fused


# Its pixel differences are written into buffers of single precision.
PIDINET = Annotator("table5_pidinet.pth", _network, _read, inside="state_dict", full=True)


class ControlnetImageProcessorPidiNetConfig(AnnotatorSettings):
    """Soft edges found by the PiDiNet network, cleaner than those of HED."""

    type: Literal["ControlnetImageProcesserPidiNet"] = Field(default="ControlnetImageProcesserPidiNet", exclude=True)

    def build(self, runtime: Runtime) -> Processor:
        return PIDINET.build(self, runtime)


class VideoControlnetImageProcessorPidiNetConfig(SteadySettings, AnnotatorSettings):
    """Soft edges found by the PiDiNet network, cleaner than those of HED, held still along the clip's motion."""

    type: Literal["VideoControlnetImageProcesserPidiNet"] = Field(
        default="VideoControlnetImageProcesserPidiNet", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return self.steadied(PIDINET.build(self, runtime))
