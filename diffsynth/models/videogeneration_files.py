"""Checkpoints of VideoGeneration-PyTorch: its autoencoder, whose names are ours, and its Latte, whose names are not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, VideoShape
from diffsynth.models.latte_config import LatteConfig

Weights = Mapping[str, Tensor]
VAE_MARKS = ("encoder_conv_in.weight", "pre_quant_conv.weight", "decoder_conv_out.weight")
CRITIC_MARKS = ("layers.0.0.weight", "layers.0.0.bias", "layers.1.1.running_mean")
LATTE_MARKS = ("patch_embed_layer.patch_embed.0.weight", "t_proj.0.weight", "layers.0.attn_block.qkv_proj.weight")
HEAD = 64
"""The size of a head where nothing else is said."""
OWN_NAMES = (
    ("patch_embed_layer.patch_embed.0.", "x_embedder.proj."),
    ("t_proj.", "t_embedder.mlp."),
    ("layers.", "blocks."),
    (".attn_block.qkv_proj.", ".attn.qkv."),
    (".attn_block.output_proj.0.", ".attn.proj."),
    (".mlp_block.0.", ".mlp.fc1."),
    (".mlp_block.2.", ".mlp.fc2."),
    (".adaptive_norm_layer.", ".adaLN_modulation."),
    ("proj_out.", "final_layer.linear."),
)
"""From their names to those of the published Latte; at the beginning of a name, or anywhere where they begin with a
dot."""


AXES = {"encoder_conv_in.weight": 4, "patch_embed_layer.patch_embed.0.weight": 2, "t_proj.0.weight": 2}


def is_autoencoder(weights: Weights) -> bool:
    return all(name in weights for name in VAE_MARKS)


def is_latte(weights: Weights) -> bool:
    return all(name in weights for name in LATTE_MARKS)


def is_critic(weights: Weights) -> bool:
    return all(name in weights for name in CRITIC_MARKS)


def critic_weights(weights: Weights) -> dict[str, Tensor]:
    """By the names of `PatchCritic` with settled norms. They have a block for each convolution, it has one row."""
    kinds = {"running_mean": "mean", "running_var": "variance"}
    found = {}
    for name, each in weights.items():
        _, block, part, kind = name.split(".")
        if kind != "num_batches_tracked":
            found[f"layers.{max(3 * int(block) - 1, 0) + int(part)}.{kinds.get(kind, kind)}"] = each
    return found


@dataclass(frozen=True)
class AutoencoderNumbers:
    """What weights tell of an autoencoder. They don't tell the groups of its norms and the heads of its attention."""

    frame_channels: int
    keys: Mapping[str, Any]
    """As `VideoVaeConfig` spells them."""
    has_attention: bool


def autoencoder_numbers(weights: Weights) -> AutoencoderNumbers:
    levels, middles = _count(weights, "encoder_layers."), _count(weights, "encoder_mids.")
    down = [f"encoder_layers.{index}." for index in range(levels)]
    first = _rows(weights, "encoder_conv_in.weight")
    channels = [first, *(_rows(weights, f"{each}residual_input_conv.0.weight") for each in down)]
    middle = [_rows(weights, f"encoder_mids.{index}.residual_input_conv.0.weight") for index in range(middles)]
    attended = [f"{each}attentions.0.in_proj_weight" in weights for each in down]
    keys = {
        "z_channels": _rows(weights, "post_quant_conv.weight"),
        "down_channels": channels,
        "mid_channels": [channels[-1], *middle],
        "down_sample": [f"{each}down_sample_conv.weight" in weights for each in down],
        "attn_down": attended,
        "num_down_layers": _count(weights, "encoder_layers.0.residual_input_conv."),
        "num_up_layers": _count(weights, "decoder_layers.0.residual_input_conv."),
    }
    if middles:
        keys["num_mid_layers"] = _count(weights, "encoder_mids.0.residual_input_conv.") - 1
    return AutoencoderNumbers(int(weights["encoder_conv_in.weight"].shape[1]), keys, bool(middles) or any(attended))


def latte_config(weights: Weights, *, patch: int = 2, heads: int | None = None) -> tuple[LatteConfig, int]:
    """The network, and the channels of its videos. Weights don't tell patch and heads."""
    hidden = _rows(weights, "t_proj.0.weight")
    inner = _rows(weights, "layers.0.attn_block.qkv_proj.weight") // 3
    if inner != hidden:
        raise ModelError(
            f"Its attention works on {inner} numbers and the rest on {hidden}: Latte has one number for both."
        )
    values, read = _rows(weights, "proj_out.weight"), weights["patch_embed_layer.patch_embed.0.weight"].shape[-1]
    if read != values:
        raise ModelError(
            f"It reads patches of {read} values and draws those of {values}: Latte has one number for both."
        )
    if values % patch**2:
        raise ModelError(f"A patch has {values} values, which is no multiple of {patch}×{patch}. Set backbone.patch.")
    depth = _count(weights, "layers.")
    config = LatteConfig(hidden=hidden, depth=depth, heads=heads or max(hidden // HEAD, 1), patch=patch)
    return config, values // patch**2


def latte_weights(weights: Weights, config: LatteConfig, shape: VideoShape) -> dict[str, Tensor]:
    """By the published Latte's names, the tables of places among them.

    Three things lie otherwise there: a patch's values, with the channel last; a timestep's waves, sines first; and a
    place's waves, the row's first. The tables themselves are computed there and kept here.
    """
    with torch.device("cpu"):
        network = config.build(shape, Condition(), learned_sigma=False)
    own = {_own(name): each for name, each in weights.items()}
    kernel, side = own["x_embedder.proj.weight"], config.patch
    own["x_embedder.proj.weight"] = kernel.view(-1, side, side, shape.channels).permute(0, 3, 1, 2).contiguous()
    own["t_embedder.mlp.0.weight"] = _halves_swapped(own["t_embedder.mlp.0.weight"])
    own["pos_embed"] = _halves_swapped(network.pos_embed.data)
    own["temp_embed"] = network.temp_embed.data.clone()
    return own


def _own(name: str) -> str:
    if name.startswith("adaptive_norm_layer."):
        return name.replace("adaptive_norm_layer.", "final_layer.adaLN_modulation.", 1)
    for theirs, ours in OWN_NAMES:
        if theirs.startswith(".") and theirs in name:
            name = name.replace(theirs, ours)
        elif name.startswith(theirs):
            name = name.replace(theirs, ours, 1)
    return name


def _halves_swapped(table: Tensor) -> Tensor:
    one, other = table.chunk(2, -1)
    return torch.cat([other, one], -1).contiguous()


def _count(weights: Weights, beginning: str) -> int:
    """How many entries a list of modules has."""
    level = beginning.count(".")
    return len({name.split(".")[level] for name in weights if name.startswith(beginning)})


def _rows(weights: Weights, name: str) -> int:
    """How many values a layer makes."""
    found = weights.get(name)
    if found is None or not found.ndim:
        raise ModelError(
            f"{name} is missing, or no layer's weight. Is the download complete, or is it another model's?"
        )
    return len(found)
