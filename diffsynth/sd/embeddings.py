"""Textual inversion: words that were learned, each of one or more vectors in the place of a token's own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.sd.layout import CheckpointLayout
from diffsynth.sd.lora_files import family
from diffsynth.sd.tensor_files import SAFE, open_tensors, read_pickled

XL_NAMES = ("clip_l", "clip_g")
"""What XL's trainers call the vectors for the first and the second text encoder."""
CONTENT, PLACEHOLDER = "emb_params", "*"


@dataclass(frozen=True)
class Embedding:
    """A learned word."""

    key: str
    """What of the config names it."""
    path: Path
    word: str
    """What stands for it in a prompt."""
    vectors: tuple[Tensor, ...]
    """(n, D) for each text encoder."""

    def tokens(self, number: int) -> list[str]:
        """Names that no prompt holds by chance; `number` tells this word's from another's."""
        return [f"<|learned-{number}-{each}|>" for each in range(len(self.vectors[0]))]


def read_embedding(key: str, path: Path, word: str | None, layout: CheckpointLayout) -> Embedding:
    """A file of diffusers, of the web UI, or of XL's trainers, with vectors that fit the text encoders."""
    named, vectors = _content(path)
    widths = [int(each["hidden_size"]) for each in layout.text_encoders]
    vectors = tuple(each[None] if each.ndim == 1 else each for each in vectors)
    found = [each.shape[-1] for each in vectors]
    if found != widths or any(each.ndim != 2 for each in vectors) or len({len(each) for each in vectors}) != 1:
        theirs = " and ".join(map(str, found))
        raise ModelError(
            f"{path}: its vectors are of width {theirs}, {_of(found)}, but {layout.place.name} reads "
            f"{' and '.join(map(str, widths))}. Use a textual inversion that was made for that checkpoint."
        )
    return Embedding(key, path, word or named or path.stem, vectors)


def _of(widths: Sequence[int]) -> str:
    return "for Stable Diffusion XL" if len(widths) == 2 else f"for {family(widths[0])}"


def _content(path: Path) -> tuple[str | None, tuple[Tensor, ...]]:
    """The word that the file itself names, if any, and its vectors."""
    if path.suffix == SAFE:
        file = open_tensors(path, "textual_inversion")
        found: Mapping[str, Any] = file.tensors(file.shapes)
    else:
        found = read_pickled(path)
    if all(name in found for name in XL_NAMES):
        return None, tuple(found[name] for name in XL_NAMES)
    if isinstance(params := found.get("string_to_param"), dict) and params:
        name = found.get("name")
        return (name if isinstance(name, str) else None), (params.get(PLACEHOLDER, next(iter(params.values()))),)
    tensors = {name: each for name, each in found.items() if isinstance(each, Tensor)}
    if CONTENT in tensors:
        return None, (tensors[CONTENT],)
    if len(tensors) == 1:
        name, tensor = next(iter(tensors.items()))
        return name, (tensor,)
    raise ModelError(
        f"{path}: is no textual inversion: it holds {', '.join(list(found)[:3]) or 'nothing'}. Known are diffusers' "
        'layout (one tensor under its word), the web UI\'s ("string_to_param", "emb_params") and XL\'s ("clip_l" '
        'and "clip_g").'
    )


def expanded(prompt: str, embeddings: Sequence[Embedding]) -> str:
    """A prompt with each learned word's tokens in its place, whatever its case."""
    for number, each in enumerate(embeddings):
        word = re.compile(rf"(?<!\w){re.escape(each.word)}(?!\w)", re.IGNORECASE)
        tokens = " ".join(each.tokens(number))
        prompt = word.sub(lambda match, tokens=tokens: tokens, prompt)  # type: ignore[misc]
    return prompt


def unused(prompts: Sequence[str], embeddings: Sequence[Embedding]) -> list[str]:
    """Remarks on those that no prompt names."""
    return [
        f'{each.key}: "{each.word}" ({each.path.name}) stands in no prompt, and makes no difference.'
        for each in embeddings
        if all(expanded(prompt, [each]) == prompt for prompt in prompts)
    ]


@torch.no_grad()
def teach(tokenizer: Any, encoder: Any, number: int, embeddings: Sequence[Embedding]) -> None:
    """Make a text encoder, the `number`-th of its checkpoint, know the words."""
    from transformers import AddedToken

    if not embeddings:
        return
    tokens = [token for place, each in enumerate(embeddings) for token in each.tokens(place)]
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in tokens])
    ids = tokenizer.convert_tokens_to_ids(tokens)
    # Some published vocabularies are shorter than the encoder's table; none of its rows is lost.
    encoder.resize_token_embeddings(max(max(ids) + 1, encoder.config.vocab_size), mean_resizing=False)
    table = encoder.get_input_embeddings().weight
    table[ids] = torch.cat([each.vectors[number] for each in embeddings]).to(table.device, table.dtype)
    encoder.requires_grad_(requires_grad=False)
    # XL's settings name an end token of before words could be added, by which the last of them would be taken for it.
    inner = getattr(encoder, "text_model", encoder)
    inner.eos_token_id = tokenizer.eos_token_id
