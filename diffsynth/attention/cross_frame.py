"""Self-attention across frames: one processor, told by two index tables which rows of a batch ask which."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from diffsynth.attention.merging import Grid, Merged, merge
from diffsynth.attention.patterns import Backend, Batch
from diffsynth.errors import UnavailableError

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, heads, N, d) queries, (B, heads, M, d) keys and values to (B, heads, N, d)."""


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v, written out. The sums are formed in float32 whatever the networks' precision."""
    scores = (query @ key.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    mixed: Tensor = scores.softmax(-1).to(value.dtype) @ value
    return mixed


def _xformers() -> Attend:
    try:
        from xformers.ops import memory_efficient_attention  # type: ignore[import-not-found, unused-ignore]
    except ImportError as problem:
        raise UnavailableError(
            '"attention_backend" is "xformers", which is not installed or does not load '
            f'({str(problem).splitlines()[0]}). Install it with: pip install "diffsynth[xformers]", or use "sdpa".'
        ) from problem

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # Its kernels want (B, N, heads, d).
        swapped = (each.transpose(1, 2).contiguous() for each in (query, key, value))
        result: Tensor = memory_efficient_attention(*swapped)
        return result.transpose(1, 2)

    return attend


def attention(backend: Backend) -> Attend:
    """The function behind a backend's name. `auto` is torch's own, which picks the device's fastest kernel."""
    if backend == "xformers":
        return _xformers()
    return plain_attention if backend == "plain" else scaled_dot_product_attention


@dataclass
class Links:
    """Which rows ask which, for the batch that is in the networks now. All their attention layers share it."""

    asking: int = 1
    asked: Tensor | None = None
    """(groups, asked rows): row numbers; None lets every row ask itself."""
    merging: float = 0.0
    """The share of tokens that fine layers merge."""
    grid: Grid | None = None

    @contextmanager
    def of(self, batch: Batch, sides: int, latents: Tensor) -> Iterator[None]:
        """The tables of `batch`, standing `sides` times one after the other, for these (n, C, h, w) latents."""
        table = torch.tensor(batch.asked, device=latents.device)
        shift = torch.arange(sides, device=latents.device) * len(batch.rows)
        before = self.asking, self.asked, self.grid
        self.asking, self.asked = batch.asking, (shift[:, None, None] + table).flatten(0, 1)
        self.grid = Grid(*latents.shape[-2:])
        try:
            yield
        finally:
            self.asking, self.asked, self.grid = before

    def merged(self, tokens: Tensor) -> Merged | None:
        """What to merge of a layer's (B, N, D) tokens; None where nothing is."""
        sides = self.grid.of(tokens.shape[1]) if self.grid is not None and self.merging > 0 else None
        return None if sides is None else merge(tokens, sides, self.merging)


class CrossFrameAttention:
    """A diffusers attention processor. Self-attention follows the links; attention to words is left as it is."""

    def __init__(self, links: Links, attend: Attend) -> None:
        self.links = links
        self.attend = attend

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        assert attention_mask is None
        assert hidden_states.ndim == 3, "only a transformer's attention layers follow links"
        merged = self.links.merged(hidden_states) if encoder_hidden_states is None else None
        if merged is not None:
            hidden_states = merged.together(hidden_states)
        words = encoder_hidden_states if encoder_hidden_states is not None else hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(words), attn.to_v(words)
        if encoder_hidden_states is None and self.links.asked is not None:
            query = self._grouped(query)
            key, value = self._asked(key), self._asked(value)
        query, key, value = (split_heads(each, attn.heads) for each in (query, key, value))
        result = self.beside(attn, query, self.attend(query, key, value))
        result = result.transpose(1, 2).reshape((*hidden_states.shape[:2], -1)).to(hidden_states.dtype)
        for layer in attn.to_out:
            result = layer(result)
        mixed: Tensor = result / attn.rescale_output_factor
        return mixed if merged is None else merged.apart(mixed)

    def beside(self, attn: Any, query: Tensor, answer: Tensor) -> Tensor:
        """What a layer adds to its answer, (B, heads, N, d)."""
        return answer

    def _grouped(self, rows: Tensor) -> Tensor:
        """(B, N, D) to (groups, asking · N, D)."""
        return rows.reshape(rows.shape[0] // self.links.asking, -1, rows.shape[-1])

    def _asked(self, rows: Tensor) -> Tensor:
        """(B, N, D) to (groups, asked · N, D)."""
        assert self.links.asked is not None
        return rows[self.links.asked].flatten(1, 2)


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, N, heads · d) to (B, heads, N, d)."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)
