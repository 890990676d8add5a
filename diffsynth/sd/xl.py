"""What Stable Diffusion XL asks for beside the others: two encoders' words, one vector for the prompt, and sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sd.text import Words, encode_prompts, piece_size

PENULTIMATE = -2
"""The layer that answers, in both encoders."""


def encode_pair(
    tokenizers: Sequence[Any], encoders: Sequence[Any], negative: str, positive: str, *, zero_empty: bool
) -> Words:
    """Both encoders' states side by side. `zero_empty`: an empty negative prompt is zeros, as the denoiser learned."""
    first, second = (
        encode_prompts(tokenizer, encoder, negative, positive, layer=PENULTIMATE)
        for tokenizer, encoder in zip(tokenizers, encoders, strict=True)
    )
    if first.together.shape[1] != second.together.shape[1]:
        raise ModelError(
            "The two tokenizers of this checkpoint split the prompt differently: they are of different checkpoints. "
            "Copy or download it again."
        )
    pooled = torch.cat([_pooled(tokenizers[1], encoders[1], each) for each in (negative, positive)])
    words = Words(
        torch.cat([first.negative, second.negative], -1),
        torch.cat([first.positive, second.positive], -1),
        torch.cat([first.together, second.together], -1),
        pooled,
    )
    if zero_empty and not negative:
        for each in (words.negative, words.together[:1], pooled[:1]):
            each.zero_()
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
