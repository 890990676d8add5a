"""Prompts through a checkpoint's text encoders, which are in memory only while they read."""

from dataclasses import dataclass, field

import torch

from diffsynth.sd.checkpoint import Checkpoint
from diffsynth.sd.placement import Placement
from diffsynth.sd.prompt import Texts
from diffsynth.sd.text import Words, encode_prompts
from diffsynth.sd.xl import encode_pair


@dataclass(frozen=True)
class Speaker:
    """Knows the last prompts that it read: the clips of one config mostly share them."""

    checkpoint: Checkpoint
    placement: Placement
    clip_skip: int
    _known: dict[Texts, Words] = field(default_factory=dict)

    def words(self, texts: Texts) -> Words:
        if texts not in self._known:
            self._known.clear()
            self._known[texts] = self._read(texts)
        return self._known[texts]

    def _read(self, texts: Texts) -> Words:
        """By one thread: how many a run was begun with may not be known yet, and more would round differently."""
        checkpoint, placement = self.checkpoint, self.placement
        numbers = range(len(checkpoint.layout.text_encoders))
        encoders = [checkpoint.text_encoder(number, placement.dtype).to(placement.device) for number in numbers]
        tokenizers, threads = [checkpoint.tokenizer(number) for number in numbers], torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            if len(encoders) == 1:
                return encode_prompts(tokenizers[0], encoders[0], texts, skip=self.clip_skip)
            zero = checkpoint.layout.zero_empty
            return encode_pair(tokenizers, encoders, texts, zero_empty=zero, skip=self.clip_skip)
        finally:
            torch.set_num_threads(threads)
