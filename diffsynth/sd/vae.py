"""The autoencoder: frames to latents and back, one at a time, so that a clip's length costs no memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffsynth.diffusion.denoise import require_finite
from diffsynth.frames import Image
from diffsynth.sd.folders import Settings
from diffsynth.sd.placement import Placement

TILED_FROM = 1536 * 1536
"""Pixels from which a frame goes through in tiles: beyond, a decoder's middle layers take gigabytes."""


class Vae:
    """Frames are (H, W, 3) uint8; latents (n, C, H/8, W/8) float32 on the CPU, scaled as the denoiser reads them."""

    def __init__(self, network: Any, placement: Placement, *, tiled_from: int = TILED_FROM) -> None:
        self.network = network
        self.placement = placement
        self.tiled_from = tiled_from

    @staticmethod
    def precision(settings: Settings, wanted: torch.dtype) -> torch.dtype:
        """XL's autoencoders overflow in float16, and say so where they were not mended."""
        return torch.float32 if wanted == torch.float16 and settings.get("force_upcast") else wanted

    @property
    def channels(self) -> int:
        return int(self.network.config.latent_channels)

    @torch.inference_mode()
    def encode(self, frames: Sequence[Image]) -> Tensor:
        """The mean of what the encoder says, without its noise."""
        return torch.cat([self._encoded(frame) for frame in frames])

    def _encoded(self, frame: Image) -> Tensor:
        self._choose_tiling(frame.shape[0] * frame.shape[1])
        pixels = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None].float() / 127.5 - 1
        with self.placement.present(self.network):
            encoded = self.network.encode(self.placement.tensor(pixels))
            # A tiny autoencoder names its latents at once; the others name a distribution.
            mean = (encoded.latents if "latents" in encoded else encoded.latent_dist.mean).float().cpu()
        require_finite(mean, "in the autoencoder's encoder")
        return mean * float(self.network.config.scaling_factor)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Image:
        """One (C, h, w) latent to a frame."""
        self._choose_tiling(latent.shape[-2] * latent.shape[-1] * 64)
        scaled = latent[None] / float(self.network.config.scaling_factor)
        with self.placement.present(self.network):
            pixels = self.network.decode(self.placement.tensor(scaled)).sample[0].float()
        require_finite(pixels, "in the autoencoder's decoder")
        levels = (pixels / 2 + 0.5).clamp(0, 1).mul(255).round().byte()
        frame: Image = levels.permute(1, 2, 0).contiguous().cpu().numpy()
        return frame

    def _choose_tiling(self, pixels: int) -> None:
        if pixels > self.tiled_from:
            self.network.enable_tiling()
        else:
            self.network.disable_tiling()
