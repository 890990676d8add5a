"""Whatever chance decides of a training example, keyed by the seed and the example's place in the sequence.

Neither the batch that it is learned in, nor the process, nor how often a run was stopped makes a difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsynth.runtime import torch_generator
from diffsynth.training.space import Space


@dataclass(frozen=True)
class Draws:
    """For a batch, on the CPU."""

    u: Tensor
    """(B) in [0, 1): the times."""
    told: Tensor
    """(B, N) in [0, 1): whether the condition of the clip, and of each picture, is left out."""
    encoding: Tensor | None
    noise: Tensor
    """(B, F + I, C, H, W)."""
    focus: Tensor
    """(B) in [0, 1): whether each of the clip's frames is learned by itself."""


def draws(indices: Sequence[int], seed: int, space: Space, images: int) -> Draws:
    shape = space.shape
    size = (shape.frames + images, shape.channels, shape.height, shape.width)
    u, told, encoding, noise, focus = [], [], [], [], []
    for index in indices:
        generator = torch_generator(seed, "noise", index)
        u.append(torch.rand((), generator=generator))
        told.append(torch.rand(1 + images, generator=generator))
        encoding.append(space.draw(size[0], generator))
        noise.append(torch.randn(size, generator=generator))
        focus.append(torch.rand((), generator=generator))
    coded = [each for each in encoding if each is not None]
    return Draws(
        torch.stack(u), torch.stack(told), torch.stack(coded) if coded else None, torch.stack(noise), torch.stack(focus)
    )
