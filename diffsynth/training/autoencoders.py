"""Autoencoders that a config names: of the task `train_vae`, or in diffusers' layout. Told without torch."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from diffsynth.config import ConfigModel
from diffsynth.config.fields import hub_id
from diffsynth.errors import ModelError
from diffsynth.hub import snapshot
from diffsynth.identity import identify
from diffsynth.models.video_vae_config import AutoencoderConfig, Coder, Count, VideoVaeConfig
from diffsynth.models.weights import differing
from diffsynth.sd.folders import read_settings, require_weights, weight_files
from diffsynth.training.facts import AUTOENCODER, FINAL, FOLDER, facts_of, is_ours, weights_file

if TYPE_CHECKING:
    from torch import nn

CODER = "coder"
"""The name of an autoencoder in its training, beside the critic."""
KL = "AutoencoderKL"
PATTERNS = ("config.json", "*.safetensors", "vae/config.json", "vae/*.safetensors")


class AutoencoderFacts(ConfigModel):
    """What a checkpoint of the task `train_vae` says of itself."""

    autoencoder: AutoencoderConfig = VideoVaeConfig()
    frame_channels: Literal[1, 3] = 3
    scale: Annotated[float, Field(gt=0)] = 1.0
    """What latents are multiplied by before noise is added, so that they spread as noise does."""


@dataclass(frozen=True)
class Autoencoder:
    """What an autoencoder's files say of it."""

    reference: str
    files: tuple[Path, ...]
    """All that decides what it computes."""
    frame_channels: int
    channels: int
    factor: int
    """How many times smaller latents are than frames."""
    scale: float
    trained: AutoencoderFacts | None = None
    """How the network of a checkpoint of `train_vae` is built; None for a folder of diffusers."""

    @cached_property
    def fingerprint(self) -> str:
        """By which latents know it: another network has another one, a copy elsewhere the same."""
        listing = "\n".join(identify(each)["sha256"] for each in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()[:32]

    def load(self) -> "Coder":
        """On the CPU, learning nothing."""
        network = self._network()
        network.eval().requires_grad_(False)  # noqa: FBT003  torch's own name for it
        return network  # type: ignore[return-value]  # both kinds are modules that code

    def _network(self) -> "nn.Module":
        if self.trained is None:
            from diffsynth.models.kl_vae import KlVae

            return KlVae.read(self.files[0].parent)
        import torch

        from diffsynth.training.checkpoint import averaged_weights

        path, config, channels = self.files[0], self.trained.autoencoder, self.trained.frame_channels
        weights = averaged_weights(path, f"{CODER}.")
        with torch.device("meta"):
            expected = config.build(channels).state_dict()
        if differences := differing(expected, weights):  # before anything as large as it says is made
            raise ModelError(f"{path}: belongs to another network: {'; '.join(differences)}.")
        network = config.build(channels)
        network.load_state_dict(weights)
        return network


def autoencoder(reference: str) -> Autoencoder:
    """A run of `train_vae` or its weights; or diffusers' layout: a folder, a pipeline's folder with `vae/` in it, or an
    id of the hub."""
    hub = hub_id(reference)
    place = snapshot(hub, PATTERNS, '"vae"') if hub else Path(reference)
    if place.is_file() and place.suffix != ".safetensors":
        raise ModelError(
            f"{reference}: is no safetensors file. What another system trained is converted first: "
            f"`diffsynth import {place.name}`."
        )
    if place.is_file() or (place / FOLDER).is_dir() or is_trained(place / FINAL):
        return _trained(reference, weights_file(place))
    return _published(reference, place / "vae" if (place / "vae" / "config.json").is_file() else place)


def is_trained(path: Path) -> bool:
    return path.is_file() and is_ours(path, AUTOENCODER)


def _trained(reference: str, path: Path) -> Autoencoder:
    facts = facts_of(path, AUTOENCODER)
    try:
        told = AutoencoderFacts.model_validate(facts.model)
    except ValidationError as problem:
        raise ModelError(f"{path}: this version does not understand what it says of itself ({problem}).") from None
    network = told.autoencoder
    return Autoencoder(
        reference, (path,), told.frame_channels, network.z_channels, network.factor, told.scale, trained=told
    )


def _published(reference: str, folder: Path) -> Autoencoder:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f'{reference}: is no autoencoder. "vae" is the folder of a run of the task `train_vae`, or in diffusers\' '
            'layout: a folder with config.json and weights, a pipeline\'s folder with "vae" in it, or an id of the hub '
            'such as "stabilityai/sd-vae-ft-ema".'
        )
    settings = read_settings(folder / "config.json")
    kind = settings.get("_class_name", KL)
    if kind != KL:
        raise ModelError(f"{folder}: is of the class {kind}; an {KL} is needed. Name another autoencoder.")
    try:
        told = _Settings.model_validate(settings)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        raise ModelError(
            f'{folder / "config.json"}: "{".".join(map(str, first["loc"]))}": {first["msg"]}. Is the download complete?'
        ) from None
    require_weights(folder)
    files = (folder / "config.json", *weight_files(folder))
    factor = 2 ** (len(told.block_out_channels) - 1)
    return Autoencoder(reference, files, told.in_channels, told.latent_channels, factor, told.scaling_factor)


class _Settings(BaseModel):
    """What is needed of a config.json of diffusers."""

    latent_channels: Count
    block_out_channels: Annotated[tuple[Count, ...], Field(min_length=1)]
    in_channels: Count = 3
    scaling_factor: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.18215


def require_same(reference: str, fingerprint: str) -> None:
    """`ModelError` where an autoencoder isn't the one that a model was trained with."""
    found = autoencoder(reference).fingerprint
    if found != fingerprint:
        raise ModelError(
            f"{reference}: is another autoencoder ({found[:12]}…) than the model was trained with "
            f'({fingerprint[:12]}…): it was trained again, or replaced. Bring that one back, or name it by "vae".'
        )


def reduction(reference: str) -> int:
    return autoencoder(reference).factor
