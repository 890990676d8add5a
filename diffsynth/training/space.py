"""The space that a network works in: the frames' pixels, or the latents of an autoencoder for pictures."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.models import VideoShape
from diffsynth.models.video_vae import latents_of
from diffsynth.models.video_vae_config import Coder
from diffsynth.runtime import Runtime
from diffsynth.training.autoencoders import Autoencoder, autoencoder

AT_ONCE = 16
"""Frames that go through the autoencoder together."""


class Space(Protocol):
    """Where clips are noised and denoised. Pixels are (B, F, H, W, C) uint8; what networks see, (B, F, C', H', W')."""

    @property
    def shape(self) -> VideoShape: ...

    def draw(self, frames: int, generator: torch.Generator) -> Tensor | None:
        """What `encode` needs of chance for one clip, with its pictures, of so many frames."""
        ...

    def encode(self, pixels: Tensor, drawn: Tensor | None) -> Tensor: ...

    def decode(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PixelSpace:
    """As `Space`: bytes to [-1, 1]."""

    shape: VideoShape
    device: torch.device

    def draw(self, frames: int, generator: torch.Generator) -> Tensor | None:
        return None

    def encode(self, pixels: Tensor, drawn: Tensor | None) -> Tensor:
        return pixels.to(self.device).permute(0, 1, 4, 2, 3).float() / 127.5 - 1

    def decode(self, x: Tensor) -> Tensor:
        return levels(x)


@dataclass(frozen=True)
class LatentSpace:
    """As `Space`: each frame by itself through an autoencoder, scaled by its factor."""

    shape: VideoShape
    device: torch.device
    coder: Coder
    scale: float
    frame_channels: int = 3

    def draw(self, frames: int, generator: torch.Generator) -> Tensor | None:
        return torch.randn((frames, self.shape.channels, self.shape.height, self.shape.width), generator=generator)

    def encode(self, pixels: Tensor, drawn: Tensor | None) -> Tensor:
        return self.latents(self.moments(pixels), drawn)

    @torch.no_grad()
    def moments(self, pixels: Tensor) -> Tensor:
        """(B, F, 2 · Z, h, w) of bytes (B, F, H, W, C)."""
        frames = (pixels.permute(0, 1, 4, 2, 3).float() / 127.5 - 1).flatten(0, 1)
        if frames.shape[1] < self.frame_channels:
            frames = frames.expand(-1, self.frame_channels, -1, -1)
        told = torch.cat([self.coder.moments(part.to(self.device)) for part in torch.split(frames, AT_ONCE)])
        _require_finite(told)
        return told.reshape(*pixels.shape[:2], *told.shape[1:])

    def latents(self, moments: Tensor, drawn: Tensor | None) -> Tensor:
        """Scaled (B, F, Z, h, w)."""
        there = drawn if drawn is None else drawn.to(self.device)
        return latents_of(moments.to(self.device).float(), there) * self.scale

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        flat = (x.to(self.device) / self.scale).flatten(0, 1)
        frames = torch.cat([self.coder.decode(part) for part in torch.split(flat, AT_ONCE)])
        _require_finite(frames)
        return levels(frames.reshape(*x.shape[:2], *frames.shape[1:]))


@dataclass(frozen=True)
class SavedLatents:
    """As `Space`, for clips that are given as the moments that an encoder once told of them."""

    space: LatentSpace

    @property
    def shape(self) -> VideoShape:
        return self.space.shape

    def draw(self, frames: int, generator: torch.Generator) -> Tensor | None:
        return self.space.draw(frames, generator)

    def encode(self, pixels: Tensor, drawn: Tensor | None) -> Tensor:
        """Of moments (B, F, 2 · Z, h, w): other latents each time that a clip comes round."""
        return self.space.latents(pixels, drawn)

    def decode(self, x: Tensor) -> Tensor:
        return self.space.decode(x)


def _require_finite(found: Tensor) -> None:
    """An autoencoder that says no numbers would be learned from for hours, or paint black frames."""
    if not bool(torch.isfinite(found).all()):
        raise ModelError(
            "The autoencoder's numbers overflowed (NaN or infinite): its weights are broken. Use a checkpoint of it "
            'before that, or another "vae".'
        )


def levels(x: Tensor) -> Tensor:
    """[-1, 1] as (B, F, C, H, W) to bytes as (B, F, H, W, C)."""
    return (x.float() / 2 + 0.5).clamp(0, 1).mul(255).round().byte().permute(0, 1, 3, 4, 2).contiguous().cpu()


def load_latent_space(
    reference: str, frames: int, frame_channels: int, height: int, width: int, runtime: Runtime
) -> LatentSpace:
    found = autoencoder(reference)
    require_fit(found, frame_channels, height, width)
    device = runtime.torch_device()
    coder: Any = found.load()
    shape = VideoShape(frames, found.channels, height // found.factor, width // found.factor)
    return LatentSpace(shape, device, coder.to(device), found.scale, found.frame_channels)


def require_fit(found: Autoencoder, frame_channels: int, height: int, width: int) -> None:
    """`ModelError` where an autoencoder can't code such frames."""
    factor = found.factor
    if height % factor or width % factor:
        raise ModelError(
            f'"size" is {height}×{width}, but {found.reference} makes frames smaller by {factor}: use multiples of it.'
        )
    if frame_channels > found.frame_channels:
        raise ModelError(
            f'"frame_channels" is {frame_channels}, but {found.reference} was trained on grey frames. Set it to 1, or '
            "name another autoencoder."
        )
