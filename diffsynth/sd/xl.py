"""What Stable Diffusion XL asks for beside the others: two encoders' words, one vector for the prompt, and sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sd.prompt import NEGATIVE, Texts, plain
from diffsynth.sd.text import Words, encode_prompts, piece_size

PENULTIMATE = -2
"""The layer that answers, in both encoders."""


def encode_pair(
    tokenizers: Sequence[Any], encoders: Sequence[Any], texts: Texts, *, zero_empty: bool, skip: int = 0
) -> Words:
    """Both encoders' states side by side. `zero_empty`: an empty negative prompt is zeros, as the denoiser learned."""
    first, second = (
        encode_prompts(tokenizer, encoder, texts, PENULTIMATE, skip)
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True)
    )
    if first.together.shape[1] != second.together.shape[1]:
        raise ModelError(
            "The two tokenizers of this checkpoint split the prompt differently: they are of different checkpoints. "
            "Copy or download it again."
        )
    pooled = torch.cat([_pooled(tokenizers[1], encoders[1], plain(each)) for side in texts for each in side])
    apart = tuple(torch.cat(pair, -1) for pair in zip(first.apart, second.apart, strict=True))
    words = Words(apart, torch.cat([first.together, second.together], -1), pooled)
    empty = [number for number, text in enumerate(texts[NEGATIVE]) if not text]
    if zero_empty:
        for each in (words.apart[NEGATIVE], words.together, pooled):
            each[empty] = 0
    return words


@torch.inference_mode()
def _pooled(tokenizer: Any, encoder: Any, prompt: str) -> Tensor:
    """(1, D) float32 on the CPU: the end token's state, of as much of the prompt as the encoder reads at a time."""
    size = piece_size(tokenizer, encoder)
    tokens = tokenizer(prompt, truncation=True, max_length=size, padding="max_length", return_tensors="pt").input_ids
    pooled: Tensor = encoder(tokens.to(encoder.device)).text_embeds
    return pooled.float().cpu()


def sizes(latents: Tensor) -> Tensor:
    """(n, 6): the picture's size, where it was cut from that, and its size thereafter; here it is shown whole."""
    height, width = (LATENT_SCALE * side for side in latents.shape[-2:])
    told = torch.tensor([[height, width, 0, 0, height, width]], dtype=latents.dtype, device=latents.device)
    return told.expand(len(latents), -1)
