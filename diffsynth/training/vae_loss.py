"""What rebuilt frames are held to. Every term is one number a frame, so that a batch's parts add up to the same."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffsynth.models.video_vae import LEAST_LOG, MOST_LOG, latents_of
from diffsynth.models.video_vae_config import Coder
from diffsynth.training.vae_settings import VaeTrainSettings

Terms = dict[str, Tensor]
"""Named parts of a loss, (B) each, weighed."""


@dataclass(frozen=True)
class Rebuilt:
    """Frames within [-1, 1], what became of them, and the moments between."""

    frames: Tensor
    again: Tensor
    moments: Tensor


class Rebuilding(nn.Module):
    """An autoencoder from end to end, as its training calls it."""

    def __init__(self, coder: nn.Module) -> None:
        """`coder` is a `Coder`."""
        super().__init__()
        self.coder = coder

    def forward(self, frames: Tensor, drawn: Tensor | None) -> Rebuilt:
        """By way of latents that `drawn`, normal numbers (N, Z, h, w), picks; None: of the means."""
        coder: Coder = self.coder  # type: ignore[assignment]  # every autoencoder's config builds one
        moments = coder.moments(frames).float()
        return Rebuilt(frames, coder.decode(latents_of(moments, drawn)).float(), moments)


def coder_terms(
    found: Rebuilt, settings: VaeTrainSettings, perceptual: nn.Module | None, critic: nn.Module | None
) -> Terms:
    """What the autoencoder has to make small."""
    apart = found.again - found.frames
    off = apart.abs() if settings.reconstruction == "l1" else apart.square()
    terms = {
        "reconstruction": off.mean((1, 2, 3)),
        "kl": settings.kl_weight * divergence(found.moments),
    }
    if perceptual is not None:
        terms["perceptual"] = settings.perceptual_weight * perceptual(found.again, found.frames)
    if critic is not None:
        terms["adversarial"] = settings.disc_weight * _from_one(critic(found.again))
    return terms


def critic_loss(found: Rebuilt, critic: nn.Module) -> Tensor:
    """(B): what the critic has to make small. Rebuilt frames are taken as they are: nothing flows back through them."""
    said = critic(found.again.detach()).square().mean((1, 2, 3))
    loss: Tensor = (said + _from_one(critic(found.frames))) / 2
    return loss


def divergence(moments: Tensor) -> Tensor:
    """(B): the Kullback–Leibler divergence of N(mean, variance) from N(0, 1), summed over a latent.

    KL = ½ Σ (σ² + μ² − 1 − log σ²)
    """
    mean, log_variance = moments.chunk(2, 1)
    log_variance = log_variance.clamp(LEAST_LOG, MOST_LOG)
    found: Tensor = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum((1, 2, 3))
    return found


def _from_one(said: Tensor) -> Tensor:
    return torch.square(said - 1).mean((1, 2, 3))
