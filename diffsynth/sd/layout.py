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
TEXT_STEMS = ("model", "pytorch_model")
PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": (STEM,),
    "vae": (STEM,),
    "text_encoder": TEXT_STEMS,
    "tokenizer": (),
    "scheduler": (),
}
"""The folders of a checkpoint, and how the weights in each may be called."""
XL_PARTS: Mapping[str, tuple[str, ...]] = {**PARTS, "text_encoder_2": TEXT_STEMS, "tokenizer_2": ()}
XL = "Stable Diffusion XL"
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
    """A whole checkpoint on this disk: what its parts are like."""

    place: Path
    """Its folder, or its single file."""
    unet: Settings
    vae: Settings
    text_encoders: tuple[Settings, ...]
    """One, or XL's two."""
    scheduler: Settings
    zero_empty: bool = False
    """Whether an empty negative prompt is zeros in place of its words."""


def parts_of(unet: Settings) -> Mapping[str, tuple[str, ...]]:
    return XL_PARTS if kind(unet) == XL else PARTS


def checkpoint_folder(reference: str, revision: str | None = None, variant: str | None = None) -> Path:
    """The local folder of a checkpoint; from the hub only what diffusers needs is fetched."""
    local = Path(reference)
    if local.is_absolute():
        return local
    settings = ["model_index.json", "tokenizer/*", "tokenizer_2/*", "scheduler/*.json"]
    settings += [f"{part}/config.json" for part, stems in XL_PARTS.items() if stems]
    return _fetched(reference, '"model_id"', settings, XL_PARTS, revision, variant)


def network_folder(reference: str, key: str, variant: str | None = None) -> Path:
    """The local folder of a single network (a ControlNet, an autoencoder)."""
    local = Path(reference)
    if local.is_file():
        raise ModelError(f'{local}: is a file; "{key}" must be a folder with config.json and {STEM}.safetensors.')
    if local.is_absolute():
        return local
    return _fetched(reference, f'"{key}"', ["config.json"], {"": (STEM,)}, None, variant)


def _fetched(
    model_id: str,
    key: str,
    settings: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    revision: str | None,
    variant: str | None,
) -> Path:
    """A model of the hub: of the copies of its weights the wanted ones, else the first that are there for all parts."""
    marks = dict.fromkeys((variant or "", "", HALF))
    for suffix, mark in [(suffix, mark) for suffix in ("safetensors", "bin") for mark in marks]:
        end = f".{mark}.{suffix}" if mark else f".{suffix}"
        wanted = list(settings)
        for part, stems in parts.items():
            for stem in stems:
                base = f"{part}/{stem}" if part else stem
                shards = f"-*-of-*{end}"
                index = f".{suffix}.index.{mark}.json" if mark else f".{suffix}.index.json"
                wanted += [f"{base}{each}" for each in (end, shards, index)]
        folder = hub.snapshot(model_id, wanted, key, revision)
        there = [part for part in parts if parts[part] and (folder / part / "config.json").is_file()]
        if there and all(weight_files(folder / part) for part in there):
            break
    return folder


def read_checkpoint(folder: Path, variant: str | None = None) -> CheckpointLayout:
    """Read a folder's settings; what is missing or belongs to another kind of model is said by name."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise MissingFileError(
            f"{folder}: holds no model_index.json, so it is no checkpoint in diffusers' layout. "
            "Give the folder that holds unet/, vae/, text_encoder/, tokenizer/ and scheduler/."
        )
    unet = read_settings(folder / "unet" / "config.json")
    if kind(unet) == XL and (folder / "text_encoder_2").is_dir() and not (folder / "text_encoder").is_dir():
        raise ModelError(f"{folder}: is the refiner of Stable Diffusion XL. Use a base checkpoint.")
    parts = parts_of(unet)
    for part, stems in parts.items():
        if stems:
            require_weights(folder / part, stems)
        elif part.startswith("tokenizer"):
            _require_tokenizer(folder / part)
    if variant and not any(weight_variant(folder / part, variant) == variant for part in parts):
        raise MissingFileError(
            f'{folder}: holds no weights that are called *.{variant}.safetensors, as "variant" asks for. Leave it out.'
        )
    encoders = tuple(read_settings(folder / part / "config.json") for part in parts if part.startswith("text_encoder"))
    layout = CheckpointLayout(
        folder,
        unet,
        read_settings(folder / "vae" / "config.json"),
        encoders,
        read_settings(folder / "scheduler" / "scheduler_config.json"),
        bool(read_settings(index).get("force_zeros_for_empty_prompt", False)),
    )
    check_checkpoint(layout)
    return layout


def _require_tokenizer(folder: Path) -> None:
    _require(folder / "tokenizer_config.json")  # else another generation's padding would be taken, without a word
    if not (folder / "tokenizer.json").is_file():
        _require(folder / "vocab.json")
        _require(folder / "merges.txt")


def folder_identity(layout: CheckpointLayout) -> str:
    """Tells its parts from another checkpoint's; the autoencoder, which may come from elsewhere, is left out."""
    return glance(file for part in parts_of(layout.unet) if part != "vae" for file in _held(layout.place / part))


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


def weight_variant(folder: Path, wanted: str | None = None) -> str | None:
    """The mark in the names of the weights to load: the wanted one where it is there, else none, else half precision.

    A part of a checkpoint that has no such copy is taken as it is.
    """
    stems = tuple(dict.fromkeys(stem for names in PARTS.values() for stem in names))

    def there(mark: str) -> bool:
        return any((folder / name).is_file() for name in _weight_names(stems, mark))

    if wanted and there(wanted):
        return wanted
    return None if there("") else HALF


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
        return XL
    width = unet.get("cross_attention_dim")
    return {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x"}.get(width, f"text width {width}")  # type: ignore[arg-type]


def check_checkpoint(layout: CheckpointLayout) -> None:
    """Its parts must be of one kind, and of one that can be run."""
    where, unet = layout.place, layout.unet
    if unet.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise ModelError(f"{where}: its denoiser is a {unet['_class_name']}; a UNet2DConditionModel is needed.")
    if unet.get("in_channels") != unet.get("out_channels"):
        raise ModelError(
            f"{where}: its denoiser reads {unet.get('in_channels')} channels and writes {unet.get('out_channels')}: an "
            "inpainting or depth checkpoint. Use a plain one; masks and depth come in by ControlNets."
        )
    width, words = unet.get("cross_attention_dim"), [int(each.get("hidden_size", 0)) for each in layout.text_encoders]
    if all(words) and width != sum(words):
        names = " and ".join(["text_encoder/", "text_encoder_2/"][: len(words)])
        raise ModelError(
            f"{where}: unet/ reads words of width {width}, but {names} writes {sum(words)}: they are of different "
            "checkpoints. Copy or download it again."
        )
    check_vae(layout.vae, unet, where / "vae")


def vae_class(vae: Settings, where: Path) -> str:
    """The kind of an autoencoder; `AutoencoderTiny` is small and quick, for previews."""
    name = str(vae.get("_class_name", "AutoencoderKL"))
    if name not in ("AutoencoderKL", "AutoencoderTiny"):
        raise ModelError(f"{where}: is a {name}; an AutoencoderKL or AutoencoderTiny is needed.")
    return name


def check_vae(vae: Settings, unet: Settings, where: Path, own: Settings | None = None) -> None:
    """An autoencoder must speak the denoiser's latents; in the place of the checkpoint's `own` one, at its scale."""
    tiny = vae_class(vae, where) == "AutoencoderTiny"
    widths = vae.get("encoder_block_out_channels" if tiny else "block_out_channels", ())
    channels, wanted, scale = vae.get("latent_channels"), unet.get("in_channels"), 2 ** (len(widths) - 1)
    if channels != wanted or scale != LATENT_SCALE:
        raise ModelError(
            f"{where}: this autoencoder makes {channels} channels at 1/{scale} of the size; "
            f"the checkpoint's denoiser reads {wanted} at 1/{LATENT_SCALE}. Use one of the same family."
        )
    ours, theirs = (None if each is None or tiny else each.get("scaling_factor", 0.18215) for each in (vae, own))
    if None not in (ours, theirs) and ours != theirs:
        raise ModelError(
            f"{where}: this autoencoder's latents are scaled by {ours}, but the checkpoint's own by {theirs}: one is "
            "of XL, the other is not. Use one of the same family."
        )


def is_t2i_adapter(net: Settings) -> bool:
    return net.get("_class_name") == "T2IAdapter"


def check_controlnet(net: Settings, unet: Settings, where: Path, checkpoint: str) -> None:
    """A ControlNet must have the shape of the denoiser that it steers; a T2I-Adapter, of its way down."""
    if is_t2i_adapter(net):
        _check_t2i_adapter(net, unet, where, checkpoint)
        return
    if net.get("_class_name", "ControlNetModel") != "ControlNetModel":
        raise ModelError(f"{where}: is a {net['_class_name']}; a ControlNetModel or T2IAdapter is needed.")
    for key in ("cross_attention_dim", "block_out_channels", "in_channels", "addition_embed_type"):
        ours, theirs = net.get(key), unet.get(key)
        if ours != theirs:
            raise ModelError(
                f"{where}: this ControlNet is for {kind(net)}, but {checkpoint} is {kind(unet)} "
                f"({key} is {ours} there and {theirs} here). Use a ControlNet made for that checkpoint."
            )


def _check_t2i_adapter(net: Settings, unet: Settings, where: Path, checkpoint: str) -> None:
    """What it says has, level by level, the width and the scale that the denoiser has there."""
    xl = net.get("adapter_type") == "full_adapter_xl"
    widths, scale = net.get("channels", ()), int(net.get("downscale_factor", 8))
    says = [(width, scale * 2 ** (level // 2 if xl else level)) for level, width in enumerate(widths)]
    hears = []
    for level, (width, block) in enumerate(zip(unet["block_out_channels"], unet["down_block_types"], strict=True)):
        later = not block.startswith("CrossAttn") and level < len(unet["block_out_channels"]) - 1
        hears.append((width, LATENT_SCALE * 2 ** (level + later)))
    hears.append(hears[-1])  # the middle
    if says != hears[: len(says)]:
        raise ModelError(
            f"{where}: this T2I-Adapter is for another denoiser than {checkpoint}'s, {kind(unet)}: it says "
            f"{_levels(says)}, but there go {_levels(hears[: len(says)])}. Use one made for that checkpoint."
        )


def _levels(levels: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{width} channels at 1/{scale}" for width, scale in levels)


def weight_files(folder: Path, wanted: str | None = None) -> list[Path]:
    """The files that a network is loaded from; of several copies in other formats the first counts."""
    mark = weight_variant(folder, wanted)
    for suffix in ("safetensors", "bin"):
        found = [each for each in folder.glob(f"*.{suffix}") if "ema" not in each.name]
        files = sorted(each for each in found if _mark(each) == mark)
        if files:
            return files
    return []


def _mark(file: Path) -> str | None:
    """`fp16` of `model.fp16.safetensors`, and of a part of one, `model.fp16-00001-of-00002.safetensors`."""
    inner = Path(file.stem).suffix.removeprefix(".")
    return inner.split("-")[0] or None
