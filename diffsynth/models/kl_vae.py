"""diffusers' AutoencoderKL as a `Coder`: other projects read and write its folders."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn


class KlVae(nn.Module):
    """A `Coder`."""

    def __init__(self, network: Any) -> None:
        """`network`: an AutoencoderKL."""
        super().__init__()
        self.network = network

    @classmethod
    def fresh(
        cls, channels: int, z_channels: int, widths: tuple[int, ...], layers: int, groups: int, scale: float = 1.0
    ) -> "KlVae":
        """With random weights."""
        import diffusers

        levels = len(widths)
        kind: Any = diffusers.AutoencoderKL
        network = kind(
            in_channels=channels,
            out_channels=channels,
            latent_channels=z_channels,
            block_out_channels=widths,
            layers_per_block=layers,
            norm_num_groups=groups,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            scaling_factor=scale,
        )
        return cls(network)

    @classmethod
    def read(cls, folder: Path) -> "KlVae":
        """For inference. `ModelError` where weights are missing or don't fit."""
        import diffusers
        import torch

        from diffsynth.sd.load import load_network

        return cls(load_network(diffusers.AutoencoderKL, folder, torch.float32))

    def write(self, folder: Path, scale: float) -> None:
        """As a folder that diffusers reads, with the factor that its pipelines scale latents by."""
        self.network.register_to_config(scaling_factor=scale)
        self.network.save_pretrained(folder)

    def moments(self, frames: Tensor) -> Tensor:
        found: Tensor = self.network.encode(frames).latent_dist.parameters
        return found

    def decode(self, latents: Tensor) -> Tensor:
        found: Tensor = self.network.decode(latents).sample
        return found
