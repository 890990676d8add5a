"""Classifier-free guidance: away from what the network says when it is told nothing."""

from collections.abc import Callable

import torch
from torch import Tensor

CHANNELS = 2
Told = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The network with its condition: (x, t, cond)."""


def guided(answer: Told, cond: Tensor, null: Tensor, scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The answers told `null`, moved towards those told `cond` by `scale`; both sides go through the network at once.

    Where the network has a learned variance behind the video's channels, that is the one told `cond`, unguided.
    """

    def answered(x: Tensor, t: Tensor) -> Tensor:
        if scale == 1.0:
            return answer(x, t, cond)
        with_it, without = answer(torch.cat([x, x]), torch.cat([t, t]), torch.cat([cond, null])).chunk(2)
        channels = x.shape[CHANNELS]
        said, base = with_it[:, :, :channels], without[:, :, :channels]
        return torch.cat([base + scale * (said - base), with_it[:, :, channels:]], CHANNELS)

    return answered
