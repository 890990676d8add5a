"""What the networks in a single-file checkpoint are like, told from the shapes of their weights. No torch."""

import re
from collections.abc import Mapping
from typing import Any

from diffsynth.errors import ModelError
from diffsynth.sd.layout import KARRAS
from diffsynth.sd.tensor_files import Shapes, TensorFile

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
REFINER = "conditioner.embedders.0.model."
FIRST = f"{UNET}input_blocks.0.0.weight"

HEAD_WIDTH = 64
"""Of an attention head, in all of Stable Diffusion's networks but the first generation's denoiser."""
HEADS = 8
"""In the first generation's denoiser, whatever the width."""
GELU = {768: "quick_gelu"}
"""The activation of a text encoder by its width; all others have the plain one."""

Settings = Mapping[str, Any]


def text_prefixes(file: TensorFile) -> tuple[str, ...]:
    """Where in a checkpoint its text encoders lie; what is no checkpoint that can be run is said by name."""
    shapes, where = file.shapes, file.path
    if FIRST not in shapes:
        raise ModelError(f"{where}: {_stranger(shapes)}")
    if any(key.startswith("edm_") for key in shapes):
        raise ModelError(f"{where}: {KARRAS}")
    prefixes = ((CLIP,), (OPEN_CLIP,), (XL_CLIP, XL_OPEN_CLIP))
    for names in prefixes:
        if all(any(key.startswith(name) for key in shapes) for name in names):
            return names
    if any(key.startswith(REFINER) for key in shapes):
        raise ModelError(f"{where}: is the refiner of Stable Diffusion XL. Use a base checkpoint.")
    raise ModelError(f"{where}: holds no text encoder of Stable Diffusion. Use a file that holds the whole checkpoint.")


def _stranger(shapes: Shapes) -> str:
    """What a file without a denoiser in the original layout probably is."""
    if any("lora" in key for key in shapes):
        return 'is a LoRA. Name it under "lora", and give the checkpoint that it is for as "model_id".'
    if any("joint_blocks" in key or "double_blocks" in key for key in shapes):
        return (
            "is a checkpoint of another family (SD 3, Flux). Those of Stable Diffusion 1.x, 2.x and XL are supported."
        )
    if any(key.startswith(("down_blocks.", "encoder.down_blocks.", "text_model.")) for key in shapes):
        return (
            "is one part of a checkpoint in diffusers' layout. Give the folder that holds model_index.json, unet/, "
            "vae/, text_encoder/, tokenizer/ and scheduler/."
        )
    return f"holds no {FIRST}, so it is no checkpoint of Stable Diffusion in the original layout."


def unet_settings(shapes: Shapes) -> dict[str, Any]:
    """Of the denoiser, in diffusers' words."""
    levels: list[list[int]] = [[]]
    for number in range(1, _count(shapes, f"{UNET}input_blocks.")):
        if f"{UNET}input_blocks.{number}.0.op.weight" in shapes:
            levels.append([])
        else:
            levels[-1].append(number)
    widths = [shapes[f"{UNET}input_blocks.{level[0]}.0.out_layers.3.weight"][0] for level in levels]
    depths = [_count(shapes, f"{UNET}input_blocks.{level[0]}.1.transformer_blocks.") for level in levels]
    middle = _count(shapes, f"{UNET}middle_block.1.transformer_blocks.")
    reads = next(
        shape[1] for key, shape in shapes.items() if key.startswith(UNET) and key.endswith("attn2.to_k.weight")
    )
    linear = any(len(shape) == 2 for key, shape in shapes.items() if key.startswith(UNET) and "proj_in.weight" in key)
    layers = [each or 1 for each in depths[:-1]] + [depths[-1] or middle]
    found: dict[str, Any] = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": shapes[FIRST][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": layers[0] if len(set(layers)) == 1 else layers,
        "cross_attention_dim": reads,
        "use_linear_projection": linear,
        "attention_head_dim": [width // HEAD_WIDTH for width in widths] if linear else HEADS,
    }
    if (label := shapes.get(f"{UNET}label_emb.0.0.weight")) is not None:
        found |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": label[1],
        }
    return found


def vae_settings(shapes: Shapes, *, xl: bool) -> dict[str, Any]:
    """Of the autoencoder, in diffusers' words."""
    count = _count(shapes, f"{VAE}encoder.down.")
    widths = [shapes[f"{VAE}encoder.down.{level}.block.0.conv1.weight"][0] for level in range(count)]
    return {
        "_class_name": "AutoencoderKL",
        "latent_channels": shapes[f"{VAE}post_quant_conv.weight"][0],
        "block_out_channels": widths,
        "layers_per_block": _count(shapes, f"{VAE}encoder.down.0.block."),
        "down_block_types": ["DownEncoderBlock2D"] * count,
        "up_block_types": ["UpDecoderBlock2D"] * count,
        "scaling_factor": 0.13025 if xl else 0.18215,
        "force_upcast": xl,
    }


def text_settings(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Of a text encoder, in transformers' words."""
    clip = prefix in (CLIP, XL_CLIP)
    inner = f"{prefix}text_model." if any(key.startswith(f"{prefix}text_model.") for key in shapes) else prefix
    layers = f"{inner}encoder.layers." if clip else f"{prefix}transformer.resblocks."
    wide = f"{layers}0.mlp.fc1.weight" if clip else f"{layers}0.mlp.c_fc.weight"
    words = shapes[f"{inner}embeddings.token_embedding.weight" if clip else f"{prefix}token_embedding.weight"]
    positions = shapes[f"{inner}embeddings.position_embedding.weight" if clip else f"{prefix}positional_embedding"]
    # The second generation's encoder answers with its last layer but one, so that diffusers leaves the last one out.
    unused = 1 if prefix == OPEN_CLIP else 0
    return {
        "vocab_size": words[0],
        "hidden_size": words[1],
        "intermediate_size": shapes[wide][0],
        "num_hidden_layers": _count(shapes, layers) - unused,
        "num_attention_heads": words[1] // HEAD_WIDTH,
        "max_position_embeddings": positions[0],
        "hidden_act": GELU.get(words[1], "gelu") if clip else "gelu",
        "projection_dim": shapes.get(f"{prefix}text_projection", words)[1],
        "bos_token_id": words[0] - 2,
        "eos_token_id": words[0] - 1,
        "pad_token_id": words[0] - 1 if clip else 0,
    }


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered things there are behind a prefix."""
    numbers = re.compile(re.escape(prefix) + r"(\d+)\.")
    return max((int(match[1]) + 1 for key in shapes if (match := numbers.match(key))), default=0)
