"""The latents that a rendering begins with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffsynth.arrays import ArrayWriter
from diffsynth.diffusion.hold import Hold
from diffsynth.diffusion.schedule import Schedule
from diffsynth.diffusion.solvers import Solver, begin
from diffsynth.sd.noise import Noise
from diffsynth.tracks import Track, number_at

WRITTEN_TOGETHER = 16


@dataclass(frozen=True)
class First:
    """Noise, or the clip's own latents with as much noise as the first step expects."""

    schedule: Schedule
    strength: Track[float]
    noise: Noise
    original: Callable[[int], Tensor]
    """A frame's own clean latents."""
    hold: Hold | None

    def of(self, frame: int) -> Tensor:
        noise = self.noise.of(frame)
        if number_at(self.strength, frame) < 1:
            clean = self.original(frame)
            return self.schedule.noised(clean, noise, self.schedule.steps[0]) if self.schedule.steps else clean
        return noise if self.hold is None else self.hold.begin(noise, frame, self.schedule)

    def write(self, path: Path, solver: Solver, count: int) -> None:
        """The first states of all frames; continues unfinished work."""
        with ArrayWriter(path, (solver.slots, *self.noise.shape)) as writer:
            while writer.count < count:
                frames = range(writer.count, min(writer.count + WRITTEN_TOGETHER, count))
                writer.append(begin(solver, torch.stack([self.of(frame) for frame in frames])).numpy())
