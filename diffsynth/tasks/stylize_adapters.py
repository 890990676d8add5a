"""A config's adapters, read and found to fit before the first weight of the checkpoint is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from diffsynth import hub
from diffsynth.errors import MissingFileError
from diffsynth.identity import glance
from diffsynth.images import read_image
from diffsynth.sd.blueprint import TEXT_PARTS, blueprints
from diffsynth.sd.embeddings import Embedding, expanded, read_embedding, teach, unused
from diffsynth.sd.folders import TEXT_STEMS, network_identity, require_weights
from diffsynth.sd.ip_adapter import Adapter, open_adapter
from diffsynth.sd.layer_names import UNET
from diffsynth.sd.layout import CheckpointLayout
from diffsynth.sd.lora import Fitted, Lora, fitted, settle
from diffsynth.sd.picture_attention import PicturePrompt
from diffsynth.sd.weight_files import weight_file
from diffsynth.tasks.adapters import (
    EMBEDDING_NAMES,
    ENCODER,
    IP_NAMES,
    LORA_NAMES,
    IpAdapterConfig,
    LoraConfig,
    TextualInversionConfig,
)
from diffsynth.tracks import Track


@dataclass(frozen=True)
class Adapters:
    """What is brought beside a checkpoint."""

    loras: tuple[Fitted, ...]
    embeddings: tuple[Embedding, ...]
    pictures: tuple[Adapter, ...]
    identities: Mapping[str, str]
    """What their files hold, by the key of the config that names them."""

    def prepare(self, tokenizer: Any, encoder: Any, number: int) -> None:
        """Make a text encoder know the learned words, and change it as the LoRAs say."""
        teach(tokenizer, encoder, number, self.embeddings)
        settle(encoder, TEXT_PARTS[number], self.loras, [each.lora.text_scale for each in self.loras])

    def expanded(self, prompt: str) -> str:
        return expanded(prompt, self.embeddings)

    def remarks(self, prompts: Sequence[str] | None) -> tuple[str, ...]:
        """What is without effect. None: not all of the prompts are known yet."""
        words = [] if prompts is None else unused(prompts, self.embeddings)
        return (*(each.remark for each in self.loras if each.remark), *words)


def read_adapters(
    loras: Sequence[LoraConfig],
    embeddings: Sequence[TextualInversionConfig],
    pictures: Sequence[IpAdapterConfig],
    layout: CheckpointLayout,
) -> Adapters:
    identities = {}
    found = []
    parts = blueprints(layout) if pictures or any(each.counts for each in loras) else {}
    for index, each in enumerate(loras):
        if each.counts:
            key = f"lora[{index}].path"
            path = weight_file(each.path, each.weight_name, LORA_NAMES, key)
            lora = Lora(key, path, Track.of(each.scale), each.text_scale, each.start, each.end)
            found.append(fitted(lora, parts, layout.place.name, int(layout.unet["cross_attention_dim"])))
            identities[key] = glance([path])
    words = []
    for index, learned in enumerate(embeddings):
        key = f"textual_inversion[{index}].path"
        path = weight_file(learned.path, learned.weight_name, EMBEDDING_NAMES, key)
        words.append(read_embedding(key, path, learned.token, layout))
        identities[key] = glance([path])
    shown = []
    for index, picture in enumerate(pictures):
        key = f"ip_adapter[{index}].path"
        path = weight_file(picture.path, picture.weight_name, IP_NAMES, key)
        encoder = _encoder(picture, path, f"ip_adapter[{index}].image_encoder")
        prompt = PicturePrompt(picture.scale, picture.start, picture.end, _mask(picture.mask))
        images = [read_image(each)[0] for each in picture.image]
        shown.append(open_adapter(path, encoder, images, prompt, parts[UNET], layout.place.name))
        identities |= {key: glance([path]), f"ip_adapter[{index}].image_encoder": network_identity(encoder)}
    return Adapters(tuple(found), tuple(words), tuple(shown), identities)


def _encoder(config: IpAdapterConfig, path: Path, key: str) -> Path:
    """The folder of the image encoder: as named, or beside the adapter's file, where its publishers put it."""
    files = ("config.json", "preprocessor_config.json", "model.safetensors")
    if config.image_encoder is not None:
        local = Path(config.image_encoder)
        folder = local if local.is_absolute() else hub.snapshot(config.image_encoder, files, f'"{key}"')
    elif Path(config.path).is_absolute():
        folder = next((each for each in (path.parent / ENCODER, path.parent.parent / ENCODER) if each.is_dir()), path)
    else:
        inner = PurePosixPath(config.weight_name or "").parent / ENCODER
        folder = hub.snapshot(config.path, [f"{inner}/{name}" for name in files], f'"{key}"') / inner
    if not folder.is_dir():
        raise MissingFileError(
            f'{path}: there is no folder "{ENCODER}" beside it. Name as "{key}" the CLIP vision model that the adapter '
            "was published with."
        )
    require_weights(folder, TEXT_STEMS)
    return folder


def _mask(path: Path | None) -> torch.Tensor | None:
    """(1, 1, H, W) in [0, 1]: a picture's brightness."""
    if path is None:
        return None
    return torch.from_numpy(read_image(path)[0]).float().mean(-1)[None, None] / 255
