"""Solvers: how latents move from one step to the next, told which picture they aim at.

Every one of them is written in terms of the clean picture x0, so that an edit of it needs no counterpart: the noise is
what is left of x beside it. With α = √signal, σ = √(1 - signal), λ = log(α / σ) and h = λ' - λ,

    x' = (σ'/σ) x + α' (1 - e^-h) x0

is the exact step for an x0 that doesn't change (DDIM without added noise; Euler's method over σ/α is the same), and
what the others refine by an x0 that changes in line with the steps before.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from diffsynth.diffusion.schedule import SLOTS, Step

NoiseOf = Callable[[int], Tensor]
"""The noise that a step adds, by its index: the same for every frame."""


class Solver(Protocol):
    """Moves states. A state is (n, slots, C, h, w): in slot 0 the latents that the networks see, behind it what the
    solver remembers."""

    @property
    def slots(self) -> int: ...

    def advance(self, state: Tensor, clean: Tensor, steps: Sequence[Step], index: int) -> Tensor:
        """The next state, from the clean latents (n, C, h, w) that the networks' answer to this one implies."""
        ...


def begin(solver: Solver, latents: Tensor) -> Tensor:
    """The first state of (n, C, h, w) latents."""
    return torch.cat([latents[:, None], latents.new_zeros((len(latents), solver.slots - 1, *latents.shape[1:]))], 1)


@dataclass(frozen=True)
class Rates:
    """The numbers of one step."""

    shrink: float
    """σ'/σ: what is left of x."""
    signal: float
    """α'."""
    length: float
    """h; infinite where the step begins at pure noise or ends at the picture."""

    @classmethod
    def of(cls, step: Step) -> "Rates":
        sigma = math.sqrt(1 - step.signal)
        return cls(
            math.sqrt(1 - step.next_signal) / sigma,
            math.sqrt(step.next_signal),
            _log_ratio(step.next_signal) - _log_ratio(step.signal),
        )

    @property
    def gain(self) -> float:
        """e^-h - 1."""
        return math.expm1(-self.length)

    def exact(self, x: Tensor, clean: Tensor) -> Tensor:
        return self.shrink * x - self.signal * self.gain * clean


def _log_ratio(signal: float) -> float:
    """λ = log(α / σ)."""
    if signal <= 0:
        return -math.inf
    return math.inf if signal >= 1 else 0.5 * (math.log(signal) - math.log1p(-signal))


@dataclass(frozen=True)
class Exact:
    """DDIM without added noise, and Euler's method."""

    slots: int = 1

    def advance(self, state: Tensor, clean: Tensor, steps: Sequence[Step], index: int) -> Tensor:
        return Rates.of(steps[index]).exact(state[:, 0], clean)[:, None]


@dataclass(frozen=True)
class DpmPlusPlus:
    """DPM-Solver++ of second order over two steps: x0 goes on as it went from the step before."""

    slots: int = SLOTS["dpmpp_2m"]

    def advance(self, state: Tensor, clean: Tensor, steps: Sequence[Step], index: int) -> Tensor:
        rates = Rates.of(steps[index])
        target = clean
        # The end is taken in one order less: extrapolating over an infinite step would amplify what was wrong.
        if index > 0 and math.isfinite(rates.length):
            ratio = Rates.of(steps[index - 1]).length / rates.length
            target = clean + (clean - state[:, 1]) / (2 * ratio)
        return torch.stack([rates.exact(state[:, 0], target), clean], 1)


@dataclass(frozen=True)
class UniPc:
    """UniPC of second order: each answer first corrects the step that led to it, then predicts the next one.

    A state remembers, behind the latents, those of the step before once they were corrected, and the last two x0.
    """

    slots: int = SLOTS["unipc"]

    def advance(self, state: Tensor, clean: Tensor, steps: Sequence[Step], index: int) -> Tensor:
        x, before, last, last_but_one = state.unbind(1)
        if index > 0:
            x = self._corrected(before, clean, last, last_but_one, steps, index)
        rates = Rates.of(steps[index])
        following = rates.exact(x, clean)
        if self._order(steps, index) == 2:
            slope = (last - clean) / self._reach(steps, index)
            following = following - rates.signal * rates.gain * 0.5 * slope
        return torch.stack([following, x, clean, last], 1)

    def _corrected(
        self, before: Tensor, clean: Tensor, last: Tensor, last_but_one: Tensor, steps: Sequence[Step], index: int
    ) -> Tensor:
        """The step from `before`, taken again now that x0 at its end is known."""
        rates = Rates.of(steps[index - 1])
        change = (clean - last) * 0.5
        if self._order(steps, index - 1) == 2:
            reach, h, gain = self._reach(steps, index - 1), rates.length, rates.gain
            first = -gain / h - 1
            second = -first / h - 0.5
            of_end, of_last = first / gain, 2 * second / gain
            weight = (of_end - of_last) / (1 - reach)
            change = weight * (last_but_one - last) / reach + (of_end - weight) * (clean - last)
        return rates.exact(before, last) - rates.signal * rates.gain * change

    @staticmethod
    def _order(steps: Sequence[Step], index: int) -> int:
        """First order where there is no step before, and at the end."""
        return 2 if 0 < index < len(steps) - 1 else 1

    @staticmethod
    def _reach(steps: Sequence[Step], index: int) -> float:
        """Where the step before began, in steps' lengths."""
        return -Rates.of(steps[index - 1]).length / Rates.of(steps[index]).length


@dataclass(frozen=True)
class Lcm:
    """Latent consistency: the picture at once, and fresh noise on it for the next step."""

    noise_of: NoiseOf
    slots: int = 1
    SCALING = 10.0
    DATA = 0.5

    def advance(self, state: Tensor, clean: Tensor, steps: Sequence[Step], index: int) -> Tensor:
        step = steps[index]
        scaled = step.timestep * self.SCALING
        keep = self.DATA**2 / (scaled**2 + self.DATA**2)
        take = scaled / math.sqrt(scaled**2 + self.DATA**2)
        picture = keep * state[:, 0] + take * clean
        if index == len(steps) - 1:
            return picture[:, None]
        noised = math.sqrt(step.next_signal) * picture + math.sqrt(1 - step.next_signal) * self.noise_of(index)
        return noised[:, None]


def solver(name: str, noise_of: NoiseOf) -> Solver:
    """The solver that goes with a schedule's name. `noise_of` is asked by those that add noise."""
    if name == "lcm":
        return Lcm(noise_of)
    refined: dict[str, Solver] = {"dpmpp_2m": DpmPlusPlus(), "unipc": UniPc()}
    return refined.get(name, Exact())
