"""A network that tells patches of real frames from rebuilt ones."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8


class SettledNorm(nn.Module):
    """A batch norm by what another training gathered: what it says of a frame hangs on that frame alone."""

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias)


class PatchCritic(nn.Module):
    """(N, 1, h, w) of frames (N, C, H, W): near 1 where a patch looks real, near 0 where it looks rebuilt.

    Group norms, or where `settled` batch norms that no longer follow: what it says of a frame doesn't hang on the
    others of a batch.
    """

    def __init__(self, channels: int, widths: Sequence[int], *, settled: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for inner, outer in pairwise(widths):
            layers += [
                nn.Conv2d(inner, outer, 4, 2, 1, bias=False),
                SettledNorm(outer) if settled else nn.GroupNorm(min(GROUPS, outer), outer),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1, bias=False))

    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = self.layers(frames)
        return out
