"""Paths from video to noise, x = α x0 + σ ε, and what a network may be asked to say of a point on one."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffsynth.diffusion.ancestral import Posterior
from diffsynth.diffusion.targets import Target
from diffsynth.errors import ConfigError

TIMESTEPS = 1000.0
"""The network is told times from 0 to this, whatever the path is cut into."""


@dataclass(frozen=True)
class Level:
    """A point of a path."""

    timestep: float
    """As the network is told."""
    alpha: float
    sigma: float

    @property
    def size(self) -> float:
        """The deviation of x where the video's is 1."""
        return math.hypot(self.alpha, self.sigma)

    @property
    def angle(self) -> float:
        """From 0 at the video to π/2 at noise."""
        return math.atan2(self.sigma, self.alpha)

    @property
    def signal(self) -> float:
        """The share of α² where x is scaled to variance 1."""
        return (self.alpha / self.size) ** 2


@dataclass(frozen=True)
class Drawn:
    """Points of a path, one a video; each of the tensors is (B)."""

    timestep: Tensor
    alpha: Tensor
    sigma: Tensor
    index: Tensor | None = None
    """Where a path has countable points, which."""


class NoisePath(Protocol):
    """How noise grows."""

    def draw(self, u: Tensor) -> Drawn:
        """The points that belong to u (B) in [0, 1)."""
        ...

    def levels(self, steps: int, *, multistep: bool = False) -> list[Level]:
        """From noise down to the video in so many steps; one more point than steps.

        Where points are countable, the last one asked is the first of the path, which hardly holds noise. Multistep
        solvers extrapolate what changed before: for them it is left out, since the step to it is too long for that.
        """
        ...


@dataclass(frozen=True)
class Discrete:
    """A variance-preserving path of countable points: α² + σ² = 1."""

    signals: NDArray[np.float64]
    """α² by index, falling."""

    @classmethod
    def of(cls, schedule: Literal["linear", "cosine"], count: int) -> "Discrete":
        """`linear` is that of "Denoising Diffusion Probabilistic Models", `cosine` that of "Improved …"."""
        if schedule == "linear":
            scale = 1000 / count
            betas = np.linspace(1e-4 * scale, 0.02 * scale, count)
        else:
            cosines = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * np.pi / 2) ** 2
            betas = 1 - cosines[1:] / cosines[:-1]
        return cls(np.cumprod(1 - np.minimum(betas, 0.999)))

    @property
    def before(self) -> NDArray[np.float64]:
        """α² of the point before each."""
        return np.append(1.0, self.signals[:-1])

    def draw(self, u: Tensor) -> Drawn:
        count = len(self.signals)
        index = (u * count).long().clamp(max=count - 1)
        alpha, sigma = (
            torch.from_numpy(np.sqrt(each).astype(np.float32)).to(u.device)[index]
            for each in (self.signals, 1 - self.signals)
        )
        return Drawn(index * (TIMESTEPS / count), alpha, sigma, index)

    def posterior(self) -> Posterior:
        """Of each step down. The first point's least variance has no logarithm; its neighbour's stands for it."""
        found = Posterior.of(torch.from_numpy(self.signals), torch.from_numpy(self.before))
        found.log_least[0] = found.log_least[1] if len(self.signals) > 1 else found.log_most[0]
        return found

    def levels(self, steps: int, *, multistep: bool = False) -> list[Level]:
        count = len(self.signals)
        if steps > count:
            raise ConfigError([f'"steps" is {steps}, but the network was trained on {count}. Use at most {count}.'])
        # One step alone begins at noise too; with as many steps as points there are, none can be left out.
        points_there = steps + 1 if (multistep and steps < count) or steps == 1 else steps
        indices = np.linspace(count - 1, 0, points_there).round().astype(int)[:steps]
        points = [
            Level(index * TIMESTEPS / count, math.sqrt(self.signals[index]), math.sqrt(1 - self.signals[index]))
            for index in indices.tolist()
        ]
        return [*points, Level(0.0, 1.0, 0.0)]


@dataclass(frozen=True)
class Flow:
    """The straight path of flow matching: x = (1 - t) x0 + t ε."""

    time: Literal["uniform", "logit_normal"] = "uniform"
    shift: float = 1.0

    def draw(self, u: Tensor) -> Drawn:
        t = u.float()
        if self.time == "logit_normal":
            t = torch.special.ndtri(t).sigmoid()
        t = self.shift * t / (self.shift * t + (1 - t))
        return Drawn(t * TIMESTEPS, 1 - t, t)

    def levels(self, steps: int, *, multistep: bool = False) -> list[Level]:
        times = np.linspace(1, 0, steps + 1)
        times = self.shift * times / (self.shift * times + (1 - times))
        return [Level(t * TIMESTEPS, 1 - t, t) for t in times.tolist()]


def asked(target: Target, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What the network should answer to α x0 + σ ε."""
    if target == "epsilon":
        return noise
    if target == "x0":
        return clean
    return alpha * noise - sigma * clean if target == "v" else noise - clean


def meant(target: Target, x: Tensor, answer: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
    """The video that an answer implies."""
    if target == "epsilon":
        return (x - sigma * answer) / alpha
    if target == "x0":
        return answer
    return alpha * x - sigma * answer if target == "v" else x - sigma * answer


def min_snr_weight(target: Target, alpha: Tensor, sigma: Tensor, most: float) -> Tensor:
    """min(α²/σ², γ) on the error of the video, as a weight on the square error of the answer."""
    ratio = (alpha / sigma).square()
    if target == "epsilon":
        return (most / ratio).clamp(max=1)
    capped = ratio.clamp(max=most)
    if target == "x0":
        return capped
    return capped / (ratio + 1) if target == "v" else capped * sigma.square()
