"""Keeping parts of a clip as they are while the rest is painted.

Solvers are told the picture that a step aims at. Where that is the clip's own from the first step on, the latents are
at every step the clip's own with as much noise as the step expects, and in the end the clip's own: exactly, whatever
the solver.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffsynth.diffusion.schedule import Schedule


@dataclass(frozen=True)
class Hold:
    """What is kept of each frame, and until when."""

    original: Callable[[int], Tensor]
    """A frame's own clean latents, (C, h, w)."""
    painted: Callable[[int], Tensor | None]
    """The share of a frame that is painted, (1, h, w) from 0 to 1; None where it is all of it."""
    begins: Callable[[int], int]
    """The first step in which a frame is painted: until then, all of it is kept."""

    def share(self, frame: int, step: int) -> Tensor | None:
        if step < self.begins(frame):
            return torch.zeros(1, 1, 1)
        return self.painted(frame)

    def held(self, clean: Tensor, chunk: range, step: int) -> Tensor:
        """The clean latents (n, C, h, w) that a step aims at, with what is kept put back."""
        rows = []
        for aim, frame in zip(clean, chunk, strict=True):
            share = self.share(frame, step)
            rows.append(aim if share is None else torch.lerp(self.original(frame), aim, share))
        return torch.stack(rows)

    def begin(self, noise: Tensor, frame: int, schedule: Schedule) -> Tensor:
        """A frame's first latents where the painted parts begin as pure noise."""
        share = self.share(frame, 0)
        if share is None:
            return noise
        return torch.lerp(schedule.noised(self.original(frame), noise, schedule.steps[0]), noise, share)
