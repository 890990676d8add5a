"""A config's adapters, read and found to fit before the first weight of the checkpoint is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffsynth.identity import glance
from diffsynth.sd.blueprint import TEXT_PARTS, blueprints
from diffsynth.sd.embeddings import Embedding, expanded, read_embedding, teach, unused
from diffsynth.sd.layout import CheckpointLayout
from diffsynth.sd.lora import Fitted, Lora, fitted, settle
from diffsynth.sd.weight_files import weight_file
from diffsynth.tasks.adapters import EMBEDDING_NAMES, LORA_NAMES, LoraConfig, TextualInversionConfig


@dataclass(frozen=True)
class Adapters:
    """What is brought beside a checkpoint."""

    loras: tuple[Fitted, ...]
    embeddings: tuple[Embedding, ...]
    identities: Mapping[str, str]
    """What their files hold, by the key of the config that names them."""

    def prepare(self, tokenizer: Any, encoder: Any, number: int) -> None:
        """Make a text encoder know the learned words, and change it as the LoRAs say."""
        teach(tokenizer, encoder, number, self.embeddings)
        settle(encoder, TEXT_PARTS[number], self.loras, [each.lora.text_scale for each in self.loras])

    def expanded(self, prompt: str) -> str:
        return expanded(prompt, self.embeddings)

    def remarks(self, prompts: Sequence[str]) -> tuple[str, ...]:
        return (*(each.remark for each in self.loras if each.remark), *unused(prompts, self.embeddings))


def read_adapters(
    loras: Sequence[LoraConfig], embeddings: Sequence[TextualInversionConfig], layout: CheckpointLayout
) -> Adapters:
    identities = {}
    found = []
    parts = blueprints(layout) if any(each.counts for each in loras) else {}
    for index, each in enumerate(loras):
        if each.counts:
            key = f"lora[{index}].path"
            path = weight_file(each.path, each.weight_name, LORA_NAMES, key)
            lora = Lora(key, path, each.scale, each.text_scale, each.start, each.end)
            found.append(fitted(lora, parts, layout.place.name, int(layout.unet["cross_attention_dim"])))
            identities[key] = glance([path])
    words = []
    for index, learned in enumerate(embeddings):
        key = f"textual_inversion[{index}].path"
        path = weight_file(learned.path, learned.weight_name, EMBEDDING_NAMES, key)
        words.append(read_embedding(key, path, learned.token, layout))
        identities[key] = glance([path])
    return Adapters(tuple(found), tuple(words), identities)
