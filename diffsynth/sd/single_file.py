"""Checkpoints of one file, in the layout of Stable Diffusion's first programs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth import hub
from diffsynth.errors import ModelError
from diffsynth.identity import glance
from diffsynth.sd import anatomy
from diffsynth.sd.anatomy import text_settings, unet_settings, vae_settings
from diffsynth.sd.blueprint import plain
from diffsynth.sd.checkpoint_ref import CheckpointRef
from diffsynth.sd.folders import Settings, read_settings
from diffsynth.sd.layout import CheckpointLayout, check_checkpoint
from diffsynth.sd.load import filled, load_tokenizer
from diffsynth.sd.tensor_files import TensorFile, open_tensors
from diffsynth.sd.vocabulary import is_vocabulary, vocabulary

SCHEDULER: Settings = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
"""What all of Stable Diffusion was trained with; a file says nothing of it but by two marks."""
VELOCITY_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"
PARAMETERIZATION = re.compile(r"parameterization\s*:\s*[\"']?(v|eps)\b")
PADS = ("<|endoftext|>", "!")
"""What pads a prompt: for CLIP's text encoder, and for OpenCLIP's."""
PIECE = 77


@dataclass(frozen=True)
class SingleFile:
    """Its settings are those of `model_settings` where there are any, and else told from its weights' shapes."""

    file: TensorFile
    layout: CheckpointLayout
    prefixes: tuple[str, ...]
    config: Path | None

    @cached_property
    def identity(self) -> str:
        config = sorted(each for each in self.config.rglob("*.json") if each.is_file()) if self.config else []
        return glance([self.file.path, *config])

    @property
    def vae_identity(self) -> str:
        return self.identity

    @property
    def vae_content(self) -> str:
        return self.identity

    @property
    def scheduler_origin(self) -> str:
        return f"{self.file.path}, with {self.config}" if self.config else str(self.file.path)

    def unet(self, dtype: torch.dtype) -> nn.Module:
        from diffusers import UNet2DConditionModel
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

        settings = plain(self.layout.unet)
        weights = self._under(anatomy.UNET)
        named = convert_ldm_unet_checkpoint(weights, settings)  # type: ignore[no-untyped-call]
        return filled(lambda: UNet2DConditionModel.from_config(settings), named, dtype, self.file.path)  # type: ignore[no-untyped-call]

    def vae(self, dtype: torch.dtype) -> nn.Module:
        from diffusers import AutoencoderKL
        from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

        settings = plain(self.layout.vae)
        named = convert_ldm_vae_checkpoint(self._under(anatomy.VAE), settings)  # type: ignore[no-untyped-call]
        return filled(lambda: AutoencoderKL.from_config(settings), named, dtype, self.file.path)  # type: ignore[no-untyped-call]

    def text_encoder(self, number: int, dtype: torch.dtype) -> nn.Module:
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        kind = (CLIPTextModel, CLIPTextModelWithProjection)[number]
        config = CLIPTextConfig(**plain(self.layout.text_encoders[number]))
        prefix = self.prefixes[number]
        weights = self._under(prefix)
        if prefix in (anatomy.CLIP, anatomy.XL_CLIP):
            named = {key.removeprefix(prefix).removeprefix("text_model."): value for key, value in weights.items()}
        else:
            named = _from_open_clip(weights, prefix, config.num_hidden_layers)
        if number == 1:
            named = {key if key == "text_projection.weight" else f"text_model.{key}": named[key] for key in named}
        return filled(lambda: kind(config), named, dtype, self.file.path)

    def tokenizer(self, number: int) -> Any:
        name = "tokenizer" if number == 0 else "tokenizer_2"
        if self.config is not None and is_vocabulary(self.config / name):
            return load_tokenizer(self.config / name)
        pad = PADS[0 if self.prefixes[number] in (anatomy.CLIP, anatomy.XL_CLIP) else 1]
        folder = self.config if self.config is not None and is_vocabulary(self.config) else vocabulary(self.file.path)
        return load_tokenizer(folder, pad_token=pad, model_max_length=PIECE)

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return self.file.tensors(name for name in self.file.shapes if name.startswith(prefix))


def _from_open_clip(weights: Mapping[str, Tensor], prefix: str, layers: int) -> dict[str, Tensor]:
    """OpenCLIP's text encoder in the names of transformers: queries, keys and values apart, projections transposed."""
    plain = {
        "positional_embedding": "embeddings.position_embedding.weight",
        "token_embedding.weight": "embeddings.token_embedding.weight",
        "ln_final.weight": "final_layer_norm.weight",
        "ln_final.bias": "final_layer_norm.bias",
    }
    inner = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    named: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = key.removeprefix(prefix)
        if name in plain:
            named[plain[name]] = value
        elif name == "text_projection":
            named["text_projection.weight"] = value.T
        elif match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)", name):
            layer, part, kind = match.groups()
            if int(layer) < layers:
                renamed = inner.get(part, part.replace("attn.", "self_attn."))
                named[f"encoder.layers.{layer}.{renamed}.{kind}"] = value
        elif match := re.fullmatch(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", name):
            layer, kind = match.groups()
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                named[f"encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = piece
    return named


def open_single_file(wanted: CheckpointRef) -> SingleFile:
    assert wanted.local is not None
    file = open_tensors(wanted.local, "model_id")
    prefixes = anatomy.text_prefixes(file)
    config = None if wanted.config is None else _config_folder(wanted.config)
    xl = len(prefixes) == 2

    def settings(part: str, derived: Callable[[], Settings]) -> Settings:
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        if config is not None and (config / part / name).is_file():
            return read_settings(config / part / name)
        try:
            return derived()
        except (KeyError, IndexError, StopIteration) as problem:
            raise ModelError(
                f"{file.path}: its {part} can't be told from its weights ({problem} is missing). Use a file that holds "
                "the whole checkpoint."
            ) from problem

    parts = ("text_encoder", "text_encoder_2")
    layout = CheckpointLayout(
        file.path,
        settings("unet", lambda: unet_settings(file.shapes)),
        settings("vae", lambda: vae_settings(file.shapes, xl=xl)),
        tuple(
            settings(part, lambda prefix=prefix: text_settings(file.shapes, prefix))  # type: ignore[misc]
            for part, prefix in zip(parts, prefixes, strict=False)
        ),
        settings("scheduler", lambda: _scheduler(file, prefixes, wanted)),
        zero_empty=xl,
    )
    check_checkpoint(layout)
    return SingleFile(file, layout, prefixes, config)


def _config_folder(reference: str) -> Path:
    local = Path(reference)
    if local.is_absolute() and local.is_dir():
        return local
    return hub.snapshot(reference, ("*.json", "*/*.json", "*/merges.txt"), '"model_settings"')


def _scheduler(file: TensorFile, prefixes: tuple[str, ...], wanted: CheckpointRef) -> Settings:
    """How the denoiser was trained: by marks in the file, by the settings beside it, or by what the config says."""
    found = dict(SCHEDULER)
    if ZERO_SNR_MARK in file.shapes:
        found |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    beside = file.path.with_suffix(".yaml")
    named = PARAMETERIZATION.search(beside.read_text(encoding="utf-8", errors="replace")) if beside.is_file() else None
    if VELOCITY_MARK in file.shapes or (named and named[1] == "v"):
        found["prediction_type"] = "v_prediction"
    elif prefixes == (anatomy.OPEN_CLIP,) and named is None and wanted.prediction == "auto":
        raise ModelError(
            f"{file.path}: a single file of Stable Diffusion 2.x doesn't say what its denoiser predicts. Set "
            '"prediction_type" to "v_prediction" (2.0 and 2.1 at 768 pixels) or "epsilon" (the base ones at 512).'
        )
    return found
