"""Latte's layers. Videos are (B, frames, places, hidden) throughout; attention runs over the last axis but one."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.models.positions import rotated, rotation_table, timestep_waves

Backend = Literal["sdpa", "math"]


def attend(query: Tensor, key: Tensor, value: Tensor, backend: Backend, mask: Tensor | None = None) -> Tensor:
    """softmax(query · keyᵀ / √size) · value over (…, N, size); `mask` is true where a key may be seen."""
    if backend == "sdpa":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.matmul(scores.softmax(-1), value)


class Attention(nn.Module):
    """Self-attention within the rows of (B, rows, N, hidden); `rotary` is the longest N that is told apart by angles."""

    def __init__(self, hidden: int, heads: int, backend: Backend, rotary: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.backend = backend
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)
        self.angles: Tensor | None
        table = None if rotary is None else rotation_table(rotary, hidden // heads)
        self.register_buffer("angles", table, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        batch, rows, count, hidden = x.shape
        apart = self.qkv(x).view(batch * rows, count, 3, self.heads, hidden // self.heads)
        query, key, value = apart.permute(2, 0, 3, 1, 4).unbind(0)
        if self.angles is not None:
            query, key = rotated(query, self.angles), rotated(key, self.angles)
        seen = attend(query, key, value, self.backend, mask)
        out: Tensor = self.proj(seen.transpose(1, 2).reshape(batch, rows, count, hidden))
        return out


class Mlp(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden, inner)
        self.fc2 = nn.Linear(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))
        return out


class TimestepEmbedder(nn.Module):
    WAVES = 256

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(self.WAVES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, t: Tensor) -> Tensor:
        waves = timestep_waves(t, self.WAVES)
        out: Tensor = self.mlp(waves.to(next(self.mlp.parameters()).dtype))
        return out


class LabelEmbedder(nn.Module):
    """A row for each class, and one for none."""

    def __init__(self, classes: int, hidden: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, hidden)

    def forward(self, labels: Tensor) -> Tensor:
        out: Tensor = self.embedding_table(labels)
        return out


class PatchEmbedder(nn.Module):
    """(B, F, C, H, W) to (B, F / tube, places, hidden). A convolution without overlap is a linear layer on patches."""

    def __init__(self, channels: int, patch: int, tube: int | None, hidden: int) -> None:
        super().__init__()
        self.patch = patch
        self.tube = tube or 1
        self.proj: nn.Conv2d | nn.Conv3d
        if tube is None:
            self.proj = nn.Conv2d(channels, hidden, patch, patch)
        else:
            size = (tube, patch, patch)
            self.proj = nn.Conv3d(channels, hidden, size, size)

    def forward(self, x: Tensor) -> Tensor:
        batch, frames, channels, height, width = x.shape
        length, side = self.tube, self.patch
        apart = x.view(batch, frames // length, length, channels, height // side, side, width // side, side)
        patches = apart.permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(
            batch, frames // length, -1, channels * length * side**2
        )
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """The layer norm of x, scaled by 1 + `scale` and shifted."""
    return torch.addcmul(shift, normalised(x), 1 + scale)


def normalised(x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], eps=1e-6)
