"""A checkpoint's folder written as one file, in the names of Stable Diffusion's first programs.

Names are built forward, from what each of that layout's numbered blocks holds, and not by undoing anybody's reader.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

Named = Iterator[tuple[str, Tensor]]
XL_DENOISER: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
"""What is published of XL's denoiser beside the defaults of its class."""


def original_state(folder: Path, *, open_clip: bool = False) -> dict[str, Tensor]:
    """`open_clip`: the only text encoder is in the second generation's layout, with the last layer that is unused."""
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", local_files_only=True)
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", local_files_only=True)
    first = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", local_files_only=True)
    state = dict(_under("model.diffusion_model", unet_named(unet)))
    state |= _under("first_stage_model", vae_named(vae))
    if (folder / "text_encoder_2").is_dir():
        second = CLIPTextModelWithProjection.from_pretrained(folder, subfolder="text_encoder_2", local_files_only=True)
        state |= _under("conditioner.embedders.0.transformer.text_model", first.state_dict().items())
        state |= _under("conditioner.embedders.1.model", open_clip_named(second.text_model, second.text_projection))
    elif open_clip:
        state |= _under("cond_stage_model.model", open_clip_named(first, None, unused=1))
    else:
        state |= _under("cond_stage_model.transformer.text_model", first.state_dict().items())
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}


def save_original(folder: Path, file: Path, *, open_clip: bool = False, dtype: torch.dtype = torch.float32) -> Path:
    state = {name: each.to(dtype) for name, each in original_state(folder, open_clip=open_clip).items()}
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state, "global_step": 7}, file)
    return file


def _under(prefix: str, named: object) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in named}  # type: ignore[attr-defined]


def _renamed(module: nn.Module, name: str, rename: Callable[[str], str]) -> Named:
    for inner, tensor in module.state_dict().items():
        yield f"{name}.{rename(inner)}", tensor


def _of_unet(inner: str) -> str:
    parts = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    head, _, kind = inner.rpartition(".")
    return f"{parts[head]}.{kind}"


def unet_named(unet: UNet2DConditionModel) -> Named:
    yield from _renamed(
        unet.time_embedding, "time_embed", lambda name: name.replace("linear_1", "0").replace("linear_2", "2")
    )
    if unet.config.addition_embed_type == "text_time":
        yield from _renamed(
            unet.add_embedding, "label_emb.0", lambda name: name.replace("linear_1", "0").replace("linear_2", "2")
        )
    yield from _renamed(unet.conv_in, "input_blocks.0.0", str)
    number = 1
    for block in unet.down_blocks:
        for layer, resnet in enumerate(block.resnets):
            yield from _renamed(resnet, f"input_blocks.{number}.0", _of_unet)
            if getattr(block, "attentions", None):
                yield from _renamed(block.attentions[layer], f"input_blocks.{number}.1", str)
            number += 1
        if block.downsamplers:
            yield from _renamed(block.downsamplers[0].conv, f"input_blocks.{number}.0.op", str)
            number += 1
    yield from _renamed(unet.mid_block.resnets[0], "middle_block.0", _of_unet)
    yield from _renamed(unet.mid_block.attentions[0], "middle_block.1", str)
    yield from _renamed(unet.mid_block.resnets[1], "middle_block.2", _of_unet)
    number = 0
    for block in unet.up_blocks:
        attentions = getattr(block, "attentions", None)
        for layer, resnet in enumerate(block.resnets):
            yield from _renamed(resnet, f"output_blocks.{number}.0", _of_unet)
            if attentions:
                yield from _renamed(attentions[layer], f"output_blocks.{number}.1", str)
            if block.upsamplers and layer == len(block.resnets) - 1:
                place = 2 if attentions else 1
                yield from _renamed(block.upsamplers[0].conv, f"output_blocks.{number}.{place}.conv", str)
            number += 1
    yield from _renamed(unet.conv_norm_out, "out.0", str)
    yield from _renamed(unet.conv_out, "out.2", str)


def controlnet_named(net: ControlNetModel) -> Named:
    """A copy of the denoiser's way down, with what reads the condition and what says it to the denoiser."""
    yield from _renamed(
        net.time_embedding, "time_embed", lambda name: name.replace("linear_1", "0").replace("linear_2", "2")
    )
    if net.config.addition_embed_type == "text_time":
        yield from _renamed(
            net.add_embedding, "label_emb.0", lambda name: name.replace("linear_1", "0").replace("linear_2", "2")
        )
    yield from _renamed(net.conv_in, "input_blocks.0.0", str)
    number = 1
    for block in net.down_blocks:
        for layer, resnet in enumerate(block.resnets):
            yield from _renamed(resnet, f"input_blocks.{number}.0", _of_unet)
            if getattr(block, "attentions", None):
                yield from _renamed(block.attentions[layer], f"input_blocks.{number}.1", str)
            number += 1
        if block.downsamplers:
            yield from _renamed(block.downsamplers[0].conv, f"input_blocks.{number}.0.op", str)
            number += 1
    yield from _renamed(net.mid_block.resnets[0], "middle_block.0", _of_unet)
    yield from _renamed(net.mid_block.attentions[0], "middle_block.1", str)
    yield from _renamed(net.mid_block.resnets[1], "middle_block.2", _of_unet)
    hint = net.controlnet_cond_embedding
    for place, layer in enumerate((hint.conv_in, *hint.blocks, hint.conv_out)):
        yield from _renamed(layer, f"input_hint_block.{2 * place}", str)
    for place, layer in enumerate(net.controlnet_down_blocks):
        yield from _renamed(layer, f"zero_convs.{place}.0", str)
    yield from _renamed(net.controlnet_mid_block, "middle_block_out.0", str)


def vae_named(vae: AutoencoderKL) -> Named:
    def resnet(name: str) -> str:
        return name.replace("conv_shortcut", "nin_shortcut")

    def attention(inner: str) -> str:
        parts = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
        head, _, kind = inner.rpartition(".")
        return f"{parts[head]}.{kind}"

    for side, coder in (("encoder", vae.encoder), ("decoder", vae.decoder)):
        yield from _renamed(coder.conv_in, f"{side}.conv_in", str)
        yield from _renamed(coder.conv_out, f"{side}.conv_out", str)
        yield from _renamed(coder.conv_norm_out, f"{side}.norm_out", str)
        yield from _renamed(coder.mid_block.resnets[0], f"{side}.mid.block_1", resnet)
        yield from _renamed(coder.mid_block.resnets[1], f"{side}.mid.block_2", resnet)
        for name, tensor in _renamed(coder.mid_block.attentions[0], f"{side}.mid.attn_1", attention):
            # That layout's attention is written in convolutions of one pixel.
            is_matrix = name.endswith("weight") and ".norm." not in name
            yield name, tensor[:, :, None, None] if is_matrix else tensor
    for level, block in enumerate(vae.encoder.down_blocks):
        for layer, each in enumerate(block.resnets):
            yield from _renamed(each, f"encoder.down.{level}.block.{layer}", resnet)
        if block.downsamplers:
            yield from _renamed(block.downsamplers[0].conv, f"encoder.down.{level}.downsample.conv", str)
    for level, block in enumerate(reversed(vae.decoder.up_blocks)):
        for layer, each in enumerate(block.resnets):
            yield from _renamed(each, f"decoder.up.{level}.block.{layer}", resnet)
        if block.upsamplers:
            yield from _renamed(block.upsamplers[0].conv, f"decoder.up.{level}.upsample.conv", str)
    yield from _renamed(vae.quant_conv, "quant_conv", str)
    yield from _renamed(vae.post_quant_conv, "post_quant_conv", str)


def open_clip_named(encoder: nn.Module, projection: nn.Linear | None, unused: int = 0) -> Named:
    """`unused` last layers stand in the file that the answer is not made with."""
    yield "positional_embedding", encoder.embeddings.position_embedding.weight.data
    yield "token_embedding.weight", encoder.embeddings.token_embedding.weight.data
    yield from _renamed(encoder.final_layer_norm, "ln_final", str)
    if projection is not None:
        yield "text_projection", projection.weight.data.T
    else:
        yield "text_projection", torch.eye(len(encoder.final_layer_norm.weight))
    yield "logit_scale", torch.tensor(4.6)
    layers = [*encoder.encoder.layers, *(encoder.encoder.layers[-1] for _ in range(unused))]
    for number, layer in enumerate(layers):
        name, asks = f"transformer.resblocks.{number}", layer.self_attn
        yield from _renamed(layer.layer_norm1, f"{name}.ln_1", str)
        yield from _renamed(layer.layer_norm2, f"{name}.ln_2", str)
        yield from _renamed(layer.mlp.fc1, f"{name}.mlp.c_fc", str)
        yield from _renamed(layer.mlp.fc2, f"{name}.mlp.c_proj", str)
        yield from _renamed(asks.out_proj, f"{name}.attn.out_proj", str)
        for kind in ("weight", "bias"):
            joined = torch.cat([getattr(each, kind).data for each in (asks.q_proj, asks.k_proj, asks.v_proj)])
            yield f"{name}.attn.in_proj_{kind}", joined
