"""The noise that a clip begins with, and what some solvers add on the way."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffsynth.arrays import ArrayStore
from diffsynth.runtime import torch_generator
from diffsynth.tracks import Track, steady_weights

NoiseKind = Literal["shared", "per_frame", "warped"]
"""One noise for all frames, one for each, or one that rides on the clip's motion."""


@dataclass(frozen=True)
class Noise:
    """Keyed by seed and frame, so that it hangs on nothing else."""

    shape: tuple[int, int, int]
    seed: Track[int]
    kind: NoiseKind = "shared"
    carried: ArrayStore | None = None
    """(C, h, w) for each frame, of the kind that rides."""

    def of(self, frame: int) -> Tensor:
        """(C, h, w) float32. Between two seeds it turns from one noise to the other, and stays white."""
        if self.kind == "warped":
            assert self.carried is not None
            return torch.from_numpy(self.carried.read([frame])[0])
        found = self.seed.between(frame)
        before = self._drawn(found.before, frame)
        if found.share == 0 or found.before == found.after:
            return before
        one, other = steady_weights(found.share)
        return one * before + other * self._drawn(found.after, frame)

    def _drawn(self, seed: int, frame: int) -> Tensor:
        """The seed's way is one noise for all frames."""
        generator = torch.Generator("cpu").manual_seed(seed)
        if self.kind == "per_frame":
            generator = torch_generator(seed, "noise", frame)
        return torch.randn((1, *self.shape), generator=generator)[0]

    def of_step(self, index: int) -> Tensor:
        """What a step adds, where its solver adds noise: the same to every frame."""
        return torch.randn(self.shape, generator=torch_generator(self.seed.values[0], "step", index))
