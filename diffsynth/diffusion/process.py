"""Training and sampling of a network that answers to noisy videos.

All randomness is the caller's: times come as u in [0, 1), noise as tensors, so that results hang neither on batches nor
on processes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from diffsynth.diffusion.ancestral import NATS_PER_BIT, Posterior, divergence, picture_cost
from diffsynth.diffusion.paths import Discrete, Drawn, Level, NoisePath, asked, meant, min_snr_weight
from diffsynth.diffusion.schedule import Step
from diffsynth.diffusion.solvers import begin
from diffsynth.diffusion.solvers import solver as deterministic
from diffsynth.diffusion.targets import SOLVERS, Loss, SolverName, Target
from diffsynth.errors import ConfigError

MULTISTEP: tuple[SolverName, ...] = ("dpmpp_2m", "unipc")
CHANNELS = 2
"""The axis of channels in (B, F, C, H, W)."""

Answer = Callable[[Tensor, Tensor], Tensor]
"""The network: what it says to x (B, F, C, H, W) at timesteps (B), 0 … 1000."""
NoiseAt = Callable[[int], Tensor]
"""The noise that a step adds, by its index: like x."""
EachStep = Callable[[int, Tensor], None]
"""Hears of every step: its index, and x after it."""


@dataclass(frozen=True)
class Objective:
    """What a network learns, and how videos come from it."""

    target: Target
    path: NoisePath
    learned_range: bool = False
    min_snr: float | None = None
    error: Loss = "l2"

    def loss(self, answer: Answer, clean: Tensor, u: Tensor, noise: Tensor) -> Tensor:
        """(B): each video's own, for its time u in [0, 1) and its noise."""
        drawn = self.path.draw(u)
        alpha, sigma = _beside(drawn.alpha, clean), _beside(drawn.sigma, clean)
        x = alpha * clean + sigma * noise
        said, spread = self.split(answer(x, drawn.timestep).to(clean.dtype))
        off = said - asked(self.target, clean, noise, alpha, sigma)
        error = _mean(off.abs() if self.error == "l1" else off.square())
        if self.min_snr is not None:
            error = error * min_snr_weight(self.target, drawn.alpha, drawn.sigma, self.min_snr)
        if spread is None:
            return error
        implied = meant(self.target, x, said.detach(), alpha, sigma)
        return error + self._bound(drawn, x, clean, implied, spread)

    def split(self, answer: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network says of the video, and of the variance."""
        if not self.learned_range:
            return answer, None
        said, spread = answer.chunk(2, CHANNELS)
        return said, spread

    def _bound(self, drawn: Drawn, x: Tensor, clean: Tensor, implied: Tensor, spread: Tensor) -> Tensor:
        """(B): the variational bound's term for this time, in bits a value, times as many as there are of them over
        1000. The mean is held, so that only the variance learns from it."""
        assert isinstance(self.path, Discrete)
        assert drawn.index is not None
        posterior = self.path.posterior().at(drawn.index, x)
        log_var, mean = posterior.log_variance(spread), posterior.mean(x, implied)
        cost = divergence(posterior.mean(x, clean), posterior.log_least, mean, log_var)
        first = _beside(drawn.index == 0, x)
        cost = torch.where(first, picture_cost(clean, mean, log_var), cost)
        return _mean(cost) / NATS_PER_BIT * (len(self.path.signals) / 1000)

    def sample(
        self,
        answer: Answer,
        noise: Tensor,
        steps: int,
        solver: SolverName = "ddim",
        noise_at: NoiseAt | None = None,
        each_step: EachStep | None = None,
        *,
        clip_denoised: bool = False,
        dynamic_threshold: float | None = None,
    ) -> Tensor:
        """Videos from noise in so many steps. `noise_at` is asked by `ddpm` alone.

        `clip_denoised` holds the video that each step aims at within [-1, 1]: for pixels. With `dynamic_threshold`,
        a share of each video's values, it is held within what that share doesn't exceed, and scaled to [-1, 1]:
        strong guidance then doesn't saturate ("Photorealistic Text-to-Image Diffusion Models …").
        """
        if solver not in SOLVERS:
            raise ConfigError([f'"solver" is "{solver}"; known are {", ".join(SOLVERS)}.'])
        levels = self.path.levels(steps, multistep=solver in MULTISTEP)
        walk = Walk(self, answer, levels, each_step or _nobody, clip_denoised, dynamic_threshold)
        if solver == "ddpm":
            if noise_at is None:
                raise ConfigError(['"solver" is "ddpm", which adds noise at every step, but none was given.'])
            return walk.ancestral(noise, noise_at)
        return walk.heun(noise) if solver == "heun" else walk.solved(noise, solver)


@dataclass(frozen=True)
class Walk:
    """One way down from noise to the video."""

    objective: Objective
    answer: Answer
    levels: list[Level]
    each_step: EachStep
    clip: bool
    threshold: float | None = None

    @property
    def steps(self) -> list[Step]:
        """As the solvers know them: on x of unit variance."""
        return [
            Step(index, level.timestep, level.signal, following.signal)
            for index, (level, following) in enumerate(pairwise(self.levels))
        ]

    def ancestral(self, x: Tensor, noise_at: NoiseAt) -> Tensor:
        """`ddpm`: each step draws from the posterior of the video that the network sees."""
        last = len(self.levels) - 2
        for index, (level, following) in enumerate(pairwise(self.levels)):
            clean, spread = self._seen(x, level)
            posterior = Posterior.of(*(torch.tensor(each.signal, dtype=torch.float64) for each in (level, following)))
            mean = posterior.mean(x / level.size, clean)
            if index < last:
                log_var = posterior.log_least.to(x.dtype) if spread is None else posterior.log_variance(spread)
                mean = mean + torch.exp(0.5 * log_var) * noise_at(index)
            x = mean * following.size
            self.each_step(index, x)
        return x

    def heun(self, x: Tensor) -> Tensor:
        """Euler's steps along the circle of video and noise, y = cos φ x0 + sin φ ε, each taken again with the mean of
        the slopes at its two ends. The last is left at Euler's: at the video itself nothing tells the noise."""
        for index, (level, following) in enumerate(pairwise(self.levels)):
            y, turn = x / level.size, following.angle - level.angle
            cos, sin = math.cos(turn), math.sin(turn)
            slope = self._slope(x, level)
            x = (cos * y + sin * slope) * following.size
            if following.sigma > 0:
                # The slope at the end, turned back to the start.
                end = cos * self._slope(x, following) + sin * x / following.size
                x = (cos * y + sin * (slope + end) / 2) * following.size
            self.each_step(index, x)
        return x

    def _slope(self, x: Tensor, level: Level) -> Tensor:
        """dy/dφ = cos φ ε - sin φ x0."""
        clean, _ = self._seen(x, level)
        return (math.cos(level.angle) * x / level.size - clean) / math.sin(level.angle)

    def solved(self, x: Tensor, name: str) -> Tensor:
        """By a solver of whole clips, on x of unit variance."""
        moves = deterministic(name, _no_noise)
        state = begin(moves, x / self.levels[0].size)
        for step in self.steps:
            clean, _ = self._seen(x, self.levels[step.index])
            state = moves.advance(state, clean, self.steps, step.index)
            x = state[:, 0] * self.levels[step.index + 1].size
            self.each_step(step.index, x)
        return x

    def _seen(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor | None]:
        """The video that the network sees in x, and where it says in the range of the step's variance."""
        t = torch.full((len(x),), level.timestep, dtype=torch.float32, device=x.device)
        said, spread = self.objective.split(self.answer(x, t).to(x.dtype))
        clean = meant(self.objective.target, x, said, level.alpha, level.sigma)
        if self.threshold is not None:
            return thresholded(clean, self.threshold), spread
        return (clean.clamp(-1, 1) if self.clip else clean), spread


def thresholded(clean: Tensor, share: float) -> Tensor:
    """Each video held within the size that `share` of its values don't exceed, and scaled to [-1, 1] by it."""
    most = _beside(clean.flatten(1).abs().quantile(share, 1).clamp(min=1), clean)
    return clean.clamp(-most, most) / most


def _beside(values: Tensor, like: Tensor) -> Tensor:
    """(B) values, to broadcast over videos."""
    return values.view(-1, *(1,) * (like.ndim - 1))


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _nobody(_index: int, _x: Tensor) -> None:
    """Hears of the steps where nobody asked."""


def _no_noise(_index: int) -> Tensor:
    raise AssertionError("this solver adds no noise")
