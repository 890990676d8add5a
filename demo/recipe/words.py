"""A CLIP tokenizer with a vocabulary of its own, learnt from the captions (byte-pair encoding)."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from demo.painter import SEASONS, STYLES, TIMES, Scene, caption
from demo.recipe.models import TOKENS

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
# People will try these; a word of their own costs nothing and spares them a spelling of single letters.
ALSO = (
    "a the of in at with and by on style painting drawing sketch person woman man girl face dancing dog cat city "
    "street sea ocean rain fire gold green blue red white black yellow pink"
)


def byte_characters() -> list[str]:
    """CLIP's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = (byte for byte in range(256) if byte not in printable)
    return [chr(byte) for byte in printable] + [chr(256 + k) for k, _ in enumerate(rest)]


def all_words(captions: int = 4000) -> Counter[str]:
    rng = np.random.default_rng(11)
    words: Counter[str] = Counter()
    for seed in range(captions):
        style, season, time = (options[int(rng.integers(len(options)))] for options in (STYLES, SEASONS, TIMES))
        text = caption(Scene.from_seed(seed), style, season, time, rng)
        words.update(text.lower().replace(",", " , ").split())
    words.update(dict.fromkeys(ALSO, 20))
    return words


def learn_merges(words: Counter[str]) -> list[tuple[str, str]]:
    """The most frequent neighbours first, until every word is one token."""
    spelled = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in spelled.items():
            for pair in itertools.pairwise(pieces):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        spelled = {word: _merged(pieces, best) for word, pieces in spelled.items()}


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair and not (len(joined) > 1 and joined[-1] == "".join(pair)):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(all_words())
    letters = byte_characters()
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += [*sorted({"".join(pair) for pair in merges} - set(tokens)), BEGIN, END]
    (folder / "vocab.json").write_text(
        json.dumps({token: number for number, token in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8"
    )
    lines = "\n".join(" ".join(pair) for pair in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n", encoding="utf-8")
    special = {"bos_token": BEGIN, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {**special, "model_max_length": TOKENS, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2), encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)
