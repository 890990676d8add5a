"""A tiny BERT with random weights and a vocabulary of its own."""

from pathlib import Path

import diffsynth  # noqa: F401 - its guard lets transformers be imported beside a torchvision that doesn't fit torch

# isort: split
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = (
    "a the young girl whale blowing out candles on her birthday cake breaching from afar fireworks with blue and green"
)


def save_tiny_bert(folder: Path, width: int = 768) -> Path:
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS.split()), "sparkles", "moves"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder
