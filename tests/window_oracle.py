"""Cross-frame stylization restated plainly: one frame at a time, diffusers' networks, diffusers' own plain attention.

Both readings of a pattern are here. "Window": for frame i the frames of its pattern form a batch whose tokens all
attend to each other, and only frame i's row of the result is kept. "Shared": all frames form one batch, and frame i's
queries attend to the keys and values of its pattern's frames. Nothing is fast, and nothing is taken from the project.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

Frames = NDArray[np.uint8]
"""(T, H, W, 3), RGB; here H and W are multiples of 8."""


@dataclass(frozen=True, eq=False)
class OracleNet:
    """A ControlNet, and what it is shown beside each frame and beside each reference."""

    folder: Path
    scale: float
    conditions: Frames
    reference_conditions: Frames | None = None


@dataclass(frozen=True, eq=False)
class WindowJob:
    """A clip to stylize. A pattern's entries are offsets, "first" or "reference_k"; it holds 0."""

    model: Path
    prompt: str
    negative_prompt: str
    frames: Frames
    pattern: tuple[int | str, ...]
    steps: int
    nets: tuple[OracleNet, ...] = ()
    references: Frames | None = None
    guidance_scale: float = 7.5
    seed: int = 0
    strength: float = 1.0
    smoother: Callable[[Frames], Frames] | None = None
    interval: int = 1
    ignore: int = 0


def window_latents(job: WindowJob) -> Tensor:
    """(T, C, h, w), after the last step."""
    return denoise(prepare(job, same_chunks=False), window_eps)


def shared_latents(job: WindowJob) -> Tensor:
    """(T, C, h, w), after the last step."""
    return denoise(prepare(job, same_chunks=True), shared_eps)


def window_frames(job: WindowJob) -> Frames:
    return decode(prepare(job, same_chunks=False).vae, window_latents(job))


def shared_frames(job: WindowJob) -> Frames:
    return decode(prepare(job, same_chunks=True).vae, shared_latents(job))


@dataclass(frozen=True, eq=False)
class Run:
    """What a job is made of before its first step. Rows are the frames, and behind them the references."""

    job: WindowJob
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    nets: list[ControlNetModel]
    conditions: list[Tensor]
    """One (T + R, 3, H, W) in [0, 1] for each net."""
    positive: Tensor
    negative: Tensor
    pooled: tuple[Tensor, Tensor] | None
    """Of XL, (1, P) each, of the prompt and the negative prompt."""
    references: Tensor
    """(R, C, h, w), without noise."""
    noise: Tensor
    """(1, C, h, w), the same for all frames."""
    alphas: NDArray[np.float64]
    """The cumulated alpha of each of the 1000 timesteps."""


def prepare(job: WindowJob, *, same_chunks: bool) -> Run:
    """`same_chunks`: both prompts share a batch, so the shorter is padded to the length of the longer."""
    unet = UNet2DConditionModel.from_pretrained(job.model, subfolder="unet").eval()
    vae = AutoencoderKL.from_pretrained(job.model, subfolder="vae").eval()
    positive, negative = text_states(job, job.prompt), text_states(job, job.negative_prompt)
    if same_chunks:
        length = max(positive.shape[1], negative.shape[1])
        positive, negative = text_states(job, job.prompt, length), text_states(job, job.negative_prompt, length)
    _, height, width, _ = job.frames.shape
    none = np.zeros((0, height, width, 3), np.uint8)
    conditions = []
    for net in job.nets:
        beside_references = none if net.reference_conditions is None else net.reference_conditions
        conditions.append(pictures(np.concatenate([net.conditions, beside_references])))
    noise_shape = (1, unet.config.in_channels, height // 8, width // 8)
    return Run(
        job=job,
        unet=unet,
        vae=vae,
        nets=[ControlNetModel.from_pretrained(net.folder).eval() for net in job.nets],
        conditions=conditions,
        positive=positive,
        negative=negative,
        pooled=(pooled_state(job, job.prompt), pooled_state(job, job.negative_prompt)) if is_xl(job) else None,
        references=torch.empty((0, *noise_shape[1:])) if job.references is None else encode(vae, job.references),
        noise=torch.randn(noise_shape, generator=torch.Generator().manual_seed(job.seed)),
        alphas=alphas_cumprod(job.model),
    )


@torch.no_grad()
def denoise(run: Run, predict: Callable[[Run, Tensor, int], Tensor]) -> Tensor:
    """DDIM without added noise; `predict` gives the noise in all frames' latents."""
    job = run.job
    schedule = timesteps(job.steps, job.strength)
    if job.strength == 1:
        x = run.noise.repeat(len(job.frames), 1, 1, 1)
    else:
        x = noised(run, encode(run.vae, job.frames), schedule[0])
    for k, t in enumerate(schedule):
        a = float(run.alphas[t])
        previous = float(run.alphas[schedule[k + 1]]) if k + 1 < len(schedule) else 1.0
        eps = predict(run, x, t)
        x0 = (x - (1 - a) ** 0.5 * eps) / a**0.5
        if job.smoother is not None and k < len(schedule) - job.ignore and k % job.interval == 0:
            x0 = encode(run.vae, job.smoother(decode(run.vae, x0)))
            eps = (x - a**0.5 * x0) / (1 - a) ** 0.5
        x = previous**0.5 * x0 + (1 - previous) ** 0.5 * eps
    return x


def window_eps(run: Run, x: Tensor, t: int) -> Tensor:
    """Each frame by a batch of its own, of which its own row is kept."""
    pattern = run.job.pattern
    latents = torch.cat([x, noised(run, run.references, t)])
    kept = []
    for frame in range(len(x)):
        rows = [row_of(entry, frame, len(x)) for entry in pattern]
        eps = guided(run, latents[rows], rows, t, all_to_all)
        kept.append(eps[pattern.index(0)])
    return torch.stack(kept)


def shared_eps(run: Run, x: Tensor, t: int) -> Tensor:
    """All frames in one batch, each seeing its pattern's; a reference sees itself."""
    latents = torch.cat([x, noised(run, run.references, t)])
    table = [[row_of(entry, frame, len(x)) for entry in run.job.pattern] for frame in range(len(x))]
    table += [[reference] for reference in range(len(x), len(latents))]
    return guided(run, latents, list(range(len(latents))), t, by_table(table))[: len(x)]


def row_of(entry: int | str, frame: int, count: int) -> int:
    if entry == "first":
        return 0
    if isinstance(entry, str):
        return count + int(entry.removeprefix("reference_"))
    return min(max(frame + entry, 0), count - 1)


Attend = Callable[[Attention, Tensor], Tensor]
"""Self-attention of tokens (B, N, D)."""


def all_to_all(attn: Attention, tokens: Tensor) -> Tensor:
    batch, length, width = tokens.shape
    return AttnProcessor()(attn, tokens.reshape(1, batch * length, width)).reshape(batch, length, width)


def by_table(table: list[list[int]]) -> Attend:
    """Row i's queries attend to the keys and values of the rows `table[i]`."""

    def attend(attn: Attention, tokens: Tensor) -> Tensor:
        seen = [torch.cat([tokens[other] for other in others])[None] for others in table]
        return torch.cat([AttnProcessor()(attn, row[None], others) for row, others in zip(tokens, seen, strict=True)])

    return attend


class SelfAttention:
    """`attend` in the place of an attention processor."""

    def __init__(self, attend: Attend) -> None:
        self.attend = attend

    def __call__(
        self, attn: Attention, tokens: Tensor, encoder_hidden_states: None = None, attention_mask: None = None
    ) -> Tensor:
        return self.attend(attn, tokens)


def guided(run: Run, x: Tensor, rows: list[int], t: int, attend: Attend) -> Tensor:
    """The noise in the latents of `rows`, by a pass with the prompt and a pass with the negative prompt."""
    for network in (run.unet, *run.nets):
        selfs = {name: SelfAttention(attend) for name in network.attn_processors if ".attn1." in name}
        network.set_attn_processor({name: selfs.get(name, AttnProcessor()) for name in network.attn_processors})
    conditional = one_side(run, x, rows, t, run.positive, pooled_nets=True)
    unconditional = one_side(run, x, rows, t, run.negative, pooled_nets=False)
    return unconditional + run.job.guidance_scale * (conditional - unconditional)


def one_side(run: Run, x: Tensor, rows: list[int], t: int, text: Tensor, *, pooled_nets: bool) -> Tensor:
    """diffusers' ControlNet itself averages its residuals over space where its `global_pool_conditions` says so."""
    text = text.repeat(len(rows), 1, 1)
    added = None
    if run.pooled is not None:
        height, width = 8 * x.shape[2], 8 * x.shape[3]
        sizes = torch.tensor([[height, width, 0, 0, height, width]], dtype=x.dtype)
        pooled = run.pooled[0 if pooled_nets else 1]
        added = {"text_embeds": pooled.repeat(len(rows), 1), "time_ids": sizes.repeat(len(rows), 1)}
    residuals: list[Tensor] | None = None
    for net, conditions, described in zip(run.nets, run.conditions, run.job.nets, strict=True):
        if net.config.global_pool_conditions and not pooled_nets:
            continue
        down, mid = net(x, t, text, conditions[rows], added_cond_kwargs=added, return_dict=False)
        scaled = [described.scale * residual for residual in (*down, mid)]
        residuals = scaled if residuals is None else [one + more for one, more in zip(residuals, scaled, strict=True)]
    if residuals is None:
        return run.unet(x, t, text, added_cond_kwargs=added, return_dict=False)[0]
    *down, mid = residuals
    return run.unet(
        x,
        t,
        text,
        added_cond_kwargs=added,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
        return_dict=False,
    )[0]


def is_xl(job: WindowJob) -> bool:
    return (job.model / "text_encoder_2").is_dir()


@torch.no_grad()
def text_states(job: WindowJob, prompt: str, length: int = 0) -> Tensor:
    """(1, n·77, D): a begin and an end token for the whole prompt, padded to whole chunks, at least to `length`.

    XL's are the last states but one of its two encoders, side by side.
    """
    found = []
    for mark, kind in (("", CLIPTextModel), ("_2", CLIPTextModelWithProjection)):
        if mark and not is_xl(job):
            continue
        tokenizer = CLIPTokenizer.from_pretrained(job.model, subfolder=f"tokenizer{mark}")
        encoder = kind.from_pretrained(job.model, subfolder=f"text_encoder{mark}").eval()
        words = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(prompt))
        tokens = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
        while len(tokens) % tokenizer.model_max_length or len(tokens) < length:
            tokens.append(tokenizer.pad_token_id)
        parts = torch.tensor(tokens).reshape(-1, tokenizer.model_max_length)
        answers = [encoder(part[None], output_hidden_states=True) for part in parts]
        states = [each.hidden_states[-2] if is_xl(job) else each.last_hidden_state for each in answers]
        found.append(torch.cat(states, dim=1))
    return torch.cat(found, dim=2)


@torch.no_grad()
def pooled_state(job: WindowJob, prompt: str) -> Tensor:
    """(1, P): what XL's second encoder says of as much of the prompt as it reads at a time."""
    tokenizer = CLIPTokenizer.from_pretrained(job.model, subfolder="tokenizer_2")
    encoder = CLIPTextModelWithProjection.from_pretrained(job.model, subfolder="text_encoder_2").eval()
    size = tokenizer.model_max_length
    words = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(prompt))[: size - 2]
    tokens = [tokenizer.bos_token_id, *words, tokenizer.eos_token_id]
    tokens += [tokenizer.pad_token_id] * (size - len(tokens))
    return encoder(torch.tensor([tokens])).text_embeds


def pictures(frames: Frames) -> Tensor:
    """(T, 3, H, W) in [0, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def encode(vae: AutoencoderKL, frames: Frames) -> Tensor:
    means = [vae.encode(picture[None] * 2 - 1).latent_dist.mean for picture in pictures(frames)]
    return torch.cat(means) * vae.config.scaling_factor


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Frames:
    colours = torch.cat([vae.decode(latent[None] / vae.config.scaling_factor).sample for latent in latents])
    colours = (colours / 2 + 0.5).clamp(0, 1)
    return (255 * colours).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def noised(run: Run, latents: Tensor, t: int) -> Tensor:
    a = float(run.alphas[t])
    return a**0.5 * latents + (1 - a) ** 0.5 * run.noise


def alphas_cumprod(model: Path) -> NDArray[np.float64]:
    config = DDIMScheduler.load_config(model, subfolder="scheduler")
    assert config["prediction_type"] == "epsilon"
    betas = np.linspace(config["beta_start"] ** 0.5, config["beta_end"] ** 0.5, 1000) ** 2
    return np.cumprod(1 - betas)


def timesteps(steps: int, strength: float) -> list[int]:
    every = [round(1000 - k * 1000 / steps) - 1 for k in range(steps)]
    return every[steps - int(steps * strength) :]
