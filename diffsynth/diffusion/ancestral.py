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
    """What is known of the point before, told x and the video: a Gaussian around kept · x + taken · x0.

    `signal` and `before` are α² of the two points, float64, of any shape that broadcasts.
    """

    signal: Tensor
    before: Tensor

    @property
    def beta(self) -> Tensor:
        """The most variance that the step can have: of video that is itself white noise."""
        return 1 - self.signal / self.before

    @property
    def variance(self) -> Tensor:
        """The least: where the video is known."""
        return self.beta * (1 - self.before) / (1 - self.signal)

    def mean(self, x: Tensor, clean: Tensor) -> Tensor:
        kept = (self.signal / self.before).sqrt() * (1 - self.before) / (1 - self.signal)
        taken = self.before.sqrt() * self.beta / (1 - self.signal)
        return kept.to(x.dtype) * x + taken.to(x.dtype) * clean


def log_variance(least: Tensor, most: Tensor, said: Tensor) -> Tensor:
    """Between log `least` and log `most`, where -1 … 1 of the network says."""
    share = (said + 1) / 2
    return share * most.log().to(said.dtype) + (1 - share) * least.log().to(said.dtype)


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
