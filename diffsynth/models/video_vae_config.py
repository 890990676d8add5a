"""The config of the autoencoder for frames, its keys spelled as published configs spell them. No torch here."""

from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel

if TYPE_CHECKING:
    from torch import Tensor

    from diffsynth.models.kl_vae import KlVae
    from diffsynth.models.video_vae import VideoVae

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
Flags = Annotated[tuple[bool, ...], Field(strict=False)]


class Coder(Protocol):
    """A network between frames and latents, each frame by itself."""

    def moments(self, frames: "Tensor") -> "Tensor":
        """(N, 2 · Z, h, w): means, then log variances, of frames (N, C, H, W) within [-1, 1]."""
        ...

    def decode(self, latents: "Tensor") -> "Tensor":
        """(N, C, H, W) of latents (N, Z, h, w), as they come from `moments`."""
        ...


class VideoVaeConfig(ConfigModel):
    """An autoencoder that turns each frame into a normal distribution over smaller pictures."""

    type: Literal["video_vae"] = "video_vae"
    z_channels: Count = 4
    """Channels of a latent."""
    down_channels: Counts = (32, 64, 128)
    """Channels of the first layer, and behind each level."""
    mid_channels: Counts = (128,)
    """Channels between the levels and the latent; each one behind the first is a block with attention."""
    down_sample: Flags = (True, True)
    """For each level, whether it halves the frame."""
    attn_down: Flags = (False, False)
    """For each level, whether it has attention."""
    norm_channels: Count = 32
    """Groups of the group norms."""
    num_heads: Count = 16
    """Heads of attention."""
    num_down_layers: Count = 1
    """Layers of each level of the encoder."""
    num_mid_layers: Count = 1
    """Layers of each block between."""
    num_up_layers: Count = 1
    """Layers of each level of the decoder."""

    @field_validator("down_sample", "attn_down")
    @classmethod
    def _one_for_each_level(cls, flags: tuple[bool, ...], info: ValidationInfo) -> tuple[bool, ...]:
        levels = len(info.data.get("down_channels", flags)) - 1
        if "down_channels" in info.data and len(flags) != levels:
            sentence = f"must have {levels} entries, one for each level between down_channels"
            raise PydanticCustomError("path", "{sentence}", {"sentence": sentence})
        return flags

    @model_validator(mode="after")
    def _fits(self) -> "VideoVaeConfig":
        last, middle = self.down_channels[-1], self.mid_channels
        if (middle[0], middle[-1]) != (last, last):
            raise _problem(f"must hold mid_channels that begin and end with {last}, the last of down_channels")
        odd = [each for each in (*self.down_channels, *middle) if each % self.norm_channels]
        if odd:
            raise _problem(
                f"must hold norm_channels that divide all channels; {self.norm_channels} divides not {odd[0]}"
            )
        attended = [*middle] if len(middle) > 1 else []
        for level, has in enumerate(self.attn_down):
            attended += [self.down_channels[level], self.down_channels[level + 1]] if has else []
        odd = [each for each in attended if each % self.num_heads]
        if odd:
            raise _problem(
                f"must hold num_heads that divide channels with attention; {self.num_heads} divides not {odd[0]}"
            )
        return self

    @property
    def factor(self) -> int:
        """How many times smaller latents are than frames."""
        return int(2 ** sum(self.down_sample))

    def build(self, channels: int) -> "VideoVae":
        from diffsynth.models.video_vae import VideoVae

        return VideoVae(
            channels,
            self.z_channels,
            down_channels=self.down_channels,
            mid_channels=self.mid_channels,
            down_sample=self.down_sample,
            attention=self.attn_down,
            groups=self.norm_channels,
            heads=self.num_heads,
            down_layers=self.num_down_layers,
            mid_layers=self.num_mid_layers,
            up_layers=self.num_up_layers,
        )


def _problem(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("problem", "{sentence}", {"sentence": sentence})


class KlVaeConfig(ConfigModel):
    """diffusers' AutoencoderKL; what was trained is written as a folder of diffusers too."""

    type: Literal["autoencoder_kl"] = "autoencoder_kl"
    latent_channels: Count = 4
    """Channels of a latent."""
    block_out_channels: Counts = (128, 256, 512, 512)
    """Channels of each level; all but the last halve the frame."""
    layers_per_block: Count = 2
    """Layers of each level."""
    norm_num_groups: Count = 32
    """Groups of the group norms."""

    @model_validator(mode="after")
    def _fits(self) -> "KlVaeConfig":
        odd = [each for each in self.block_out_channels if each % self.norm_num_groups]
        if odd:
            raise _problem(
                f"must hold norm_num_groups that divide block_out_channels; {self.norm_num_groups} divides not {odd[0]}"
            )
        return self

    @property
    def z_channels(self) -> int:
        return self.latent_channels

    @property
    def factor(self) -> int:
        """How many times smaller latents are than frames."""
        return int(2 ** (len(self.block_out_channels) - 1))

    def build(self, channels: int) -> "KlVae":
        from diffsynth.models.kl_vae import KlVae

        return KlVae.fresh(
            channels, self.latent_channels, self.block_out_channels, self.layers_per_block, self.norm_num_groups
        )


AutoencoderConfig = Annotated[VideoVaeConfig | KlVaeConfig, Field(discriminator="type")]
"""What `"autoencoder"` of a config may hold."""
