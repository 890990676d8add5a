"""IP-Adapter files: what is in them, whether they fit, and the tokens that they make of pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.frames import Image
from diffsynth.sd.folders import Settings, read_settings
from diffsynth.sd.layout import kind
from diffsynth.sd.load import load_network, quiet
from diffsynth.sd.picture_attention import LayerTokens, PicturePrompt
from diffsynth.sd.placement import Placement
from diffsynth.sd.tensor_files import SAFE, TensorFile, open_tensors, read_pickled, tensor_file

PROJECTION, LAYERS = "image_proj.", "ip_adapter."
HEAD_WIDTH = 64
"""Of the resampler's attention."""
RESAMPLER = {
    r"layers\.(\d+)\.0\.norm1\.": r"layers.\1.ln0.",
    r"layers\.(\d+)\.0\.norm2\.": r"layers.\1.ln1.",
    r"layers\.(\d+)\.0\.to_out\.": r"layers.\1.attn.to_out.0.",
    r"layers\.(\d+)\.0\.to_": r"layers.\1.attn.to_",
    r"layers\.(\d+)\.1\.0\.": r"layers.\1.ff.0.",
    r"layers\.(\d+)\.1\.1\.": r"layers.\1.ff.1.net.0.proj.",
    r"layers\.(\d+)\.1\.3\.": r"layers.\1.ff.1.net.2.",
}
"""The resampler's layers in its authors' names, and in diffusers'."""
FULL = {"proj.0.": "ff.net.0.proj.", "proj.2.": "ff.net.2.", "proj.3.": "norm."}


@dataclass(frozen=True)
class Adapter:
    """A file that fits the checkpoint and the image encoder."""

    path: Path
    file: TensorFile
    encoder: Path
    """The folder of the image encoder."""
    images: tuple[Image, ...]
    prompt: PicturePrompt
    whole: bool
    """Whether the encoder's states are read, and not what it says of a picture as a whole."""


def open_adapter(
    path: Path, encoder: Path, images: Sequence[Image], prompt: PicturePrompt, unet: nn.Module, checkpoint: str
) -> Adapter:
    """`unet` needs no weights."""
    file = _opened(path)
    names = {key for key in file.shapes if key.startswith(PROJECTION)}
    if not names or not any(key.startswith(LAYERS) for key in file.shapes):
        raise ModelError(
            f"{path}: is no IP-Adapter; {PROJECTION}* and {LAYERS}* are needed. Take the file from where it was "
            "published."
        )
    face = any("perceiver_resampler" in key for key in names) or f"{PROJECTION}proj.2.bias" in names
    if (face and f"{PROJECTION}proj.3.weight" not in names) or any("lora" in key for key in file.shapes):
        raise ModelError(f"{path}: is a FaceID adapter, which reads faces and not pictures. Use a plain or a plus one.")
    plain = f"{PROJECTION}proj.weight" in names
    _check_layers(file, unet, checkpoint)
    settings = read_settings(encoder / "config.json")
    wanted = _reads(file)
    says = int(settings.get("projection_dim" if plain else "hidden_size", 0))
    if wanted != says:
        raise ModelError(
            f"{path}: reads pictures of width {wanted}, but the image encoder in {encoder} writes {says}. "
            'Name as "image_encoder" the one that the adapter was published with.'
        )
    return Adapter(path, file, encoder, tuple(images), prompt, whole=not plain)


def _opened(path: Path) -> TensorFile:
    if path.suffix == SAFE:
        return open_tensors(path, "ip_adapter")
    found = read_pickled(path)
    tensors: dict[str, Tensor] = {}
    for part in (PROJECTION, LAYERS):
        inner = found.get(part.removesuffix("."))
        if isinstance(inner, dict):
            tensors |= {f"{part}{key}": each for key, each in inner.items() if isinstance(each, Tensor)}
    tensors |= {key: each for key, each in found.items() if isinstance(each, Tensor)}
    return tensor_file(path, tensors)


def _reads(file: TensorFile) -> int:
    for name in ("proj.weight", "proj.0.weight", "proj_in.weight"):
        if f"{PROJECTION}{name}" in file.shapes:
            return file.shapes[f"{PROJECTION}{name}"][1]
    raise ModelError(f"{file.path}: is an IP-Adapter of an unknown layout. Use a plain or a plus one.")


def word_layers(unet: Any) -> dict[str, int]:
    """The layers that attend to words, and the number that adapters' files have for each."""
    return {name: number for number, name in enumerate(unet.attn_processors) if ".attn2." in name}


def _check_layers(file: TensorFile, unet: Any, checkpoint: str) -> None:
    layers = word_layers(unet)
    expected: dict[str, tuple[int, ...]] = {}
    for name, number in layers.items():
        attention = unet.get_submodule(name.removesuffix(".processor"))
        shape = (attention.to_k.out_features, attention.to_k.in_features)
        expected |= {f"{LAYERS}{number}.to_{each}_ip.weight": shape for each in "kv"}
    theirs = {key: shape for key, shape in file.shapes.items() if key.startswith(LAYERS)}
    if theirs != expected:
        width = next((shape[-1] for shape in theirs.values()), 0)
        family = kind({"cross_attention_dim": width, "addition_embed_type": "text_time" if width == 2048 else None})
        raise ModelError(
            f"{file.path}: this IP-Adapter is for {family} with {len(theirs) // 2} layers, but {checkpoint} is "
            f"{kind(unet.config)} with {len(layers)}. Use an adapter that was made for that checkpoint."
        )


@torch.inference_mode()
def layer_tokens(adapter: Adapter, unet: Any, placement: Placement) -> dict[str, LayerTokens]:
    """What the adapter makes of its pictures, by the denoiser's layers. The encoder is gone afterwards."""
    from transformers import CLIPVisionModelWithProjection

    encoder = load_network(CLIPVisionModelWithProjection, adapter.encoder, placement.dtype).to(placement.device)
    projection = _projection(adapter).to(placement.device, placement.dtype)
    pixels = placement.tensor(_pixels(adapter))
    if adapter.whole:
        shown, none = (encoder(each, output_hidden_states=True).hidden_states[-2] for each in (pixels, pixels * 0))
    else:
        shown = encoder(pixels).image_embeds
        none = torch.zeros_like(shown)
    # All pictures' tokens stand one after the other.
    tokens = torch.cat([projection(each).flatten(0, 1)[None] for each in (none, shown)])
    weights = adapter.file.tensors(key for key in adapter.file.shapes if key.startswith(LAYERS))

    def seen(number: int, side: str) -> Tensor:
        weight = weights[f"{LAYERS}{number}.to_{side}_ip.weight"].to(placement.device, placement.dtype)
        return tokens @ weight.T

    return {name: LayerTokens(seen(number, "k"), seen(number, "v")) for name, number in word_layers(unet).items()}


def _projection(adapter: Adapter) -> nn.Module:
    from diffusers.models.embeddings import (
        ImageProjection,
        IPAdapterFullImageProjection,
        IPAdapterPlusImageProjection,
    )

    width = adapter.file.shapes[f"{LAYERS}1.to_k_ip.weight"][1]
    names = [key for key in adapter.file.shapes if key.startswith(PROJECTION)]
    found = {key.removeprefix(PROJECTION): each for key, each in adapter.file.tensors(names).items()}
    network: nn.Module
    if "proj.weight" in found:
        out, reads = found["proj.weight"].shape
        network = ImageProjection(reads, width, out // width)
        named = {key.replace("proj.", "image_embeds."): each for key, each in found.items()}
    elif "proj.3.weight" in found:
        network = IPAdapterFullImageProjection(found["proj.0.weight"].shape[1], width)  # type: ignore[no-untyped-call]
        named = {_renamed(key, FULL): each for key, each in found.items()}
    else:
        inner, reads = found["proj_in.weight"].shape
        layers = {int(match[1]) for key in found if (match := re.match(r"layers\.(\d+)\.", key))}
        attends = found["layers.0.0.to_q.weight"].shape[0]
        network = IPAdapterPlusImageProjection(
            embed_dims=reads,
            output_dims=found["proj_out.weight"].shape[0],
            hidden_dims=inner,
            depth=len(layers),
            dim_head=HEAD_WIDTH,
            heads=attends // HEAD_WIDTH,
            num_queries=found["latents"].shape[1],
            ffn_ratio=found["layers.0.1.1.weight"].shape[0] / inner,
        )
        named = _resampler(found)
    try:
        network.load_state_dict(named)
    except RuntimeError as problem:
        raise ModelError(
            f"{adapter.path}: its projection of pictures doesn't load ({str(problem)[:300]}). Copy it again."
        ) from problem
    return network.eval().requires_grad_(requires_grad=False)


def _resampler(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for key, each in found.items():
        name = key
        for pattern, replacement in RESAMPLER.items():
            name = re.sub(pattern, replacement, name)
        if ".to_kv." in name:
            named[name.replace(".to_kv.", ".to_k.")], named[name.replace(".to_kv.", ".to_v.")] = each.chunk(2)
        else:
            named[name] = each
    return named


def _renamed(key: str, names: Mapping[str, str]) -> str:
    return next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), key)


def _pixels(adapter: Adapter) -> Tensor:
    """As CLIP reads pictures: scaled by their shorter side, and cut to a square from the middle."""
    from transformers import CLIPImageProcessorPil

    with quiet():
        if (adapter.encoder / "preprocessor_config.json").is_file():
            preparation = CLIPImageProcessorPil.from_pretrained(str(adapter.encoder), local_files_only=True)
        else:
            side = _side(read_settings(adapter.encoder / "config.json"))
            preparation = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
        prepared = preparation(images=list(adapter.images), return_tensors="pt", input_data_format="channels_last")
    pixels: Tensor = prepared["pixel_values"]
    return pixels


def _side(settings: Settings) -> int:
    return int(settings.get("image_size", 224))
