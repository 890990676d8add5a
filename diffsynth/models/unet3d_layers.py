"""Layers of the space-time factored U-net. Frames lie one behind the other in the batch: x is (B · F, C, H, W).

Weights have the published shapes and names: a kernel of (1, k, k) over a video is one of (k, k) over frames.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.models.positions import rotated

ROTARY_SIZE = 32
"""The most of a head that rotary angles turn."""
BUCKETS, FARTHEST = 32, 32
HEAD = 32
"""Size of a head of the attentions over space."""


class FrameConv(nn.Conv3d):
    """A convolution over each frame by itself."""

    def __init__(self, channels: int, out: int, side: int, stride: int = 1) -> None:
        self.side, self.step = side, stride
        inner = (side - 1) // 2
        super().__init__(channels, out, (1, side, side), (1, stride, stride), (0, inner, inner))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight[:, :, 0], self.bias, self.step, (self.side - 1) // 2)


class FrameUpsample(nn.ConvTranspose3d):
    """Each frame twice as large."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, (1, 4, 4), (1, 2, 2), (0, 1, 1))

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return functional.conv_transpose2d(x, self.weight[:, :, 0], self.bias, 2, 1)


class PlaceNorm(nn.Module):
    """Each place brought to a mean square of 1 over its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def over(self, x: Tensor, frames: int) -> Tensor:
        out: Tensor = functional.normalize(x, dim=1) * (self.gamma[:, 0] * len(self.gamma) ** 0.5)
        return out


class VideoNorm(nn.GroupNorm):
    """Group norm over all frames of a video."""

    def over(self, x: Tensor, frames: int) -> Tensor:
        video = x.view(-1, frames, *x.shape[1:]).transpose(1, 2)
        normed: Tensor = self(video)
        return normed.transpose(1, 2).flatten(0, 1)


class Block(nn.Module):
    """Convolution, norm, scale and shift, SiLU."""

    def __init__(self, channels: int, out: int, groups: int | None) -> None:
        super().__init__()
        self.proj = FrameConv(channels, out, 3)
        self.norm = PlaceNorm(out) if groups is None else VideoNorm(groups, out)

    def forward(self, x: Tensor, frames: int, scale_shift: tuple[Tensor, Tensor] | None) -> Tensor:
        x = self.norm.over(self.proj(x), frames)
        if scale_shift is not None:
            scale, shift = (each.repeat_interleave(frames, 0)[..., None, None] for each in scale_shift)
            x = torch.addcmul(shift, x, scale + 1)
        return functional.silu(x)


class ResnetBlock(nn.Module):
    """Two blocks beside a skip; `told` scales and shifts the first."""

    def __init__(self, channels: int, out: int, groups: int | None, told: int | None = None) -> None:
        super().__init__()
        if told is not None:
            self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(told, 2 * out))
        self.block1 = Block(channels, out, groups)
        self.block2 = Block(out, out, groups)
        self.res_conv = FrameConv(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, frames: int, told: Tensor | None = None) -> Tensor:
        scale_shift = None
        if told is not None:
            scale, shift = self.mlp(told).chunk(2, -1)
            scale_shift = scale, shift
        h = self.block2(self.block1(x, frames, scale_shift), frames, None)
        out: Tensor = h + self.res_conv(x)
        return out


class ChannelNorm(nn.Module):
    """Each place brought to mean 0 and variance 1 over its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.movedim(1, -1), [x.shape[1]], self.gamma.flatten()).movedim(-1, 1)


class LinearSpaceAttention(nn.Module):
    """Attention over a frame's places whose cost grows with their number, not its square.

    Softmax over a query's channels and over the keys' places lets keys meet values before queries do.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Conv2d(channels, 3 * heads * HEAD, 1, bias=False)
        self.to_out = nn.Conv2d(heads * HEAD, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows, _, height, width = x.shape
        query, key, value = self.to_qkv(x).view(rows, 3, self.heads, HEAD, height * width).unbind(1)
        context = key.softmax(-1) @ value.transpose(-1, -2)
        seen = context.transpose(-1, -2) @ (query.softmax(-2) * HEAD**-0.5)
        out: Tensor = self.to_out(seen.reshape(rows, -1, height, width))
        return out


class Turns(nn.Module):
    """The rates of rotary angles, kept with the weights as published."""

    def __init__(self, size: int) -> None:
        super().__init__()
        rates = 10_000.0 ** (-torch.arange(0, size, 2).double() / size)
        self.freqs: Tensor
        self.register_buffer("freqs", rates.float())

    def table(self, count: int) -> Tensor:
        """(2, count, size), as `rotated` takes it."""
        angles = torch.arange(count, device=self.freqs.device)[:, None] * self.freqs
        return torch.stack([angles.cos(), angles.sin()]).repeat_interleave(2, -1)


class FullAttention(nn.Module):
    """Attention within the rows of (rows, N, channels)."""

    def __init__(self, channels: int, heads: int, size: int, *, turning: bool = False) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        self.turned = min(ROTARY_SIZE, size)
        if turning:
            self.rotary_emb = Turns(self.turned)
        self.to_qkv = nn.Linear(channels, 3 * heads * size, bias=False)
        self.to_out = nn.Linear(heads * size, channels, bias=False)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        rows, count, _ = x.shape
        apart = self.to_qkv(x).view(rows, count, 3, self.heads, self.size)
        query, key, value = apart.permute(2, 0, 3, 1, 4).unbind(0)
        if bias is not None:
            table = self.rotary_emb.table(count)
            query, key = (self._turned(each, table) for each in (query, key))
            bias = bias.to(query.dtype)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.to_out(seen.transpose(1, 2).reshape(rows, count, -1))
        return out

    def _turned(self, x: Tensor, table: Tensor) -> Tensor:
        if self.turned == self.size:
            return rotated(x, table)
        return torch.cat([rotated(x[..., : self.turned], table), x[..., self.turned :]], -1)


class SpaceAttention(nn.Module):
    """Over the places of a frame."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.fn = FullAttention(channels, heads, HEAD)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fn(x.flatten(2).transpose(1, 2))
        return out.transpose(1, 2).view_as(x)


class TimeAttention(nn.Module):
    """Over the frames at a place. Of a video of one frame it sees that frame's value."""

    def __init__(self, channels: int, heads: int, size: int) -> None:
        super().__init__()
        self.fn = FullAttention(channels, heads, size, turning=True)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        frames = bias.shape[-1]
        places = x.movedim(1, -1)
        rows = places.reshape(len(x) // frames, frames, -1, x.shape[1]).transpose(1, 2)
        out: Tensor = self.fn(rows.flatten(0, 1), bias)
        return out.view(rows.shape).transpose(1, 2).reshape(places.shape).movedim(-1, 1)


class Normed(nn.Module):
    """Another layer on the normed input."""

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.fn = layer
        self.norm = ChannelNorm(channels)


class Beside(nn.Module):
    """x + layer(norm(x))."""

    def __init__(self, channels: int, layer: nn.Module) -> None:
        super().__init__()
        self.fn = Normed(channels, layer)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        normed = self.fn.norm(x)
        seen: Tensor = self.fn.fn(normed) if bias is None else self.fn.fn(normed, bias)
        return x + seen


class TimeBias(nn.Module):
    """T5's relative positions: what is added to the attention of two frames, by their distance in buckets.

    Half of the buckets are for frames that come later. Near distances have one each, farther ones share them by their
    logarithm.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, frames: int) -> Tensor:
        """(heads, F, F), for (…, asking, asked)."""
        places = torch.arange(frames, device=self.relative_attention_bias.weight.device)
        out: Tensor = self.relative_attention_bias(buckets(places[None] - places[:, None]))
        return out.permute(2, 0, 1)


def buckets(ahead: Tensor) -> Tensor:
    """The bucket of each distance; above 0 where the frame that is asked comes later."""
    side = BUCKETS // 2
    near = side // 2
    away = ahead.abs()
    share = torch.log(away.clamp(min=1).double() / near) / math.log(FARTHEST / near)
    far = (near + (share * (side - near)).long()).clamp(max=side - 1)
    return torch.where(away < near, away, far) + side * (ahead > 0)


class Waves(nn.Module):
    """The timestep as sines, then cosines."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.rates = size // 2

    def forward(self, time: Tensor) -> Tensor:
        places = torch.arange(self.rates, device=time.device, dtype=time.dtype)
        rates = torch.exp(places * (-math.log(10_000) / (self.rates - 1)))
        angles = time[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], -1)
