"""Layers of transformers. Attention runs over the last axis but one, each row by itself."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.models.positions import rotated, rotation_table, timestep_waves

Backend = Literal["sdpa", "math"]


def attend(query: Tensor, key: Tensor, value: Tensor, backend: Backend, mask: Tensor | None = None) -> Tensor:
    """softmax(query · keyᵀ / √size) · value over (rows, heads, N, size); `mask` is true where a key may be seen."""
    if backend == "sdpa":
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.matmul(scores.softmax(-1), value)


class Attention(nn.Module):
    """Self-attention within the rows of (B, rows, N, hidden); `turns` is the N whose places rotary angles tell."""

    def __init__(self, hidden: int, heads: int, backend: Backend, turns: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.backend = backend
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.proj = nn.Linear(hidden, hidden)
        self.angles: Tensor | None
        table = None if turns is None else rotation_table(turns, hidden // heads)
        self.register_buffer("angles", table, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        out: Tensor = self.proj(self._mixed(self.qkv(x), self.heads, self.angles, mask))
        return out

    def _mixed(self, qkv: Tensor, heads: int, angles: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, rows, N, hidden) values from (B, rows, N, 3 · hidden)."""
        batch, rows, count, width = qkv.shape
        apart = qkv.reshape(batch * rows, count, 3, heads, width // (3 * heads))
        query, key, value = apart.permute(2, 0, 3, 1, 4).unbind(0)
        if angles is not None:
            query, key = rotated(query, angles), rotated(key, angles)
        seen = attend(query, key, value, self.backend, mask)
        return seen.transpose(1, 2).reshape(batch, rows, count, width // 3)


class SplitAttention(Attention):
    """Half of the heads over a frame's places, half over the frames at a place; the two meet in the projection."""

    def over_both(self, x: Tensor, frames: int, mask: Tensor | None) -> Tensor:
        """x (B, G, places, hidden). The frames from `frames` on are pictures: each sees itself alone in time."""
        batch, rows, places, hidden = x.shape
        qkv = self.qkv(x).view(batch, rows, places, 3, 2, hidden // 2)
        space, time = (each.flatten(-2) for each in qkv.unbind(4))
        across = self._mixed(space, self.heads // 2, None, mask)
        along = self._mixed(time[:, :frames].transpose(1, 2), self.heads // 2, self.angles, None).transpose(1, 2)
        if frames < rows:
            along = torch.cat([along, time[:, frames:, :, hidden:]], 1)
        out: Tensor = self.proj(torch.cat([across, along], -1))
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
        apart = x.reshape(batch, frames // length, length, channels, height // side, side, width // side, side)
        inner = channels * length * side**2
        patches = apart.permute(0, 1, 4, 6, 3, 2, 5, 7).reshape(batch, frames // length, -1, inner)
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """The layer norm of x, scaled by 1 + `scale` and shifted."""
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)
