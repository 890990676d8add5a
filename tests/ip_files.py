"""Random IP-Adapters in their authors' layouts, and a small CLIP vision model."""

from pathlib import Path

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SIDE, HIDDEN, PROJECTED = 32, 16, 24
WORDS_OF_A_PICTURE = 4
State = dict[str, Tensor]


def save_tiny_vision(folder: Path, *, seed: int = 0, projected: int = PROJECTED) -> Path:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=HIDDEN,
                intermediate_size=32,
                projection_dim=projected,
                num_hidden_layers=3,
                num_attention_heads=2,
                image_size=SIDE,
                patch_size=8,
            )
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=1.5 * parameter[0].numel() ** -0.5)
    model.save_pretrained(folder)
    return folder


def drawn(generator: torch.Generator, *shape: int, gain: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=generator) * gain * shape[-1] ** -0.5


def layers_state(folder: Path, generator: torch.Generator) -> State:
    """`ip_adapter.*`: the number is a layer's place among all attention layers of the denoiser."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True)
    state = {}
    for number, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            layer = unet.get_submodule(name.removesuffix(".processor"))
            for side in "kv":
                shape = layer.to_k.weight.shape
                state[f"{number}.to_{side}_ip.weight"] = drawn(generator, *shape, gain=2)
    return state


def plain_projection(width: int, generator: torch.Generator) -> State:
    return {
        "proj.weight": drawn(generator, WORDS_OF_A_PICTURE * width, PROJECTED),
        "proj.bias": drawn(generator, WORDS_OF_A_PICTURE * width),
        "norm.weight": torch.ones(width),
        "norm.bias": drawn(generator, width),
    }


def full_projection(width: int, generator: torch.Generator) -> State:
    return {
        "proj.0.weight": drawn(generator, HIDDEN, HIDDEN),
        "proj.0.bias": drawn(generator, HIDDEN),
        "proj.2.weight": drawn(generator, width, HIDDEN),
        "proj.2.bias": drawn(generator, width),
        "proj.3.weight": torch.ones(width),
        "proj.3.bias": drawn(generator, width),
    }


def plus_projection(width: int, generator: torch.Generator) -> State:
    inner, heads = 20, 64
    state = {
        "latents": torch.randn((1, 5, inner), generator=generator),
        "proj_in.weight": drawn(generator, inner, HIDDEN),
        "proj_in.bias": drawn(generator, inner),
        "proj_out.weight": drawn(generator, width, inner),
        "proj_out.bias": drawn(generator, width),
        "norm_out.weight": torch.ones(width),
        "norm_out.bias": drawn(generator, width),
    }
    for layer in range(4):
        attends, feeds = f"layers.{layer}.0", f"layers.{layer}.1"
        for norm in (f"{attends}.norm1", f"{attends}.norm2", f"{feeds}.0"):
            state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.ones(inner), drawn(generator, inner)
        state[f"{attends}.to_q.weight"] = drawn(generator, heads, inner)
        state[f"{attends}.to_kv.weight"] = drawn(generator, 2 * heads, inner)
        state[f"{attends}.to_out.weight"] = drawn(generator, inner, heads)
        state[f"{feeds}.1.weight"] = drawn(generator, 4 * inner, inner)
        state[f"{feeds}.3.weight"] = drawn(generator, inner, 4 * inner)
    return state


PROJECTIONS = {"plain": plain_projection, "plus": plus_projection, "full": full_projection}


def save_tiny_ip_adapter(folder: Path, file: Path, kind: str = "plain", *, seed: int = 4) -> Path:
    """For the checkpoint in `folder`; as .bin in two dictionaries, as .safetensors with their names in front."""
    generator = torch.Generator().manual_seed(seed)
    width = UNet2DConditionModel.load_config(folder / "unet")["cross_attention_dim"]
    projection, layers = PROJECTIONS[kind](width, generator), layers_state(folder, generator)
    if file.suffix == ".bin":
        torch.save({"image_proj": projection, "ip_adapter": layers}, file)
    else:
        state = {f"image_proj.{name}": each for name, each in projection.items()}
        save_file(state | {f"ip_adapter.{name}": each for name, each in layers.items()}, file)
    return file
