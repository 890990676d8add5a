"""`ControlnetImageProcesserLineartAnime`: the lines of drawn pictures, white on black."""

import functools
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from diffsynth.processors.base import Processor
from diffsynth.processors.network import Annotator, AnnotatorSettings
from diffsynth.processors.weights import annotator
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    import torch


STEP = 256
"""Eight halvings: the sides of what this network reads are multiples of this."""


def _network(name: str) -> "torch.nn.Module":
    import torch

    plain = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
    network: torch.nn.Module = annotator("lineart_anime", name).UnetGenerator(3, 1, 8, 64, norm_layer=plain)
    return network


def _read(network: "torch.nn.Module", frames: "torch.Tensor") -> "torch.Tensor":
    """The network draws black on white, in -1 to 1."""
    from torch.nn.functional import interpolate

    height, width = frames.shape[-2:]
    grid = [-(-side // STEP) * STEP for side in (height, width)]
    fitted = interpolate(frames.float(), grid, mode="bicubic").clamp(0, 1).to(frames.dtype)
    drawn = interpolate(network(fitted * 2 - 1).float(), (height, width), mode="bicubic")
    return (1 - drawn) / 2


ANIME = Annotator("netG.pth", _network, _read)


class ControlnetImageProcessorLineartAnimeConfig(AnnotatorSettings):
    """The lines of anime and other drawn pictures, white on black."""

    type: Literal["ControlnetImageProcesserLineartAnime"] = Field(
        default="ControlnetImageProcesserLineartAnime", exclude=True
    )

    def build(self, runtime: Runtime) -> Processor:
        return ANIME.build(self, runtime)
