"""From what a config calls a checkpoint to a model: a training run, one of its files, or a published Latte file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.models.latte_files import read_latte
from diffsynth.runtime import Runtime
from diffsynth.training.autoencoders import reduction
from diffsynth.training.checkpoint import averaged_weights
from diffsynth.training.conditions import ClassConditionConfig, NoConditionConfig
from diffsynth.training.facts import AUTOENCODER, facts_of, is_ours, weights_file
from diffsynth.training.video_model import OtherNetwork, VideoModel, VideoModelConfig, described


def load_model(place: Path, runtime: Runtime, vae: str | None = None) -> VideoModel:
    """The model with its averaged weights. `vae` replaces the autoencoder that a checkpoint names, or adds one."""
    path = weights_file(place)
    if is_ours(path) or is_ours(path, AUTOENCODER):  # of which `facts_of` says that it can't serve here
        config = described(facts_of(path).model, str(path))
        if vae is not None and config.space == "latent":
            config = config.model_copy(update={"vae": vae, "vae_sha256": None})
    else:
        config = published(path, vae)
    try:
        return config.build(runtime, weights=averaged(path))
    except OtherNetwork as problem:
        raise ModelError(f"{path}: belongs to another network: {problem}.") from None


def published(path: Path, vae: str | None) -> VideoModelConfig:
    """What a published Latte file tells by its weights; what it can't tell is as in its authors' training."""
    found = read_latte(path)
    space = found.shape
    if vae is None and space.channels == 4:
        raise ModelError(
            f'{path}: works on latents of 4 channels. Name the autoencoder that it was trained with: "vae": a folder, '
            'or an id of the hub such as "stabilityai/sd-vae-ft-ema".'
        )
    if found.condition.kind == "text":
        raise ModelError(
            f'{path}: is told texts, and does not say by which encoder. Train on from it with "pretrained" and your '
            "encoder, or draw from the LattePipeline that it was published as."
        )
    factor = reduction(vae) if vae is not None else 1
    kinds = found.condition
    return VideoModelConfig.model_validate(
        {
            "size": (space.height * factor, space.width * factor),
            "frames": space.frames,
            "frame_channels": 3 if vae is not None else space.channels,
            "space": "latent" if vae is not None else "pixel",
            "vae": vae,
            "backbone": found.config,
            "condition": ClassConditionConfig(num_classes=kinds.num_classes)
            if kinds.kind == "class"
            else NoConditionConfig(),
            "diffusion": {"variance": "learned_range" if found.learned_sigma else "fixed"},
        }
    )


def averaged(path: Path) -> dict[str, Tensor]:
    """The weights to draw with, by the network's own names, from a file of any of the known layouts."""
    if path.suffix != ".safetensors" or not is_ours(path):
        return read_latte(path).weights
    return averaged_weights(path)


@dataclass(frozen=True)
class Taken:
    """What of a checkpoint another network could start from."""

    taken: int
    left_out: tuple[str, ...]
    """What the checkpoint has and the network hasn't, or in another shape."""
    begun: tuple[str, ...]
    """What the network has and the checkpoint hasn't: it starts as drawn."""

    def words(self) -> list[str]:
        total = self.taken + len(self.begun)
        lines = [f"pretrained: {self.taken} of {total} weights are taken over."]
        told = (("not used", self.left_out), ("not there, begun anew", self.begun))
        return lines + [f"pretrained: {what}: {', '.join(names)}." for what, names in told if names]


def start_from(network: nn.Module, weights: Mapping[str, Tensor]) -> Taken:
    """Copy what fits by name and shape. `ModelError` where nothing does."""
    own = network.state_dict()
    fitting = {name for name, each in weights.items() if name in own and own[name].shape == each.shape}
    learned = {name for name, each in network.named_parameters() if each.requires_grad}
    if not fitting & learned:
        raise ModelError(
            '"pretrained" holds no weight that this network has, by name and shape. Is it a checkpoint of another '
            f"model? It holds {', '.join(sorted(weights)[:3])}, …"
        )
    with torch.no_grad():
        for name in fitting & learned:
            own[name].copy_(weights[name])
    return Taken(len(fitting & learned), tuple(sorted(set(weights) - fitting)), tuple(sorted(learned - fitting)))
