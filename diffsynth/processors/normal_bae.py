"""`ControlnetImageProcesserNormalBae`: surface normals as colours; `Video…`: the same, held still."""

import contextlib
import io
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from diffsynth.processors.base import Processor
from diffsynth.processors.network import Annotator, AnnotatorSettings
from diffsynth.processors.steady import SteadyNormalSettings
from diffsynth.processors.weights import annotator
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    import torch


MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _network(name: str) -> "torch.nn.Module":
    # The backbone says on the standard output what it loads, which is where a command may print its result; and it
    # compiles its activations in a way that torch warns of.
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = SimpleNamespace(
            mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
        )
        network: torch.nn.Module = annotator("normalbae.nets.NNET", name).NNET(settings)
    return network


def _read(network: "torch.nn.Module", frames: "torch.Tensor") -> "torch.Tensor":
    """The finest of its outputs: three parts of the normal, and a certainty that is left out."""
    mean = frames.new_tensor(MEAN)[:, None, None]
    normals: torch.Tensor = network((frames - mean) / frames.new_tensor(DEVIATION)[:, None, None])[0][-1][:, :3]
    return (normals + 1) / 2


NORMAL_BAE = Annotator("scannet.pt", _network, _read, inside="model")


class ControlnetImageProcessorNormalBaeConfig(AnnotatorSettings):
    """Surface normals as colours, estimated by the BAE network."""

    type: Literal["ControlnetImageProcesserNormalBae"] = Field(
        default="ControlnetImageProcesserNormalBae", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return NORMAL_BAE.build(self, runtime)


class VideoControlnetImageProcessorNormalBaeConfig(SteadyNormalSettings, AnnotatorSettings):
    """Surface normals as colours, estimated by the BAE network, held still along the clip's motion."""

    type: Literal["VideoControlnetImageProcesserNormalBae"] = Field(
        default="VideoControlnetImageProcesserNormalBae", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return self.steadied(NORMAL_BAE.build(self, runtime))
