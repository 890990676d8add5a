"""Prompts to the tokens' hidden states that a denoiser reads."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LONGEST = 10_000
"""A tokenizer that was saved without a length says so by a huge number."""


@dataclass(frozen=True)
class Words:
    """The prompts' hidden states, float32 on the CPU."""

    negative: Tensor
    positive: Tensor
    """(1, L, D), each as long as it needs to be."""
    together: Tensor
    """(2, L, D), negative before positive, the shorter one padded with further empty tokens."""
    pooled: Tensor | None = None
    """(2, P), negative before positive: what each prompt says as a whole, where the denoiser asks for it."""


@torch.inference_mode()
def encode_prompts(tokenizer: Any, encoder: Any, negative: str, positive: str, layer: int | None = None) -> Words:
    """A prompt is never cut: it has one begin and one end token, is padded to a multiple of what the encoder reads at a
    time, encoded piece by piece, and put together again. `layer` says whose states; None means the encoder's answer."""
    size = piece_size(tokenizer, encoder)
    ids: list[list[int]] = [tokenizer(each, truncation=False, verbose=False).input_ids for each in (negative, positive)]
    lengths = [-(-len(each) // size) for each in ids]

    def encoded(tokens: list[int], count: int) -> Tensor:
        padded = tokens + [tokenizer.pad_token_id] * (count * size - len(tokens))
        pieces = torch.tensor(padded, device=encoder.device).view(count, size)
        if layer is None:
            states: Tensor = encoder(pieces)[0]
        else:
            states = encoder(pieces, output_hidden_states=True).hidden_states[layer]
        return states.flatten(0, 1)[None].float().cpu()

    apart = [encoded(tokens, count) for tokens, count in zip(ids, lengths, strict=True)]
    together = [encoded(tokens, max(lengths)) for tokens in ids]
    return Words(apart[0], apart[1], torch.cat(together))


def piece_size(tokenizer: Any, encoder: Any) -> int:
    """How many tokens the encoder reads at a time."""
    if tokenizer.model_max_length < LONGEST:
        return int(tokenizer.model_max_length)
    return int(encoder.config.max_position_embeddings)
