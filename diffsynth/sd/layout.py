"""A checkpoint's folder in diffusers' layout: whether it is whole, and whether its parts fit. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diffsynth.errors import MediaError, MissingFileError, ModelError
from diffsynth.identity import glance
from diffsynth.sd.folders import (
    PARTS,
    XL_PARTS,
    Settings,
    held_files,
    read_settings,
    require_file,
    require_weights,
    weight_variant,
)

XL = "Stable Diffusion XL"
KARRAS = (
    "was trained on another scale of noise (EDM, as Playground 2.5 and CosXL), which no scheduler here knows. Use "
    "another checkpoint of XL."
)
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
    require_file(folder / "tokenizer_config.json")  # else another generation's padding would be taken, without a word
    if not (folder / "tokenizer.json").is_file():
        require_file(folder / "vocab.json")
        require_file(folder / "merges.txt")


def folder_identity(layout: CheckpointLayout) -> str:
    """Tells its parts from another checkpoint's; the autoencoder, which may come from elsewhere, is left out."""
    return glance(file for part in parts_of(layout.unet) if part != "vae" for file in held_files(layout.place / part))


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
    if str(layout.scheduler.get("_class_name", "")).startswith("EDM"):
        raise ModelError(f"{where}: {KARRAS}")
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


def check_clip_skip(skip: int, layers: int) -> None:
    """One layer of a text encoder must be left."""
    if skip >= layers:
        raise ModelError(
            f'"clip_skip" is {skip}, but the text encoder has {layers} layers; at most {layers - 1} can be left out.'
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
