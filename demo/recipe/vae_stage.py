"""Stage one: the autoencoder, on crops of the pictures."""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from demo.recipe import checkpoint
from demo.recipe.models import LATENT_CHANNELS, new_vae
from demo.recipe.optim import Average, Pair, course
from demo.recipe.pictures import PictureSet

CROP = 96
BATCH = 8
LOG_VARIANCE = -6.0
"""Constant: a learnt one mostly learns to switch channels off."""


def as_tensor(pictures: np.ndarray, device: str = "cpu") -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) in -1 … 1."""
    tensor = torch.from_numpy(np.array(pictures)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def fresh_vae() -> AutoencoderKL:
    vae = new_vae()
    with torch.no_grad():
        for name, module in vae.named_modules():
            if name.endswith("conv2"):  # every residual block starts as the identity
                module.weight.zero_()
                module.bias.zero_()
        vae.quant_conv.weight[LATENT_CHANNELS:] = 0
        vae.quant_conv.bias[LATENT_CHANNELS:] = LOG_VARIANCE
    return vae


def draw_batch(pictures: np.ndarray, seed: int, step: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 1, step])
    size = pictures.shape[1]
    crops = []
    for _ in range(BATCH):
        top, left = rng.integers(0, size - CROP + 1, 2)
        crop = pictures[int(rng.integers(len(pictures))), top : top + CROP, left : left + CROP]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(crops)


def train_vae(
    pictures: PictureSet, state_path: Path, steps: int, *, seed: int, device: str, every: float
) -> AutoencoderKL:
    torch.manual_seed(seed)
    vae = fresh_vae()
    _fit(vae, pictures, state_path, steps, seed=seed, device=device, every=every)
    return standardise(vae, pictures.array("target"), device)


def polish_decoder(
    vae: AutoencoderKL, pictures: PictureSet, state_path: Path, steps: int, *, seed: int, device: str, every: float
) -> AutoencoderKL:
    """Trains the decoder further. The latents stay what they are, so whatever was trained on them stays valid."""
    vae.requires_grad_(requires_grad=True)
    for module in (vae.encoder, vae.quant_conv):
        module.requires_grad_(requires_grad=False)
    _fit(vae, pictures, state_path, steps, seed=seed + 1, device=device, every=every)
    return vae


def _fit(
    vae: AutoencoderKL, pictures: PictureSet, state_path: Path, steps: int, *, seed: int, device: str, every: float
) -> None:
    vae.to(device, memory_format=torch.channels_last).train()
    optimizer = Pair([vae], adam_lr=2.5e-3, muon_lr=0.015, smallest=8)
    average = Average(optimizer.params)
    start = 0
    if state := checkpoint.load(state_path):
        vae.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.mean = [mean.to(device) for mean in state["mean"]]
        start = state["step"]
    targets, saved, losses = pictures.array("target"), time.monotonic(), []
    for step in range(start, steps):
        x = as_tensor(draw_batch(targets, seed, step), device)
        noise = torch.Generator().manual_seed(seed * 1_000_003 + step)
        posterior = vae.encode(x).latent_dist
        z = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=noise).to(device)
        error = vae.decode(z).sample - x
        loss = error.abs().mean() + 0.5 * error.square().mean() + 1e-6 * posterior.kl().mean()
        loss.backward()
        for frozen in (vae.quant_conv.weight, vae.quant_conv.bias):
            if frozen.grad is not None:
                frozen.grad[LATENT_CHANNELS:] = 0
        optimizer.step(course(step, steps, warm_up=60, cool_down=0.6))
        average.update(step, 0.99)
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"{state_path.stem} {step + 1}/{steps} loss {np.mean(losses[-50:]):.4f}", flush=True)
        if time.monotonic() - saved > every or step + 1 == steps:
            saved = time.monotonic()
            state = {"step": step + 1, "model": vae.state_dict(), "mean": average.mean}
            checkpoint.save(state_path, {**state, "optimizer": optimizer.state_dict()})
    average.swap()
    vae.eval().requires_grad_(requires_grad=False)


@torch.no_grad()
def standardise(vae: AutoencoderKL, pictures: np.ndarray, device: str) -> AutoencoderKL:
    """Moves the latents' means to 0 and their common deviation to 1, inside the 1 by 1 convolutions around them."""
    sample = np.linspace(0, len(pictures) - 1, 128).astype(int)
    latents = torch.cat([vae.encode(as_tensor(pictures[k : k + 1], device)).latent_dist.mean for k in sample])
    mean, scale = latents.mean((0, 2, 3)), latents.std((0, 2, 3)).square().mean().sqrt()
    encode, decode = vae.quant_conv, vae.post_quant_conv
    decode.bias += (decode.weight[..., 0, 0] @ mean[:, None])[:, 0]
    decode.weight *= scale
    encode.bias[:LATENT_CHANNELS] = (encode.bias[:LATENT_CHANNELS] - mean) / scale
    encode.weight[:LATENT_CHANNELS] /= scale
    encode.bias[LATENT_CHANNELS:] -= 2 * scale.log()
    vae.register_to_config(scaling_factor=1.0)
    return vae


@torch.no_grad()
def encode_set(vae: AutoencoderKL, pictures: PictureSet, device: str) -> np.ndarray:
    """The latents of all the set's pictures, kept beside them."""
    path = pictures.folder / "latents.npy"
    if not path.exists():
        targets = pictures.array("target")
        batches = [
            vae.encode(as_tensor(targets[k : k + 16], device)).latent_dist.mean.half().cpu().numpy()
            for k in range(0, len(targets), 16)
        ]
        fresh = path.with_suffix(".part.npy")
        np.save(fresh, np.concatenate(batches))
        fresh.replace(path)
    return np.load(path)


@torch.no_grad()
def fidelity(vae: AutoencoderKL, pictures: np.ndarray, device: str = "cpu") -> float:
    """Mean PSNR in dB of pictures that went through the autoencoder and back."""
    values = []
    for picture in pictures:
        x = as_tensor(picture[None], device)
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
        values.append(10 * np.log10(4 / (x - y).square().mean().item()))
    return float(np.mean(values))
