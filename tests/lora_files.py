"""Random LoRAs in the layouts that trainers write, and the same changes made to a checkpoint's own weights."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import torch
from diffusers import UNet2DConditionModel
from original_layout import unet_named
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection

RANK, ALPHA = 3, 2.0
UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.2", "proj_in", "proj_out", "conv1", "time_emb_proj")
TEXT_LAYERS = ("q_proj", "v_proj", "out_proj", "fc1")
TEXT = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}

Deltas = dict[str, dict[str, tuple[Tensor, Tensor]]]
"""By part and layer: `down` and `up`."""


def network(folder: Path, part: str) -> Any:
    kind = UNet2DConditionModel if part == "unet" else TEXT[part]
    return kind.from_pretrained(folder / part, local_files_only=True)


def random_deltas(folder: Path, *, seed: int = 0, size: float = 0.5) -> Deltas:
    generator = torch.Generator().manual_seed(seed)
    deltas: Deltas = {}
    for part in ("unet", *(each for each in TEXT if (folder / each).is_dir())):
        layers = UNET_LAYERS if part == "unet" else TEXT_LAYERS
        deltas[part] = {}
        for name, module in network(folder, part).named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and name.endswith(layers):
                weight = module.weight
                ends = (1,) * (weight.ndim - 2)
                down = torch.randn((RANK, *weight.shape[1:]), generator=generator) * weight[0].numel() ** -0.5
                up = torch.randn((weight.shape[0], RANK, *ends), generator=generator) * size * RANK**-0.5
                deltas[part][name] = (down, up)
    return deltas


def diffusers_state(deltas: Deltas) -> dict[str, Tensor]:
    """As `save_lora_weights` names them; without an alpha of its own, it is the rank."""
    state = {}
    for part, layers in deltas.items():
        for name, (down, up) in layers.items():
            inner = name if part == "unet" or name.startswith("text_model.") else f"text_model.{name}"
            state[f"{part}.{inner}.lora_A.weight"] = down
            state[f"{part}.{inner}.lora_B.weight"] = up
    return state


def earlier_diffusers_state(deltas: Deltas) -> dict[str, Tensor]:
    """As its first releases did, for the denoiser's attention alone."""
    state = {}
    for name, (down, up) in deltas["unet"].items():
        if ".attn" in name:
            block, layer = name.split(".to_")
            inner = f"unet.{block}.processor.to_{layer.removesuffix('.0')}_lora"
            state[f"{inner}.down.weight"], state[f"{inner}.up.weight"] = down, up
    return state


def kohya_state(deltas: Deltas, rename: Callable[[str], str] = lambda name: name) -> dict[str, Tensor]:
    """`rename` gives the trainer's own name of a denoiser's layer."""
    text = {"text_encoder": "lora_te1" if "text_encoder_2" in deltas else "lora_te", "text_encoder_2": "lora_te2"}
    state = {}
    for part, layers in deltas.items():
        for name, (down, up) in layers.items():
            inner = rename(name) if part == "unet" else f"text_model.{name.removeprefix('text_model.')}"
            stem = f"{'lora_unet' if part == 'unet' else text[part]}_{inner.replace('.', '_')}"
            state[f"{stem}.lora_down.weight"], state[f"{stem}.lora_up.weight"] = down, up
            state[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return state


def original_names(folder: Path) -> Callable[[str], str]:
    """By the very tensors: which name of the original layout has a layer's weights."""
    unet = network(folder, "unet")
    by_tensor = {tensor.data_ptr(): name for name, tensor in unet_named(unet)}
    names = {
        name.removesuffix(".weight"): by_tensor[tensor.data_ptr()].removesuffix(".weight")
        for name, tensor in unet.state_dict().items()
        if name.endswith(".weight") and tensor.data_ptr() in by_tensor
    }
    return names.__getitem__


def changed_checkpoint(
    folder: Path, target: Path, deltas: Deltas, *, factor: float = 1.0, text_factor: float | None = None
) -> Path:
    """The checkpoint with W + factor · up · down for W."""
    shutil.copytree(folder, target)
    for part, layers in deltas.items():
        file = next((target / part).glob("*.safetensors"))
        state = load_file(file)
        strength = factor if part == "unet" or text_factor is None else text_factor
        for name, (down, up) in layers.items():
            found = next(
                key for key in state if key.removeprefix("text_model.") == f"{name.removeprefix('text_model.')}.weight"
            )
            change = torch.einsum("or,r...->o...", up.flatten(1).double(), down.double())
            state[found] = (state[found].double() + strength * change).float()
        save_file(state, file, metadata={"format": "pt"})
    return target
