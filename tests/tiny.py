"""Tiny Stable Diffusion checkpoints with random weights, laid out as the published ones are, with their own vocabulary.

They have every part that a published one has: an 8-fold VAE, text attention and self-attention at two resolutions,
chunks of 77 tokens. Their weights are drawn so that a prompt, a condition and a neighbouring frame each show in the
picture, and a few steps neither saturate nor die out.
"""

import json
from pathlib import Path
from typing import Any

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, T2IAdapter, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

VAE_SCALE = 8
CHUNK = 77
BEGIN, END = "<|startoftext|>", "<|endoftext|>"
_MERGES = ("i n", "in g</w>", "a t", "e r</w>", "t h", "th e</w>", "o i", "oi l</w>")
_SCALING_FACTOR = 0.18215


def save_tiny_sd(
    folder: Path,
    *,
    seed: int = 0,
    prediction_type: str = "epsilon",
    latent_channels: int = 4,
    cross_attention_dim: int = 32,
    scheduler: dict[str, object] | None = None,
    pad_token: str = END,
    linear_projection: bool = False,
    unet_keys: dict[str, object] | None = None,
) -> Path:
    """A checkpoint like Stable Diffusion 1.5's in `folder`; `scheduler` replaces or adds keys of its PNDM config, and
    `unet_keys` of its denoiser's."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        keys = {"use_linear_projection": linear_projection, **(unet_keys or {})}
        unet = _unet(latent_channels, cross_attention_dim, **keys)
        vae = _vae(latent_channels)
        vocabulary = _vocabulary()
        text_encoder = _text_encoder(cross_attention_dim, len(vocabulary), pad=vocabulary[pad_token])
    schedule: dict[str, object] = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "prediction_type": prediction_type,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        **(scheduler or {}),
    }
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    text_encoder.save_pretrained(folder / "text_encoder")
    _save_tokenizer(folder / "tokenizer", vocabulary, pad_token)
    _write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    parts = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", schedule["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    _write_json(folder / "model_index.json", parts)
    return folder


def save_tiny_sd2(folder: Path, *, seed: int = 2) -> Path:
    """A checkpoint like Stable Diffusion 2.1's: predicts velocity, has wider text, and pads prompts with "!"."""
    return save_tiny_sd(
        folder,
        seed=seed,
        prediction_type="v_prediction",
        cross_attention_dim=48,
        scheduler={"_class_name": "DDIMScheduler"},
        pad_token="!",  # noqa: S106 - no secret
        linear_projection=True,
    )


def save_tiny_sdxl(folder: Path, *, seed: int = 6, zero_empty: bool = True) -> Path:
    """A checkpoint like Stable Diffusion XL's: two text encoders, attention from the second level on with more layers
    at the third, and a denoiser that is told sizes and the prompt as a whole."""
    first, second, time = 24, 32, 8
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        unet = _unet(
            4,
            first + second,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            attention_head_dim=(2, 2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=time,
            projection_class_embeddings_input_dim=second + 6 * time,
        )
        for layer in (unet.add_embedding.linear_1, unet.add_embedding.linear_2):
            _redraw(layer, 2.0)
        vae = _vae(4, scaling_factor=0.13025)
        words = _vocabulary()
        small = _text_encoder(first, len(words), pad=words[END])
        large = CLIPTextModelWithProjection(_text_encoder(second, len(words), pad=words["!"]).config)
        for module in large.modules():
            _redraw_text(module)
    vae.save_pretrained(folder / "vae")
    unet.save_pretrained(folder / "unet")
    small.save_pretrained(folder / "text_encoder")
    large.save_pretrained(folder / "text_encoder_2")
    _save_tokenizer(folder / "tokenizer", words, END)
    _save_tokenizer(folder / "tokenizer_2", words, "!")
    schedule: dict[str, object] = {
        "_class_name": "EulerDiscreteScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": "epsilon",
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
    _write_json(folder / "scheduler" / "scheduler_config.json", schedule)
    parts: dict[str, object] = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": zero_empty,
        "scheduler": ["diffusers", schedule["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    _write_json(folder / "model_index.json", parts)
    return folder


def save_tiny_t2i_adapter(folder: Path, *, xl: bool = False, light: bool = False, in_channels: int = 3) -> Path:
    """A T2I-Adapter for the tiny checkpoints; XL's reads squares of 16 pixels, and also speaks to the middle."""
    kind = "light_adapter" if light else "full_adapter_xl" if xl else "full_adapter"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(11)
        adapter = T2IAdapter(
            in_channels=in_channels,
            channels=[32, 32, 32, 32] if xl else [32, 32, 32],
            num_res_blocks=1,
            downscale_factor=16 if xl else 8,
            adapter_type=kind,
        )
        for module in adapter.modules():
            if isinstance(module, nn.Conv2d):
                _redraw(module, 1.5)
    adapter.save_pretrained(folder)
    return folder


def save_tiny_taesd(folder: Path, *, seed: int = 8) -> Path:
    """An autoencoder like TAESD: small, quick, without a distribution, its latents as the denoiser reads them."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        vae = AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1),
            num_decoder_blocks=(1, 1, 1, 1),
        )
        for module in vae.modules():
            if isinstance(module, nn.Conv2d):
                _redraw(module, 1.2)
        _scale(vae.encoder.layers[-1], 1 / vae.encode(torch.rand(2, 3, 64, 64) * 2 - 1).latents.std())
        _scale(vae.decoder.layers[-1], 0.4 / vae.decode(torch.randn(2, 4, 8, 8)).sample.std())
    vae.save_pretrained(folder)
    return folder


def save_tiny_controlnet(folder: Path, sd: Path, *, seed: int = 1, global_pool_conditions: bool = False) -> Path:
    """A ControlNet for the checkpoint in `sd`, with the convolutions that training starts at zero drawn at random."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_pretrained(sd / "unet", local_files_only=True)
        net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 8, 16, 16))
        net.register_to_config(global_pool_conditions=global_pool_conditions)
        _centre(net.controlnet_cond_embedding)
        for convolution in (*net.controlnet_down_blocks, net.controlnet_mid_block):
            _redraw(convolution, 0.2)
    net.save_pretrained(folder)
    return folder


def _centre(embedding: nn.Module) -> None:
    """A condition embedding that tells pictures apart: its pixels spread evenly about zero."""
    for convolution in (embedding.conv_in, *embedding.blocks, embedding.conv_out):
        _redraw(convolution, 2.0)
    seen = embedding(torch.rand(4, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3))
    scale = 1 / seen.std(dim=(0, 2, 3))
    embedding.conv_out.weight.mul_(scale[:, None, None, None])
    embedding.conv_out.bias.copy_(-seen.mean(dim=(0, 2, 3)) * scale)


def _unet(latent_channels: int, cross_attention_dim: int, **keys: Any) -> UNet2DConditionModel:
    plain = {
        "in_channels": latent_channels,
        "out_channels": latent_channels,
        "block_out_channels": (32, 32, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
        "cross_attention_dim": cross_attention_dim,
        "sample_size": 64 // VAE_SCALE,
    }
    unet = UNet2DConditionModel(**{**plain, **keys})
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "to_k")):
            _redraw(module, 1.5)  # scores that differ: a plain mean of all tokens would hide what is attended to
        elif name.endswith("to_v"):
            _redraw(module, 1.0)
        elif name.endswith("to_out.0"):
            _redraw(module, 2.0 if ".attn1." in name else 0.3)  # guidance multiplies the text's share
    _predict_own_input(unet, latent_channels)
    return unet


def _predict_own_input(unet: UNet2DConditionModel, channels: int) -> None:
    """Carry the latents around the network to its output: noise is mostly what a noisy latent consists of.

    Channel pairs hold x and -x, of which silu(x) - silu(-x) = x gives it back.
    """
    last = unet.up_blocks[-1].resnets[-1]
    inner = last.conv_shortcut.in_channels - unet.conv_in.out_channels
    pairs = range(2 * channels)
    unet.conv_in.weight[: len(pairs)] = 0
    last.conv_shortcut.weight[: len(pairs)] = 0
    _redraw(unet.conv_out, 0.1)
    for pair in pairs:
        sign = 1.0 if pair < channels else -1.0
        unet.conv_in.weight[pair, pair % channels, 1, 1] = sign
        last.conv_shortcut.weight[pair, inner + pair] = 2.0
        unet.conv_out.weight[pair % channels, pair, 1, 1] += sign


def _vae(latent_channels: int, scaling_factor: float = _SCALING_FACTOR) -> AutoencoderKL:
    vae = AutoencoderKL(
        latent_channels=latent_channels,
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=scaling_factor,
        sample_size=64,
    )
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    _scale(vae.quant_conv, 1 / scaling_factor / vae.encode(pictures).latent_dist.mean.std())
    latents = torch.randn(2, latent_channels, 8, 8)
    _scale(vae.decoder.conv_out, 0.35 / vae.decode(latents / scaling_factor).sample.std())
    return vae


def _text_encoder(width: int, words: int, *, pad: int) -> CLIPTextModel:
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=CHUNK,
            projection_dim=width,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=pad,
        )
    )
    for module in encoder.modules():
        _redraw_text(module)
    return encoder


def _redraw_text(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        _redraw(module, 1.0)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight)


def _vocabulary() -> dict[str, int]:
    """CLIP's order: single characters, characters that end a word, merged pairs, the two marks."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), *(pair.replace(" ", "") for pair in _MERGES)]
    return {word: number for number, word in enumerate([*words, BEGIN, END])}


def _save_tokenizer(folder: Path, vocabulary: dict[str, int], pad_token: str) -> None:
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CHUNK,
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": END,
        "pad_token": pad_token,
        "do_lower_case": True,
    }
    _write_json(folder / "tokenizer_config.json", config)
    _write_json(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *_MERGES, ""]), encoding="utf-8")


def _redraw(layer: nn.Linear | nn.Conv2d, gain: float) -> None:
    """Weights under which an input of unit variance gives an output of deviation `gain`."""
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _scale(layer: nn.Module, factor: torch.Tensor) -> None:
    for parameter in layer.parameters():
        parameter.mul_(factor)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
