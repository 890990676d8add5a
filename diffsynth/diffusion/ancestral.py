"""The steps of "Denoising Diffusion Probabilistic Models": from x to a draw of what it was one step before.

With a learned range ("Improved Denoising Diffusion Probabilistic Models") the network says for each pixel where the
logarithm of the step's variance lies, between the least and the most that it can be.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NATS_PER_BIT = math.log(2.0)


@dataclass(frozen=True)
class Posterior:
    """What is known of the point before, told x and the video: a Gaussian around kept · x + taken · x0."""

    kept: Tensor
    taken: Tensor
    log_least: Tensor
    """Log of the variance where the video is known: the least that the step can have."""
    log_most: Tensor
    """Log of the variance where the video is itself white noise."""

    @classmethod
    def of(cls, signal: Tensor, before: Tensor) -> "Posterior":
        """Between points whose α² are `signal` and `before`."""
        step, rest = 1 - signal / before, 1 - signal
        kept = (signal / before).sqrt() * (1 - before) / rest
        return cls(kept, before.sqrt() * step / rest, (step * (1 - before) / rest).log(), step.log())

    def at(self, index: Tensor, like: Tensor) -> "Posterior":
        """Of the steps (B) among many, to broadcast over videos like these."""
        beside = (...,) + (None,) * (like.ndim - 1)
        tables = (self.kept, self.taken, self.log_least, self.log_most)
        return Posterior(*(each.to(like)[index][beside] for each in tables))

    def mean(self, x: Tensor, clean: Tensor) -> Tensor:
        return self.kept.to(x.dtype) * x + self.taken.to(x.dtype) * clean

    def log_variance(self, said: Tensor) -> Tensor:
        """From `log_least` to `log_most`, where -1 … 1 of the network says."""
        share = (said + 1) / 2
        return share * self.log_most.to(said.dtype) + (1 - share) * self.log_least.to(said.dtype)


def divergence(mean: Tensor, log_var: Tensor, other_mean: Tensor, other_log_var: Tensor) -> Tensor:
    """KL of the first Gaussian from the other, elementwise, in nats."""
    gap = (mean - other_mean).square() * torch.exp(-other_log_var)
    return 0.5 * (other_log_var - log_var - 1 + torch.exp(log_var - other_log_var) + gap)


def picture_cost(clean: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """-log of the Gaussian's share in each value's bin, the width of an 8-bit level in [-1, 1], open at both ends."""
    half, inverse = 1 / 255, torch.exp(-0.5 * log_var)
    upper = torch.special.ndtr(inverse * (clean + half - mean))
    lower = torch.special.ndtr(inverse * (clean - half - mean))
    inside = torch.where(clean < -0.999, upper, torch.where(clean > 0.999, 1 - lower, upper - lower))
    return -inside.clamp(min=1e-12).log()
