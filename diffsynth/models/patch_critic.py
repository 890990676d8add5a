"""A network that tells patches of real frames from rebuilt ones."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

GROUPS = 8


class PatchCritic(nn.Module):
    """(N, 1, h, w) of frames (N, C, H, W): near 1 where a patch looks real, near 0 where it looks rebuilt.

    Group norms: what it says of a frame doesn't hang on the others of a batch.
    """

    def __init__(self, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for inner, outer in pairwise(widths):
            layers += [
                nn.Conv2d(inner, outer, 4, 2, 1, bias=False),
                nn.GroupNorm(min(GROUPS, outer), outer),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1, bias=False))

    def forward(self, frames: Tensor) -> Tensor:
        out: Tensor = self.layers(frames)
        return out
