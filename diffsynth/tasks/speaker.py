"""Prompts through a checkpoint's text encoders, which are in memory only while they read."""

from dataclasses import dataclass, field

from diffsynth.runtime import one_thread
from diffsynth.sd.checkpoint import Checkpoint
from diffsynth.sd.placement import Placement
from diffsynth.sd.prompt import Texts
from diffsynth.sd.text import Words, encode_prompts
from diffsynth.sd.xl import encode_pair
from diffsynth.tasks.stylize_adapters import Adapters


@dataclass(frozen=True)
class Speaker:
    """Knows the last prompts that it read: the clips of one config mostly share them."""

    checkpoint: Checkpoint
    adapters: Adapters
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
        checkpoint, adapters = self.checkpoint, self.adapters
        numbers = range(len(checkpoint.layout.text_encoders))
        encoders = [checkpoint.text_encoder(number, self.placement.dtype) for number in numbers]
        tokenizers = [checkpoint.tokenizer(number) for number in numbers]
        for number in numbers:
            adapters.prepare(tokenizers[number], encoders[number], number)
            encoders[number].to(self.placement.device)
        said = tuple(tuple(adapters.expanded(text) for text in side) for side in texts)
        with one_thread():
            if len(encoders) == 1:
                return encode_prompts(tokenizers[0], encoders[0], said, skip=self.clip_skip)
            zero = checkpoint.layout.zero_empty
            return encode_pair(tokenizers, encoders, said, zero_empty=zero, skip=self.clip_skip)
