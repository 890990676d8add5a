"""Stage two: denoiser, words and edge net learn together; stage three: a depth net beside them."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from demo.recipe import checkpoint
from demo.recipe.models import TOKENS, new_controlnet, new_scheduler, new_text_encoder, new_unet
from demo.recipe.optim import Average, Pair, course
from demo.recipe.pictures import WAYS, PictureSet
from demo.recipe.vae_stage import encode_set

SMALL_SHARE = 0.75
"""The first share of the steps runs on small pictures, at half the cost."""

Stage = Literal["joint", "depth"]
MAPS: dict[Stage, dict[str, float]] = {"joint": {"soft": 0.65, "canny": 0.35}, "depth": {"depth": 1.0}}
"""What the net sees at each stage, and how often."""


@dataclass(frozen=True)
class Plan:
    steps: int
    vae_steps: int
    depth_steps: int
    scenes: int
    batch: int
    seed: int
    polish_steps: int = 0

    def lengthened(self, steps: int | None, depth_steps: int | None, polish_steps: int | None) -> "Plan":
        """The same plan with other lengths. The autoencoder's can't change: all else was trained on its latents."""
        return replace(
            self,
            steps=steps or self.steps,
            depth_steps=self.depth_steps if depth_steps is None else depth_steps,
            polish_steps=self.polish_steps if polish_steps is None else polish_steps,
        )


@dataclass(frozen=True)
class Workshop:
    """What the stages share."""

    plan: Plan
    sets: dict[int, PictureSet]
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    work: Path
    device: str = "cpu"

    def size_at(self, step: int, steps: int) -> int:
        return min(self.sets) if step < SMALL_SHARE * steps else max(self.sets)


@dataclass(frozen=True)
class Batch:
    latents: Tensor
    noise: Tensor
    steps: Tensor
    tokens: Tensor
    condition: Tensor
    """(N, 3, H, W) in 0 … 1."""
    controlled: Tensor
    """(N, 1, 1, 1): 0 where the net is to be ignored."""


class Source:
    """Draws batches from one picture set; the seed and the step decide everything."""

    def __init__(self, pictures: PictureSet, vae: AutoencoderKL, tokenizer: CLIPTokenizer, device: str) -> None:
        self.latents = torch.from_numpy(encode_set(vae, pictures, device))
        self.maps = {name: pictures.array(name) for name in ("soft", "canny", "depth")}
        options = {"padding": "max_length", "max_length": TOKENS, "truncation": True, "return_tensors": "pt"}
        self.tokens = tokenizer(pictures.captions, **options).input_ids
        self.empty = tokenizer([""], **options).input_ids
        self.device = device

    def batch(self, count: int, seed: int, step: int, maps: dict[str, float]) -> Batch:
        rng = np.random.default_rng([seed, 2, step])
        chosen = rng.integers(0, len(self.latents), count)
        latents = self.latents[chosen].float()
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
        # The first steps of a sampler decide on composition and colour: train them more than the rest.
        kind = rng.random(count)
        late = rng.integers(900, 1000, count)
        times = np.where(kind < 0.12, 999, np.where(kind < 0.36, late, rng.integers(0, 1000, count)))
        tokens = self.tokens[chosen].clone()
        tokens[torch.from_numpy(rng.random(count) < 0.1)] = self.empty
        names = rng.choice(list(maps), size=count, p=list(maps.values()))
        seen = [self.maps[str(name)][k // WAYS] for name, k in zip(names, chosen, strict=True)]
        condition = torch.from_numpy(np.stack(seen)).float().div_(255)[:, None].repeat(1, 3, 1, 1)
        controlled = torch.from_numpy((rng.random(count) > 0.12).astype(np.float32)).view(-1, 1, 1, 1)
        to = {"device": self.device}
        return Batch(
            latents.to(**to, memory_format=torch.channels_last),
            noise.to(**to, memory_format=torch.channels_last),
            torch.from_numpy(times).to(**to),
            tokens.to(**to),
            condition.to(**to, memory_format=torch.channels_last),
            controlled.to(**to),
        )


@dataclass(frozen=True)
class Models:
    text: CLIPTextModel
    unet: UNet2DConditionModel
    edges: ControlNetModel

    @property
    def named(self) -> dict[str, nn.Module]:
        return {"text_encoder": self.text, "unet": self.unet, "controlnet_edges": self.edges}


def fresh_models(tokenizer: CLIPTokenizer, seed: int) -> Models:
    torch.manual_seed(seed)
    unet = new_unet()
    edges = new_controlnet(unet)
    wake(edges)
    return Models(new_text_encoder(tokenizer), unet, edges)


def wake(net: ControlNetModel) -> None:
    """Zero-initialised joints protect a trained denoiser; here both start from nothing and gain from being joined."""
    for module in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        nn.init.orthogonal_(module.weight.view(module.weight.shape[0], -1), gain=0.5)


def denoising_loss(models: Models, batch: Batch, alphas: Tensor) -> Tensor:
    signal = alphas[batch.steps].view(-1, 1, 1, 1)
    noisy = signal.sqrt() * batch.latents + (1 - signal).sqrt() * batch.noise
    velocity = signal.sqrt() * batch.noise - (1 - signal).sqrt() * batch.latents
    words = models.text(batch.tokens)[0]
    down, middle = models.edges(noisy, batch.steps, words, batch.condition, return_dict=False)
    predicted = models.unet(
        noisy,
        batch.steps,
        words,
        down_block_additional_residuals=[residual * batch.controlled for residual in down],
        mid_block_additional_residual=middle * batch.controlled,
    ).sample
    return (predicted - velocity).square().mean()


def train_joint(shop: Workshop, every: float) -> Models:
    models = fresh_models(shop.tokenizer, shop.plan.seed)
    for module in models.named.values():
        module.to(shop.device, memory_format=torch.channels_last).train()
    _train(shop, models, "joint", models.named, every)
    return models


def train_depth(shop: Workshop, every: float) -> ControlNetModel:
    """The depth net starts as a copy of the edge net; everything else stays as it is."""
    folder = shop.work / "model"
    models = Models(
        CLIPTextModel.from_pretrained(folder / "text_encoder"),
        UNet2DConditionModel.from_pretrained(folder / "unet"),
        ControlNetModel.from_pretrained(folder / "controlnet_edges"),
    )
    for module in models.named.values():
        module.to(shop.device, memory_format=torch.channels_last)
    models.text.requires_grad_(requires_grad=False)
    models.unet.requires_grad_(requires_grad=False)
    _train(shop, models, "depth", {"controlnet_depth": models.edges.train()}, every)
    return models.edges


def _train(shop: Workshop, models: Models, stage: Stage, learning: dict[str, nn.Module], every: float) -> None:
    plan = shop.plan
    steps = plan.steps if stage == "joint" else plan.depth_steps
    optimizer = Pair(list(learning.values()), adam_lr=2e-3, muon_lr=0.02)
    average = Average(optimizer.params)
    alphas = new_scheduler().alphas_cumprod.to(shop.device)
    path, start = shop.work / f"{stage}.pt", 0
    if state := checkpoint.load(path):
        for name, module in learning.items():
            module.load_state_dict(state[name])
        optimizer.load_state_dict(state["optimizer"])
        average.mean = [mean.to(shop.device) for mean in state["mean"]]
        start = state["step"]
    source, size = None, 0
    saved, losses = time.monotonic(), []
    for step in range(start, steps):
        wanted = shop.size_at(step, steps)
        if wanted != size:
            size, source = wanted, Source(shop.sets[wanted], shop.vae, shop.tokenizer, shop.device)
        loss = denoising_loss(models, source.batch(plan.batch, plan.seed, step, MAPS[stage]), alphas)
        loss.backward()
        optimizer.step(course(step, steps, warm_up=100))
        average.update(step)
        losses.append(loss.item())
        if step % 25 == 24:
            mean, spent = np.mean(losses[-100:]), time.process_time()
            print(f"{stage} {step + 1}/{steps} at {size} loss {mean:.4f}, {spent:.0f} s of this core", flush=True)
        if time.monotonic() - saved > every or step + 1 == steps:
            saved = time.monotonic()
            _save(path, step + 1, learning, optimizer, average)


def _save(path: Path, step: int, learning: dict[str, nn.Module], optimizer: Pair, average: Average) -> None:
    """The state to go on from, and beside it the model as it would be shipped now."""
    kept = {name: module.state_dict() for name, module in learning.items()}
    checkpoint.save(path, {"step": step, **kept, "mean": average.mean, "optimizer": optimizer.state_dict()})
    average.swap()
    for name, module in learning.items():
        module.save_pretrained(path.parent / "model" / name)
    average.swap()
