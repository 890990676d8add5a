"""An autoencoder for frames: residual convolutions on the way down and up, and a normal distribution between.

Names of weights and the order of layers are those that published checkpoints have, so these load unchanged.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class Residuals(nn.Module):
    """Two convolutions beside a 1×1 one, `count` times; attention over the places behind those that have it."""

    def __init__(self, inner: int, outer: int, count: int, groups: int, heads: int, attended: int) -> None:
        """The first `attended` layers are followed by attention."""
        super().__init__()
        widths = [inner] + [outer] * (count - 1)
        self.resnet_conv_first = nn.ModuleList(_convolved(groups, each, outer) for each in widths)
        self.resnet_conv_second = nn.ModuleList(_convolved(groups, outer, outer) for _ in widths)
        self.residual_input_conv = nn.ModuleList(nn.Conv2d(each, outer, 1) for each in widths)
        self.attended = attended
        if attended:
            self.attention_norms = nn.ModuleList(nn.GroupNorm(groups, outer) for _ in range(attended))
            self.attentions = nn.ModuleList(
                nn.MultiheadAttention(outer, heads, batch_first=True) for _ in range(attended)
            )

    def forward(self, x: Tensor) -> Tensor:
        for index, beside in enumerate(self.residual_input_conv):
            x = beside(x) + self.resnet_conv_second[index](self.resnet_conv_first[index](x))
            if index < self.attended:
                x = x + self._seen(index, x)
        return x

    def _seen(self, index: int, x: Tensor) -> Tensor:
        places = self.attention_norms[index](x.flatten(2)).transpose(1, 2)
        seen: Tensor = self.attentions[index](places, places, places, need_weights=False)[0]
        return seen.transpose(1, 2).reshape(x.shape)


class Down(Residuals):
    """A level of the encoder."""

    def __init__(
        self, inner: int, outer: int, count: int, groups: int, heads: int, *, attention: bool, halves: bool
    ) -> None:
        super().__init__(inner, outer, count, groups, heads, count if attention else 0)
        self.down_sample_conv = nn.Conv2d(outer, outer, 4, 2, 1) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_sample_conv(super().forward(x))
        return out


class Up(Residuals):
    """A level of the decoder."""

    def __init__(
        self, inner: int, outer: int, count: int, groups: int, heads: int, *, attention: bool, doubles: bool
    ) -> None:
        super().__init__(inner, outer, count, groups, heads, count if attention else 0)
        self.up_sample_conv = nn.ConvTranspose2d(inner, inner, 4, 2, 1) if doubles else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.up_sample_conv(x))


class Mid(Residuals):
    """Between the levels and the latent: one residual more than there are attentions."""

    def __init__(self, inner: int, outer: int, count: int, groups: int, heads: int) -> None:
        super().__init__(inner, outer, count + 1, groups, heads, count)


class VideoVae(nn.Module):
    """A `Coder`."""

    def __init__(
        self,
        channels: int,
        z_channels: int,
        *,
        down_channels: Sequence[int],
        mid_channels: Sequence[int],
        down_sample: Sequence[bool],
        attention: Sequence[bool],
        groups: int,
        heads: int,
        down_layers: int,
        mid_layers: int,
        up_layers: int,
    ) -> None:
        super().__init__()
        self.z_channels = z_channels
        first, last = down_channels[0], down_channels[-1]
        levels = list(zip(down_channels, down_channels[1:], down_sample, attention, strict=False))
        middle = list(pairwise(mid_channels))
        self.encoder_conv_in = nn.Conv2d(channels, first, 3, padding=1)
        self.encoder_layers = nn.ModuleList(
            Down(inner, outer, down_layers, groups, heads, attention=seen, halves=halves)
            for inner, outer, halves, seen in levels
        )
        self.encoder_mids = nn.ModuleList(Mid(*each, mid_layers, groups, heads) for each in middle)
        self.encoder_norm_out = nn.GroupNorm(groups, last)
        self.encoder_conv_out = nn.Conv2d(last, 2 * z_channels, 3, padding=1)
        self.pre_quant_conv = nn.Conv2d(2 * z_channels, 2 * z_channels, 1)
        self.post_quant_conv = nn.Conv2d(z_channels, z_channels, 1)
        self.decoder_conv_in = nn.Conv2d(z_channels, last, 3, padding=1)
        self.decoder_mids = nn.ModuleList(
            Mid(outer, inner, mid_layers, groups, heads) for inner, outer in reversed(middle)
        )
        self.decoder_layers = nn.ModuleList(
            Up(outer, inner, up_layers, groups, heads, attention=seen, doubles=halves)
            for inner, outer, halves, seen in reversed(levels)
        )
        self.decoder_norm_out = nn.GroupNorm(groups, first)
        self.decoder_conv_out = nn.Conv2d(first, channels, 3, padding=1)

    def moments(self, frames: Tensor) -> Tensor:
        x = self.encoder_conv_in(frames)
        for layer in (*self.encoder_layers, *self.encoder_mids):
            x = layer(x)
        out: Tensor = self.pre_quant_conv(self.encoder_conv_out(_active(self.encoder_norm_out(x))))
        return out

    def decode(self, latents: Tensor) -> Tensor:
        x = self.decoder_conv_in(self.post_quant_conv(latents))
        for layer in (*self.decoder_mids, *self.decoder_layers):
            x = layer(x)
        out: Tensor = self.decoder_conv_out(_active(self.decoder_norm_out(x)))
        return out


LEAST_LOG, MOST_LOG = -30.0, 20.0


def latents_of(moments: Tensor, drawn: Tensor | None) -> Tensor:
    """Mean + deviation · `drawn`, or the mean, of moments (N, 2 · Z, h, w)."""
    mean, log_variance = moments.chunk(2, -3)
    if drawn is None:
        return mean
    return mean + (0.5 * log_variance.clamp(LEAST_LOG, MOST_LOG)).exp() * drawn


def _convolved(groups: int, inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(groups, inner), nn.SiLU(), nn.Conv2d(inner, outer, 3, padding=1))


def _active(x: Tensor) -> Tensor:
    return torch.nn.functional.silu(x)
