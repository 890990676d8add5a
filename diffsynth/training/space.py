"""The space that a network works in: the frames' pixels, or the latents of an autoencoder for pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from diffsynth.config.fields import hub_id
from diffsynth.errors import ModelError
from diffsynth.hub import snapshot
from diffsynth.models import VideoShape
from diffsynth.runtime import Runtime

AT_ONCE = 16
"""Frames that go through the autoencoder together."""
WEIGHTS = ("config.json", "*.safetensors", "vae/config.json", "vae/*.safetensors")


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
    """As `Space`: each frame by itself through diffusers' AutoencoderKL, scaled by its factor."""

    shape: VideoShape
    device: torch.device
    network: Any
    scale: float

    def draw(self, frames: int, generator: torch.Generator) -> Tensor | None:
        return torch.randn((frames, self.shape.channels, self.shape.height, self.shape.width), generator=generator)

    @torch.no_grad()
    def encode(self, pixels: Tensor, drawn: Tensor | None) -> Tensor:
        frames = (pixels.permute(0, 1, 4, 2, 3).float() / 127.5 - 1).flatten(0, 1)
        if frames.shape[1] == 1:
            frames = frames.expand(-1, 3, -1, -1)
        told = [self.network.encode(part.to(self.device)).latent_dist for part in torch.split(frames, AT_ONCE)]
        mean = torch.cat([each.mean for each in told])
        if drawn is not None:
            mean = mean + torch.cat([each.std for each in told]) * drawn.flatten(0, 1).to(self.device)
        latents: Tensor = mean.reshape(*pixels.shape[:2], *mean.shape[1:]) * self.scale
        return latents

    @torch.no_grad()
    def decode(self, x: Tensor) -> Tensor:
        flat = (x.to(self.device) / self.scale).flatten(0, 1)
        frames = torch.cat([self.network.decode(part).sample for part in torch.split(flat, AT_ONCE)])
        return levels(frames.reshape(*x.shape[:2], *frames.shape[1:]))


def levels(x: Tensor) -> Tensor:
    """[-1, 1] as (B, F, C, H, W) to bytes as (B, F, H, W, C)."""
    return (x.float() / 2 + 0.5).clamp(0, 1).mul(255).round().byte().permute(0, 1, 3, 4, 2).contiguous().cpu()


@dataclass(frozen=True)
class Autoencoder:
    """What an autoencoder's folder says of it."""

    folder: Path
    channels: int
    factor: int
    """How many times smaller latents are than frames."""
    scale: float


def autoencoder(reference: str) -> Autoencoder:
    """One in diffusers' layout: its folder, a pipeline's folder with `vae/` in it, or an id of the hub."""
    hub = hub_id(reference)
    folder = snapshot(hub, WEIGHTS, '"vae"') if hub else Path(reference)
    if (folder / "vae" / "config.json").is_file():
        folder = folder / "vae"
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        channels, scale = int(settings["latent_channels"]), float(settings.get("scaling_factor", 0.18215))
        factor = 2 ** (len(settings["block_out_channels"]) - 1)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ModelError(
            f'{reference}: is no autoencoder in diffusers\' layout ({problem}). "vae" is a folder with config.json and '
            'weights, a pipeline\'s folder with "vae" in it, or an id of the hub such as "stabilityai/sd-vae-ft-ema".'
        ) from None
    return Autoencoder(folder, channels, factor, scale)


def reduction(reference: str) -> int:
    return autoencoder(reference).factor


def load_latent_space(reference: str, frames: int, height: int, width: int, runtime: Runtime) -> LatentSpace:
    found = autoencoder(reference)
    factor = found.factor
    if height % factor or width % factor:
        raise ModelError(
            f'"size" is {height}×{width}, but {reference} makes frames smaller by {factor}: use multiples of it.'
        )
    import diffusers

    device = runtime.torch_device()
    try:
        network: Any = cast(Any, diffusers.AutoencoderKL).from_pretrained(found.folder, local_files_only=True)
    except (OSError, ValueError) as problem:
        raise ModelError(f"{reference}: its weights don't load: {problem}") from problem
    network = network.eval().requires_grad_(False).to(device)  # noqa: FBT003  torch's own name for it
    shape = VideoShape(frames, found.channels, height // factor, width // factor)
    return LatentSpace(shape, device, network, found.scale)
