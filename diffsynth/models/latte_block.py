"""Latte's blocks, one kind for each way that attention divides space and time.

x is (B, G, places, hidden) throughout. G counts a video's frames and, behind them, pictures of their own: these take
part in all but what runs over time.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from diffsynth.models.base import Variant
from diffsynth.models.layers import Attention, Backend, Mlp, SplitAttention, modulated

BlockKind = Literal["spatial", "temporal", "joint", "split"]


def kinds(variant: Variant, depth: int) -> list[BlockKind]:
    """The blocks of a variant."""
    if variant == "interleaved":
        return ["temporal" if index % 2 else "spatial" for index in range(depth)]
    if variant == "sequential":
        return ["spatial" if index < (depth + 1) // 2 else "temporal" for index in range(depth)]
    return [variant] * depth


class Block(nn.Module):
    """Attention and an MLP, each beside a way that passes the input on."""

    def __init__(
        self,
        kind: BlockKind,
        hidden: int,
        heads: int,
        mlp_ratio: float,
        backend: Backend,
        *,
        turns: int | None,
        tokens: bool,
    ) -> None:
        """`turns`: the frames that rotary angles tell apart. `tokens`: time and condition are tokens among the others,
        and the norms have weights of their own."""
        super().__init__()
        self.kind = kind
        layers = 3 if kind == "joint" else 2
        if kind == "split":
            self.attn: Attention = SplitAttention(hidden, heads, backend, turns)
        else:
            self.attn = Attention(hidden, heads, backend, turns if kind == "temporal" else None)
        if kind == "joint":
            self.temp_attn = Attention(hidden, heads, backend, turns)
        self.mlp = Mlp(hidden, int(hidden * mlp_ratio))
        if tokens:
            self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=1e-6) for _ in range(layers))
        else:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 3 * layers * hidden))

    def forward(self, x: Tensor, cond: Tensor | None, frames: int, mask: Tensor | None = None) -> Tensor:
        """`cond` is (B, 1 or G, 1, hidden), None where it is among the tokens; `mask` hides keys within a frame."""
        parts: Sequence[Tensor] = ()
        if cond is not None:
            parts = self.adaLN_modulation(cond).chunk(9 if self.kind == "joint" else 6, -1)
        if self.kind == "temporal":
            video = self._beside(0, x[:, :frames], _until(frames, parts), self._along)
            video = self._beside(1, video, _until(frames, parts), self.mlp)
            return _followed(video, x[:, frames:])
        if self.kind == "split":
            x = self._beside(0, x, parts, lambda y: self._over_both(y, frames, mask))
            return self._beside(1, x, parts, self.mlp)
        x = self._beside(0, x, parts, lambda y: self.attn(y, mask))
        if self.kind == "joint":
            video = self._beside(1, x[:, :frames], _until(frames, parts), self._along)
            x = _followed(video, x[:, frames:])
        return self._beside(-1, x, parts, self.mlp)

    def _along(self, y: Tensor) -> Tensor:
        """Attention over the frames at each place."""
        attention = self.temp_attn if self.kind == "joint" else self.attn
        out: Tensor = attention(y.transpose(1, 2)).transpose(1, 2)
        return out

    def _over_both(self, y: Tensor, frames: int, mask: Tensor | None) -> Tensor:
        assert isinstance(self.attn, SplitAttention)
        return self.attn.over_both(y, frames, mask)

    def _beside(self, layer: int, x: Tensor, parts: Sequence[Tensor], run: Callable[[Tensor], Tensor]) -> Tensor:
        """x and what a layer adds to it."""
        if not parts:
            return x + run(self.norms[layer](x))
        first = 3 * (layer % (len(parts) // 3))
        shift, scale, gate = parts[first : first + 3]
        return torch.addcmul(x, gate, run(modulated(x, shift, scale)))


def _until(frames: int, parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """The parts of the video's own frames; those that hold for all are as they are."""
    return [each[:, :frames] for each in parts]


def _followed(video: Tensor, pictures: Tensor) -> Tensor:
    return torch.cat([video, pictures], 1) if pictures.shape[1] else video
