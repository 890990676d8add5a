"""Merging tokens that say nearly the same before attention, so that fewer are compared with each other.

In every square of 2 × 2 tokens one stays for others to merge into. Of the rest, those most like one that stays are
averaged into it; after attention they all get its result.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 2
FINE = 2
"""Layers that see the latents at this fraction of their sides or finer: where tokens are many."""


@dataclass(frozen=True)
class Grid:
    """The latents' sides, from which a layer's tokens are told."""

    height: int
    width: int

    def of(self, tokens: int) -> tuple[int, int] | None:
        """The sides of a fine layer with so many tokens; None for a coarse one."""
        for factor in range(1, FINE + 1):
            sides = -(-self.height // factor), -(-self.width // factor)
            if math.prod(sides) == tokens:
                return sides
        return None


@dataclass(frozen=True)
class Merged:
    """Which tokens of each row went where."""

    staying: Tensor
    """(n,) numbers of the tokens that others merge into."""
    others: Tensor
    """(B, m) numbers of the other tokens, the most alike first."""
    gone: int
    """So many of them are merged away."""
    target: Tensor
    """(B, gone) where to, as a place among `staying`."""

    def together(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N - gone, D): those that stay, then the others that are left."""
        found = tokens[:, self.staying]
        away = _picked(tokens, self.others[:, : self.gone])
        found = found.scatter_reduce(1, _wide(self.target, tokens), away, "mean", include_self=True)
        return torch.cat([found, _picked(tokens, self.others[:, self.gone :])], 1)

    def apart(self, merged: Tensor) -> Tensor:
        """(B, N - gone, D) to (B, N, D): each token at its place, those that went with what stands for them."""
        count = len(self.staying)
        tokens = merged.new_empty((len(merged), count + self.others.shape[1], merged.shape[-1]))
        tokens[:, self.staying] = merged[:, :count]
        tokens.scatter_(1, _wide(self.others[:, self.gone :], merged), merged[:, count:])
        away = _picked(merged, self.target)
        return tokens.scatter_(1, _wide(self.others[:, : self.gone], merged), away)


def merge(tokens: Tensor, sides: tuple[int, int], share: float) -> Merged:
    """Choose what to merge in (B, N, D) tokens of a picture with these sides, so that `share` of them goes."""
    height, width = sides
    numbers = torch.arange(height * width, device=tokens.device).view(height, width)
    stays = torch.zeros_like(numbers, dtype=torch.bool)
    stays[::SIDE, ::SIDE] = True
    staying, rest = numbers[stays], numbers[~stays]
    directions = torch.nn.functional.normalize(tokens.float(), dim=-1)
    likeness, target = (directions[:, rest] @ directions[:, staying].transpose(1, 2)).max(-1)
    order = likeness.argsort(dim=-1, descending=True, stable=True)
    gone = min(int(height * width * share), len(rest))
    return Merged(staying, rest[order], gone, target.gather(1, order[:, :gone]))


def _wide(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers[..., None].expand(-1, -1, like.shape[-1])


def _picked(tokens: Tensor, numbers: Tensor) -> Tensor:
    """(B, N, D) and (B, n) to (B, n, D)."""
    return tokens.gather(1, _wide(numbers, tokens))
