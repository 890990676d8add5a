"""Pictures as prompts: attention to the words, and beside it to the tokens of pictures (IP-Adapter).

A layer answers with softmax(q kᵀ / √d) v over the words, plus for each adapter

    strength · mask · softmax(q k'ᵀ / √d) v'

where k' and v' are the adapter's own projections of the pictures' tokens, which don't change from step to step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from diffsynth.attention.cross_frame import Attend, CrossFrameAttention, Links, split_heads
from diffsynth.diffusion.schedule import Step
from diffsynth.sd.prompt import POSITIVE


@dataclass(frozen=True)
class PicturePrompt:
    """How strong an adapter is, when and where."""

    scale: float
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None
    """(1, 1, H, W) in [0, 1]: where it acts."""

    def at(self, step: Step, steps: int) -> float:
        return self.scale if step.within(self.start, self.end, steps) else 0.0


@dataclass
class Showing:
    """What is shown to the batch that is in the denoiser now. All its attention layers share it."""

    prompts: tuple[PicturePrompt, ...] = ()
    strengths: list[float] = field(default_factory=list)
    sides: tuple[int, ...] = ()
    height: int = 0
    width: int = 0
    """Of the latents."""

    def set(self, step: Step, steps: int, sides: tuple[int, ...], latents: Tensor) -> None:
        self.strengths = [each.at(step, steps) for each in self.prompts]
        self.sides, (self.height, self.width) = sides, latents.shape[-2:]

    def mask(self, number: int, tokens: int, like: Tensor) -> Tensor | None:
        """(1, 1, tokens, 1): an adapter's mask on a layer's grid."""
        mask = self.prompts[number].mask
        if mask is None:
            return None
        height, width = self.height, self.width
        while height * width > tokens:
            height, width = -(-height // 2), -(-width // 2)
        assert height * width == tokens
        grid = interpolate(mask.to(like.device, torch.float32), size=(height, width), mode="area")
        return grid.to(like.dtype).reshape(1, 1, tokens, 1)


@dataclass(frozen=True)
class LayerTokens:
    """An adapter's pictures at one layer."""

    keys: Tensor
    values: Tensor
    """(2, N, D): for the sides that see no picture, and for the prompt's."""


class PictureAttention(CrossFrameAttention):
    """A diffusers attention processor for a layer that attends to words."""

    def __init__(self, links: Links, attend: Attend, showing: Showing, tokens: Sequence[LayerTokens]) -> None:
        super().__init__(links, attend)
        self.showing = showing
        self.tokens = tuple(tokens)

    def beside(self, attn: Any, query: Tensor, answer: Tensor) -> Tensor:
        sides = [int(side == POSITIVE) for side in self.showing.sides]
        for number, each in enumerate(self.tokens):
            if not (strength := self.showing.strengths[number]):
                continue
            rows = len(query) // len(sides)
            key, value = (
                split_heads(part.to(query.device, query.dtype)[sides].repeat_interleave(rows, 0), attn.heads)
                for part in (each.keys, each.values)
            )
            seen = self.attend(query, key, value)
            mask = self.showing.mask(number, query.shape[2], seen)
            answer = answer + strength * (seen if mask is None else seen * mask)
        return answer
