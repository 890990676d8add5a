"""Prompts to the tokens' hidden states that a denoiser reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffsynth.sd.layout import check_clip_skip
from diffsynth.sd.prompt import Texts, phrases
from diffsynth.tracks import Track

LONGEST = 10_000
"""A tokenizer that was saved without a length says so by a huge number."""


@dataclass(frozen=True)
class Words:
    """The prompts' hidden states, float32 on the CPU."""

    apart: tuple[Tensor, ...]
    """For each side (n, L, D), as long as its own prompts need to be."""
    together: Tensor
    """(all n, L, D): all sides' prompts one after the other, the shorter ones padded with further empty tokens."""
    pooled: Tensor | None = None
    """(all n, P): what each prompt says as a whole, where the denoiser asks for it."""


@dataclass(frozen=True)
class Script:
    """Which prompt each frame hears, on each side."""

    words: Words
    numbers: tuple[Track[int], ...]
    """For each side, which of its prompts; between two key frames, a mixture."""

    def among(self, shown: Sequence[int] | None) -> "Script":
        """For a rendering of only these frames."""
        return Script(self.words, tuple(each.among(shown) for each in self.numbers))

    def states(self, sides: tuple[int, ...], frames: Sequence[int]) -> Tensor:
        """(sides · frames, L, D)."""
        if len(sides) == 1:
            return _mixed(self.words.apart[sides[0]], 0, self.numbers[sides[0]], frames)
        return torch.cat([_mixed(self.words.together, self._first(side), self.numbers[side], frames) for side in sides])

    def pooled(self, sides: tuple[int, ...], frames: Sequence[int]) -> Tensor | None:
        """(sides · frames, P)."""
        pooled = self.words.pooled
        if pooled is None:
            return None
        return torch.cat([_mixed(pooled, self._first(side), self.numbers[side], frames) for side in sides])

    def _first(self, side: int) -> int:
        return sum(len(each) for each in self.words.apart[:side])


def _mixed(states: Tensor, first: int, numbers: Track[int], frames: Sequence[int]) -> Tensor:
    found = [numbers.between(frame) for frame in frames]
    before = states[[first + each.before for each in found]]
    if all(each.share == 0 for each in found):
        return before
    after = states[[first + each.after for each in found]]
    share = torch.tensor([each.share for each in found]).view(-1, *(1,) * (states.ndim - 1))
    return torch.lerp(before, after, share)


@torch.inference_mode()
def encode_prompts(tokenizer: Any, encoder: Any, texts: Texts, layer: int | None = None, skip: int = 0) -> Words:
    """A prompt is never cut: it has one begin and one end token, is padded to a multiple of what the encoder reads at a
    time, encoded piece by piece, and put together again. `layer` says whose states; None means the encoder's answer,
    or what it would answer without its last `skip` layers."""
    reading = Reading(tokenizer, encoder, piece_size(tokenizer, encoder), layer, skip)
    spoken = [[_spoken(tokenizer, each) for each in side] for side in texts]
    lengths = [max(reading.pieces(each) for each in side) for side in spoken]
    apart = tuple(
        torch.cat([reading.states(each, count) for each in side]) for side, count in zip(spoken, lengths, strict=True)
    )
    together = torch.cat([reading.states(each, max(lengths)) for side in spoken for each in side])
    return Words(apart, together)


@dataclass(frozen=True)
class Spoken:
    """A prompt's tokens, and how much each counts."""

    tokens: list[int]
    weights: list[float]


def _spoken(tokenizer: Any, prompt: str) -> Spoken:
    parts = phrases(prompt)
    if len(parts) == 1 and parts[0].weight == 1:
        tokens = tokenizer(parts[0].text, truncation=False, verbose=False).input_ids
        return Spoken(tokens, [1.0] * len(tokens))
    begin, *_, end = tokenizer("", truncation=False, verbose=False).input_ids
    tokens, weights = [begin], [1.0]
    for part in parts:
        found = tokenizer(part.text, truncation=False, verbose=False).input_ids[1:-1]
        tokens += found
        weights += [part.weight] * len(found)
    return Spoken([*tokens, end], [*weights, 1.0])


@dataclass(frozen=True)
class Reading:
    """How an encoder reads."""

    tokenizer: Any
    encoder: Any
    size: int
    """Tokens at a time."""
    layer: int | None
    skip: int

    def pieces(self, spoken: Spoken) -> int:
        return -(-len(spoken.tokens) // self.size)

    def states(self, spoken: Spoken, count: int) -> Tensor:
        """(1, count · size, D). Weights say how far each state goes from what the empty prompt says there."""
        states = self._read(spoken.tokens, count)
        if all(weight == 1 for weight in spoken.weights):
            return states
        weights = torch.ones(states.shape[1])
        weights[: len(spoken.weights)] = torch.tensor(spoken.weights)
        return torch.lerp(self._read(_spoken(self.tokenizer, "").tokens, count), states, weights[:, None])

    def _read(self, tokens: list[int], count: int) -> Tensor:
        padded = tokens + [self.tokenizer.pad_token_id] * (count * self.size - len(tokens))
        pieces = torch.tensor(padded, device=self.encoder.device).view(count, self.size)
        if self.layer is None and self.skip == 0:
            states: Tensor = self.encoder(pieces)[0]
        else:
            states = self._layer(self.encoder(pieces, output_hidden_states=True).hidden_states)
        return states.flatten(0, 1)[None].float().cpu()

    def _layer(self, hidden: Sequence[Tensor]) -> Tensor:
        check_clip_skip(self.skip, len(hidden) - 1)  # before the first layer lies what goes into it
        if self.layer is not None:
            return hidden[self.layer - self.skip]
        norm = getattr(self.encoder, "text_model", self.encoder).final_layer_norm
        states: Tensor = norm(hidden[-1 - self.skip])
        return states


def piece_size(tokenizer: Any, encoder: Any) -> int:
    """How many tokens the encoder reads at a time."""
    if tokenizer.model_max_length < LONGEST:
        return int(tokenizer.model_max_length)
    return int(encoder.config.max_position_embeddings)
