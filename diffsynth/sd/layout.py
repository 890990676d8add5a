"""A checkpoint's folder in diffusers' layout: where it is, whether it is whole, whether its parts fit. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsynth import hub
from diffsynth.errors import MediaError, MissingFileError, ModelError
from diffsynth.identity import glance

Settings = Mapping[str, Any]

STEM = "diffusion_pytorch_model"
PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": (STEM,),
    "vae": (STEM,),
    "text_encoder": ("model", "pytorch_model"),
    "tokenizer": (),
    "scheduler": (),
}
"""The folders of a checkpoint, and how the weights in each may be called."""
HALF = "fp16"
"""The mark in the names of weights that were saved in half precision."""
LATENT_SCALE = 8
"""Pixels to a side of a latent, in all Stable Diffusion up to XL."""


def floored(size: int) -> int:
    """The side of the pictures for frames of that side."""
    if size < LATENT_SCALE:
        raise MediaError(
            f"The frames have a side of {size} pixels; at least {LATENT_SCALE} are needed. "
            'Set "frame_height" or "frame_width" to enlarge them.'
        )
    return size // LATENT_SCALE * LATENT_SCALE


@dataclass(frozen=True)
class CheckpointLayout:
    """A whole checkpoint on this disk."""

    folder: Path
    unet: Settings
    vae: Settings
    text_encoder: Settings
    scheduler: Settings

    @property
    def identity(self) -> str:
        """Tells its parts from another checkpoint's; the autoencoder, which may come from elsewhere, is left out."""
        return glance(file for part in PARTS if part != "vae" for file in _held(self.folder / part))


def checkpoint_folder(reference: str) -> Path:
    """The local folder of a checkpoint; from the hub only what diffusers needs is fetched."""
    local = Path(reference)
    if local.is_file():
        raise ModelError(
            f"{local}: is a single file. Give a checkpoint's folder in diffusers' layout (model_index.json, unet/, "
            "vae/, text_encoder/, tokenizer/, scheduler/)."
        )
    if local.is_absolute():
        return local
    fixed = ["model_index.json", "tokenizer/*", "scheduler/*.json"]
    for suffix in ("safetensors", "bin"):
        wanted = [f"{part}/config.json" for part in PARTS] + fixed
        for part, stems in PARTS.items():
            wanted += [f"{part}/{stem}{each}" for stem in stems for each in (f".{suffix}", f"-*-of-*.{suffix}")]
            wanted += [f"{part}/{stem}.{suffix}.index.json" for stem in stems]
        folder = hub.snapshot(reference, wanted, '"model_id"')
        if any((folder / "unet").glob(f"*.{suffix}")):
            break
    return folder


def network_folder(reference: str, key: str) -> Path:
    """The local folder of a single network (a ControlNet, an autoencoder)."""
    local = Path(reference)
    if local.is_file():
        raise ModelError(f'{local}: is a file; "{key}" must be a folder with config.json and {STEM}.safetensors.')
    if local.is_absolute():
        return local
    for suffix in ("safetensors", "bin"):
        folder = hub.snapshot(reference, ["config.json", f"{STEM}.{suffix}"], f'"{key}"')
        if any(folder.glob(f"*.{suffix}")):
            break
    return folder


def read_checkpoint(folder: Path) -> CheckpointLayout:
    """Read a folder's settings; what is missing or belongs to another kind of model is said by name."""
    if not (folder / "model_index.json").is_file():
        raise MissingFileError(
            f"{folder}: holds no model_index.json, so it is no checkpoint in diffusers' layout. "
            "Give the folder that holds unet/, vae/, text_encoder/, tokenizer/ and scheduler/."
        )
    for part, stems in PARTS.items():
        if stems:
            require_weights(folder / part, stems)
    tokenizer = folder / "tokenizer"
    _require(tokenizer / "tokenizer_config.json")  # else another generation's padding would be taken, without a word
    if not (tokenizer / "tokenizer.json").is_file():
        _require(tokenizer / "vocab.json")
        _require(tokenizer / "merges.txt")
    settings = {part: read_settings(folder / part / "config.json") for part in ("unet", "vae", "text_encoder")}
    scheduler = read_settings(folder / "scheduler" / "scheduler_config.json")
    layout = CheckpointLayout(folder, **settings, scheduler=scheduler)
    _check_checkpoint(layout)
    return layout


def network_identity(folder: Path) -> str:
    """Tells a single network from another."""
    return glance(_held(folder))


def _held(folder: Path) -> list[Path]:
    """The files of a part that say what it computes."""
    return sorted(each for each in folder.iterdir() if each.suffix in {".json", ".txt", ".safetensors", ".bin"})


def require_weights(folder: Path, stems: Sequence[str] = (STEM,)) -> None:
    _require(folder / "config.json")
    names = _weight_names(stems)
    if not any((folder / name).is_file() for name in (*names, *_weight_names(stems, HALF))):
        raise MissingFileError(f"{folder}: holds no weights; {' or '.join(names)} is needed.")


def _weight_names(stems: Sequence[str], variant: str = "") -> list[str]:
    """As diffusers and transformers call them: one file, or the index of several."""
    mark = f".{variant}" if variant else ""
    ends = (f"{mark}.safetensors", f".safetensors.index{mark}.json", f"{mark}.bin")
    return [f"{stem}{end}" for stem in stems for end in ends]


def weight_variant(folder: Path) -> str | None:
    """The mark by which a network's weights are found where no plain ones are there."""
    stems = tuple(dict.fromkeys(stem for names in PARTS.values() for stem in names))
    plain = any((folder / name).is_file() for name in _weight_names(stems))
    return None if plain else HALF


def _require(file: Path) -> None:
    if not file.is_file():
        raise MissingFileError(f"{file}: is missing. The checkpoint is not whole; copy or download it again.")


def read_settings(file: Path) -> Settings:
    _require(file)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ModelError(f"{file}: is no JSON ({problem}). Copy or download it again.") from problem
    if not isinstance(found, dict):
        raise ModelError(f"{file}: holds no settings.")
    return found


def kind(unet: Settings) -> str:
    """What family a denoiser or ControlNet belongs to, for messages."""
    if unet.get("addition_embed_type") == "text_time":
        return "Stable Diffusion XL"
    width = unet.get("cross_attention_dim")
    return {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}.get(width, f"text width {width}")  # type: ignore[arg-type]


def _check_checkpoint(layout: CheckpointLayout) -> None:
    where, unet = layout.folder, layout.unet
    if unet.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise ModelError(f"{where}: its denoiser is a {unet['_class_name']}; a UNet2DConditionModel is needed.")
    if kind(unet) == "Stable Diffusion XL":
        raise ModelError(f"{where}: is a Stable Diffusion XL checkpoint; those of 1.x and 2.x are supported.")
    if unet.get("in_channels") != unet.get("out_channels"):
        raise ModelError(
            f"{where}: its denoiser reads {unet.get('in_channels')} channels and writes {unet.get('out_channels')}: an "
            "inpainting or depth checkpoint. Use a plain one; masks and depth come in by ControlNets."
        )
    width, words = unet.get("cross_attention_dim"), layout.text_encoder.get("hidden_size")
    if words is not None and width != words:
        raise ModelError(
            f"{where}: unet/ reads words of width {width}, but text_encoder/ writes {words}: they are of different "
            "checkpoints. Copy or download it again."
        )
    check_vae(layout.vae, unet, where / "vae")


def check_vae(vae: Settings, unet: Settings, where: Path) -> None:
    """An autoencoder must speak the denoiser's latents."""
    channels, wanted = vae.get("latent_channels"), unet.get("in_channels")
    scale = 2 ** (len(vae.get("block_out_channels", ())) - 1)
    if channels != wanted or scale != LATENT_SCALE:
        raise ModelError(
            f"{where}: this autoencoder makes {channels} channels at 1/{scale} of the size; "
            f"the checkpoint's denoiser reads {wanted} at 1/{LATENT_SCALE}. Use one of the same family."
        )


def check_controlnet(net: Settings, unet: Settings, where: Path, checkpoint: str) -> None:
    """A ControlNet must have the shape of the denoiser that it steers."""
    for key in ("cross_attention_dim", "block_out_channels", "in_channels", "addition_embed_type"):
        ours, theirs = net.get(key), unet.get(key)
        if ours != theirs:
            raise ModelError(
                f"{where}: this ControlNet is for {kind(net)}, but {checkpoint} is {kind(unet)} "
                f"({key} is {ours} there and {theirs} here). Use a ControlNet made for that checkpoint."
            )


def weight_files(folder: Path) -> list[Path]:
    """The files that a network is loaded from; of several copies in other formats the first counts."""
    half = weight_variant(folder) == HALF
    for suffix in ("safetensors", "bin"):
        found = [each for each in folder.glob(f"*.{suffix}") if "ema" not in each.name]
        files = sorted(each for each in found if (f".{HALF}" in each.name) == half)
        if files:
            return files
    return []
