"""The names by which LoRAs call a network's layers: diffusers', kohya's, and those of the original layout."""

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

UNET = "unet"
BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
SINGLE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
EARLIER = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out", "to_out.0": "to_out"}
"""What diffusers called layers in its first LoRA files."""

Place = tuple[str, str]
"""A part of a checkpoint, and a layer's name in it."""


def layer_names(part: str, network: Any) -> Iterator[tuple[str, Place]]:
    """All names of all layers that have weights to change."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            names = _of_unet(name, network) if part == UNET else _of_text(part, name)
            for each in names:
                yield each, (part, name)


def _of_unet(name: str, network: Any) -> Iterator[str]:
    yield f"unet.{name}"
    yield name
    for layer, earlier in EARLIER.items():
        if name.endswith(f".{layer}"):
            yield f"unet.{name.removesuffix(layer)}{earlier}"
    yield f"lora_unet_{name.replace('.', '_')}"
    if original := original_name(name, network):
        yield f"lora_unet_{original.replace('.', '_')}"


def _of_text(part: str, name: str) -> Iterator[str]:
    inner = name.removeprefix("text_model.")
    yield f"{part}.text_model.{inner}"
    yield f"{part}.{inner}"
    for layer, earlier in EARLIER.items():
        if inner.endswith(f".{layer}"):
            yield f"{part}.text_model.{inner.removesuffix(layer)}{earlier}"
    for mark in ("te2",) if part == "text_encoder_2" else ("te", "te1"):
        yield f"lora_{mark}_text_model_{inner.replace('.', '_')}"
        yield f"lora_{mark}_{inner.replace('.', '_')}"


def original_name(name: str, unet: Any) -> str | None:
    """A denoiser's layer in the original layout, whose blocks are numbered through."""
    if name in SINGLE:
        return SINGLE[name]
    layers = int(unet.config.layers_per_block)
    if match := MIDDLE.fullmatch(name):
        kind, number, inner = match[1], int(match[2]), match[3]
        return f"middle_block.{1 if kind == 'attentions' else 2 * number}.{RESNET.get(inner, inner)}"
    if not (match := BLOCK.fullmatch(name)):
        return None
    way, level, kind, number, inner = match[1], int(match[2]), match[3], int(match[4]), match[5]
    first = level * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op"
    if kind == "upsamplers":
        attends = bool(getattr(unet.up_blocks[level], "attentions", None))
        return f"output_blocks.{first + layers}.{2 if attends else 1}.conv"
    block = f"input_blocks.{first + number + 1}" if way == "down" else f"output_blocks.{first + number}"
    return f"{block}.{0 if kind == 'resnets' else 1}.{RESNET.get(inner, inner)}"
