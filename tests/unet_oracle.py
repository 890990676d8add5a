"""The published space-time U-net restated for one video, in float64 NumPy from its weights: nothing of the project.

Axes: f and g frame, y and x place, c channel, n head, e size of a head, p place of a frame as one number.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class RestatedUnet:
    """The numbers that weights alone don't tell."""

    heads: int
    groups: int | None = None
    early_skip: bool = False

    def answer(self, w: Weights, video: Array, time: float, told: Array | None = None) -> Array:
        """(C', F, H, W) to a video (C, F, H, W)."""
        x = np.moveaxis(video, 0, 1)
        far = self.distances(w, len(x))
        x = convolved(w, "init_conv", x)
        start = x
        x = self.over_time(w, "init_temporal_attn", x, far)
        start = start if self.early_skip else x
        t = linear(w, "time_mlp.3", gelu(linear(w, "time_mlp.1", waves(time, w["time_mlp.1.weight"].shape[1]))))
        t = t if told is None else np.concatenate([t, told])
        levels = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("downs."))
        kept = []
        for number in range(levels):
            x = self.level(w, f"downs.{number}", x, t, far)
            kept.append(x)
            if number < levels - 1:
                x = convolved(w, f"downs.{number}.4", x, stride=2)
        x = self.resnet(w, "mid_block1", x, t)
        x = self.over_space(w, "mid_spatial_attn", x)
        x = self.over_time(w, "mid_temporal_attn", x, far)
        x = self.resnet(w, "mid_block2", x, t)
        for number in range(levels):
            x = self.level(w, f"ups.{number}", np.concatenate([x, kept.pop()], 1), t, far)
            if number < levels - 1:
                x = doubled(w, f"ups.{number}.4", x)
        x = self.resnet(w, "final_conv.0", np.concatenate([x, start], 1), None)
        return np.moveaxis(convolved(w, "final_conv.1", x), 0, 1)

    def level(self, w: Weights, name: str, x: Array, t: Array, far: Array) -> Array:
        x = self.resnet(w, f"{name}.1", self.resnet(w, f"{name}.0", x, t), t)
        if f"{name}.2.fn.norm.gamma" in w:
            x = self.linear_attention(w, f"{name}.2.fn", x)
        return self.over_time(w, f"{name}.3", x, far)

    def resnet(self, w: Weights, name: str, x: Array, t: Array | None) -> Array:
        h = self.normed(w, f"{name}.block1.norm", convolved(w, f"{name}.block1.proj", x))
        if t is not None:
            scale, shift = np.split(linear(w, f"{name}.mlp.1", silu(t)), 2)
            h = h * (1 + scale[:, None, None]) + shift[:, None, None]
        h = silu(self.normed(w, f"{name}.block2.norm", convolved(w, f"{name}.block2.proj", silu(h))))
        return h + (convolved(w, f"{name}.res_conv", x) if f"{name}.res_conv.weight" in w else x)

    def normed(self, w: Weights, name: str, x: Array) -> Array:
        if self.groups is None:
            root = np.sqrt(np.einsum("fcyx,fcyx->fyx", x, x) / x.shape[1])
            return x / root[:, None] * w[f"{name}.gamma"][:, 0]
        out = np.empty_like(x)
        for part in np.split(np.arange(x.shape[1]), self.groups):
            out[:, part] = (x[:, part] - x[:, part].mean()) / np.sqrt(x[:, part].var() + 1e-5)
        return out * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def linear_attention(self, w: Weights, name: str, x: Array) -> Array:
        h = np.einsum("oc,fcyx->foyx", w[f"{name}.fn.to_qkv.weight"][:, :, 0, 0], centred(w, name, x))
        q, k, v = (each.reshape(len(x), self.heads, 32, -1) for each in np.split(h, 3, 1))
        q, k = softmax(q, -2) * 32**-0.5, softmax(k, -1)
        seen = np.einsum("fndp,fnep,fndr->fner", k, v, q).reshape(len(x), -1, *x.shape[2:])
        out = np.einsum("oc,fcyx->foyx", w[f"{name}.fn.to_out.weight"][:, :, 0, 0], seen)
        return x + out + w[f"{name}.fn.to_out.bias"][:, None, None]

    def over_space(self, w: Weights, name: str, x: Array) -> Array:
        rows = centred(w, f"{name}.fn", x).reshape(*x.shape[:2], -1).swapaxes(1, 2)
        out = self.attended(w, f"{name}.fn.fn.fn", rows, None)
        return x + out.swapaxes(1, 2).reshape(x.shape)

    def over_time(self, w: Weights, name: str, x: Array, far: Array) -> Array:
        rows = centred(w, f"{name}.fn", x).reshape(*x.shape[:2], -1).transpose(2, 0, 1)
        out = self.attended(w, f"{name}.fn.fn.fn", rows, far)
        return x + out.transpose(1, 2, 0).reshape(x.shape)

    def attended(self, w: Weights, name: str, rows: Array, far: Array | None) -> Array:
        q, k, v = np.split(np.einsum("oc,rfc->rfo", w[f"{name}.to_qkv.weight"], rows), 3, -1)
        q, k, v = (each.reshape(*rows.shape[:2], self.heads, -1) for each in (q, k, v))
        if far is not None:
            q, k = turned(q, w[f"{name}.rotary_emb.freqs"]), turned(k, w[f"{name}.rotary_emb.freqs"])
        scores = np.einsum("rfne,rgne->rnfg", q, k) / math.sqrt(q.shape[-1]) + (0 if far is None else far)
        seen = np.einsum("rnfg,rgne->rfne", softmax(scores, -1), v).reshape(*rows.shape[:2], -1)
        return np.einsum("oc,rfc->rfo", w[f"{name}.to_out.weight"], seen)

    def distances(self, w: Weights, frames: int) -> Array:
        """(heads, F, F): of a frame that asks and one that is asked."""
        table = w["time_rel_pos_bias.relative_attention_bias.weight"]
        return np.stack([[table[bucket(g - f)] for g in range(frames)] for f in range(frames)]).transpose(2, 0, 1)


def bucket(ahead: int) -> int:
    """T5's: 16 buckets a side, 8 of them for distances below 8, the others by logarithm up to 32."""
    away = abs(ahead)
    if away >= 8:
        away = min(8 + int(math.log(away / 8) / math.log(4) * 8 + 1e-9), 15)
    return away + (16 if ahead > 0 else 0)


def turned(x: Array, rates: Array) -> Array:
    """Neighbouring pairs of the first 2 · len(rates) numbers, as complex ones, times e^(i · place · rate)."""
    count = 2 * len(rates)
    pairs = x[..., 0:count:2] + 1j * x[..., 1:count:2]
    pairs = pairs * np.exp(1j * np.arange(x.shape[1])[:, None, None] * rates)
    out = x.copy()
    out[..., 0:count:2], out[..., 1:count:2] = pairs.real, pairs.imag
    return out


def convolved(w: Weights, name: str, x: Array, stride: int = 1) -> Array:
    kernel = w[f"{name}.weight"][:, :, 0]
    side = kernel.shape[-1]
    inner = (side - 1) // 2
    x = np.pad(x, ((0, 0), (0, 0), (inner, inner), (inner, inner)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("ocab,fcyxab->foyx", kernel, windows) + w[f"{name}.bias"][:, None, None]


def doubled(w: Weights, name: str, x: Array) -> Array:
    """A transposed convolution of 4×4: each pixel adds its kernel to the sixteen around it, twice as large."""
    kernel = w[f"{name}.weight"][:, :, 0]
    height, width = x.shape[2:]
    out = np.zeros((len(x), kernel.shape[1], 2 * height + 2, 2 * width + 2))
    for row in range(height):
        for column in range(width):
            out[:, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += np.einsum(
                "fc,coab->foab", x[:, :, row, column], kernel
            )
    return out[:, :, 1:-1, 1:-1] + w[f"{name}.bias"][:, None, None]


def centred(w: Weights, name: str, x: Array) -> Array:
    spread = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    return (x - x.mean(1, keepdims=True)) / spread * w[f"{name}.norm.gamma"][0, :, 0]


def linear(w: Weights, name: str, x: Array) -> Array:
    return np.asarray(w[f"{name}.weight"] @ x + w[f"{name}.bias"])


def waves(time: float, size: int) -> Array:
    rates = 10_000.0 ** (-np.arange(size // 2) / (size // 2 - 1))
    return np.concatenate([np.sin(time * rates), np.cos(time * rates)])


def silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


def gelu(x: Array) -> Array:
    return np.asarray([each * (1 + math.erf(each / math.sqrt(2))) / 2 for each in x])


def softmax(x: Array, axis: int) -> Array:
    grown = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(grown / grown.sum(axis, keepdims=True))
