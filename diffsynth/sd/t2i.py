"""T2I-Adapters: small networks that look at the condition alone, once a frame, and add to the denoiser's way down."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from diffsynth.diffusion.schedule import Step
from diffsynth.frames import Image
from diffsynth.processors.inpaint import condition_values
from diffsynth.sd.control import weights
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sd.placement import Placement
from diffsynth.tracks import Track


@dataclass(frozen=True)
class AdapterBranch:
    """A T2I-Adapter with its weight and the part of the steps in which it acts."""

    network: Any
    blueprint: Any
    """The same without weights, which tells the sizes of its answers."""
    placement: Placement
    scale: Track[float]
    start: float = 0.0
    end: float = 1.0

    @classmethod
    def of(cls, network: Any, placement: Placement, scale: Track[float], start: float, end: float) -> "AdapterBranch":
        return cls(network, copy.deepcopy(network).to("meta"), placement, scale, start, end)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return (self.network,)

    def among(self, shown: Sequence[int] | None) -> "AdapterBranch":
        return replace(self, scale=self.scale.among(shown))

    def acts(self, step: Step, steps: int) -> bool:
        return step.within(self.start, self.end, steps)

    @torch.inference_mode()
    def embed(self, found: Image, alpha: Image | None) -> Tensor:
        """(1, N) float32 on the CPU: all of its answers to one map, one after the other."""
        values = torch.from_numpy(condition_values(found, alpha)).permute(2, 0, 1)[None]
        if int(self.network.config.in_channels) == 1:
            values = values.mean(1, keepdim=True)
        height, width = values.shape[-2:]
        beyond = self._padded(width) - width, self._padded(height) - height
        values = pad(values, (0, beyond[0], 0, beyond[1]), mode="replicate")
        with self.placement.present(self.network):
            answers = self.network(self.placement.tensor(values))
        return torch.cat([each.float().cpu().flatten(1) for each in answers], 1)

    def features(self, embedded: Tensor, latents: Tensor, frames: Sequence[int]) -> list[Tensor]:
        """What `embed` said of each row, weighted, apart again: (n, C, h, w) by the denoiser's levels."""
        height, width = (self._padded(LATENT_SCALE * side) for side in latents.shape[-2:])
        shown = torch.empty((1, int(self.network.config.in_channels), height, width), device="meta")
        shapes = [tuple(each.shape[1:]) for each in self.blueprint(shown.to(self.placement.dtype))]
        parts = torch.split(embedded, [c * h * w for c, h, w in shapes], 1)
        weight = weights(self.scale, frames, self.placement)
        return [
            self.placement.tensor(part.reshape(-1, *shape)) * weight for part, shape in zip(parts, shapes, strict=True)
        ]

    def _padded(self, side: int) -> int:
        """The side of a map, in whole squares of those that it reads as one pixel."""
        square = int(self.network.config.downscale_factor)
        return -(-side // square) * square


def summed(parts: Sequence[list[Tensor]]) -> list[Tensor]:
    """Several adapters' features, level by level; one may reach deeper than another."""
    deepest = max(map(len, parts))
    levels = [[each[level] for each in parts if level < len(each)] for level in range(deepest)]
    return [torch.stack(each).sum(0) if len(each) > 1 else each[0] for each in levels]
