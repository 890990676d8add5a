"""Training and sampling of a `Unet3D` on videos (B, C, F, H, W)."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from diffsynth.diffusion.objective import DiffusionConfig
from diffsynth.diffusion.paths import Discrete
from diffsynth.diffusion.process import Objective, Walk
from diffsynth.errors import ConfigError, MissingFileError, ModelError
from diffsynth.models.base import Pooling
from diffsynth.models.unet3d import Unet3D
from diffsynth.models.video_unet import pooled
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    from diffsynth.training.captions import Captions

BERT = "google-bert/bert-base-cased"
"""The text encoder where none is named: a hub id, or set a local folder."""
MOST_TIMESTEPS = 100_000
LONGEST_TEXT = 256
"""Tokens that a text is cut to."""
Told = Tensor | Sequence[str] | None


class GaussianDiffusion(nn.Module):
    """The network with its noise. Called with videos, it says their loss; `sample` draws new ones."""

    def __init__(
        self,
        denoise_fn: Unet3D,
        *,
        image_size: int,
        num_frames: int,
        text_use_bert_cls: bool = False,
        channels: int = 3,
        timesteps: int = 1000,
        loss_type: Literal["l1", "l2"] = "l1",
        use_dynamic_thres: bool = False,
        dynamic_thres_percentile: float = 0.9,
        text_encoder: str | None = None,
        cond_dropout: float = 0.1,
        video_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        """Beside the published arguments: `text_encoder` is a BERT's folder or hub id (`BERT` where left out),
        `cond_dropout` how often training leaves the condition out, without which guidance has nothing to go by, and
        `video_range` what black and white are in the videos that it is called with.
        """
        super().__init__()
        if denoise_fn.channels != channels:
            raise ModelError(f'The network is for {denoise_fn.channels} channels, but "channels" is {channels}.')
        problems = [
            f'"{name}" is {found}; {wanted}.'
            for name, found, holds, wanted in (
                ("loss_type", f'"{loss_type}"', loss_type in ("l1", "l2"), 'known are "l1" and "l2"'),
                ("image_size", image_size, image_size >= 1, "it must be at least 1"),
                ("num_frames", num_frames, num_frames >= 1, "it must be at least 1"),
                ("timesteps", timesteps, 1 <= timesteps <= MOST_TIMESTEPS, f"it must be within 1 … {MOST_TIMESTEPS}"),
                (
                    "dynamic_thres_percentile",
                    dynamic_thres_percentile,
                    0 < dynamic_thres_percentile <= 1,
                    "it must be above 0, and at most 1",
                ),
                ("cond_dropout", cond_dropout, 0 <= cond_dropout <= 1, "it must be within 0 … 1"),
                ("video_range", video_range, video_range[0] < video_range[1], "give what black is, then what white is"),
            )
            if not holds
        ]
        if problems:
            raise ConfigError(problems)
        self.denoise_fn = denoise_fn
        self.image_size, self.num_frames, self.channels = image_size, num_frames, channels
        self.num_timesteps = timesteps
        self.threshold = dynamic_thres_percentile if use_dynamic_thres else None
        self.pooling: Pooling = "first" if text_use_bert_cls else "words"
        self.encoder_named = text_encoder is not None
        self.text_encoder = BERT if text_encoder is None else _placed(text_encoder)
        self.cond_dropout, self.video_range = cond_dropout, video_range
        self.noise = DiffusionConfig(
            objective="epsilon",
            loss=loss_type,
            beta_schedule="cosine",
            train_steps=timesteps,
            variance="learned_range" if denoise_fn.out_dim == 2 * channels else "fixed",
        )
        self.objective: Objective = self.noise.build()

    @property
    def device(self) -> torch.device:
        return next(self.denoise_fn.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.denoise_fn.parameters()).dtype

    @cached_property
    def captions(self) -> "Captions":
        """The text encoder, loaded when a text is first told."""
        from diffsynth.training.captions import Captions

        runtime = Runtime(self.device.type)  # type: ignore[arg-type]  # the device is one that is there
        found = Captions.load(self.text_encoder, LONGEST_TEXT, self.cond_dropout, runtime, "text_encoder")
        if found.condition.text_dim != self.denoise_fn.cond_dim:
            raise ModelError(
                f"{self.text_encoder}: its states are {found.condition.text_dim} wide, but the network is told "
                f'{self.denoise_fn.cond_dim or "no"} numbers. Set "cond_dim" to {found.condition.text_dim}, or name '
                'another "text_encoder".'
            )
        return found

    def forward(
        self,
        x: Tensor,
        cond: Told = None,
        noise: Tensor | None = None,
        *,
        focus_present_mask: Tensor | None = None,
        prob_focus_present: float = 0.0,
        null_cond_prob: float | None = None,
    ) -> Tensor:
        """The mean loss of videos (B, C, F, H, W) at times drawn at random; `cond` is vectors, or a text for each.

        `null_cond_prob` is how often the condition is left out; None: `cond_dropout`, while the model is in training.
        """
        self._require_fit(x)
        low, high = self.video_range
        x = (x - low) * (2 / (high - low)) - 1
        t = torch.randint(self.num_timesteps, (len(x),), device=x.device)
        return self.p_losses(
            x,
            t,
            cond,
            noise,
            focus_present_mask=focus_present_mask,
            prob_focus_present=prob_focus_present,
            null_cond_prob=null_cond_prob,
        )

    def p_losses(
        self,
        x_start: Tensor,
        t: Tensor,
        cond: Told = None,
        noise: Tensor | None = None,
        *,
        focus_present_mask: Tensor | None = None,
        prob_focus_present: float = 0.0,
        null_cond_prob: float | None = None,
    ) -> Tensor:
        """The mean loss of videos in [-1, 1] at timesteps t (B)."""
        told = self.told(cond)
        noise = torch.randn_like(x_start) if noise is None else noise
        left_out = (self.cond_dropout if self.training else 0.0) if null_cond_prob is None else null_cond_prob

        def answer(x: Tensor, timestep: Tensor) -> Tensor:
            said = self.denoise_fn(
                x.transpose(1, 2).to(self.dtype),
                timestep * (self.num_timesteps / 1000),
                told,
                null_cond_prob=left_out,
                focus_present_mask=focus_present_mask,
                prob_focus_present=prob_focus_present,
            )
            return said.transpose(1, 2)  # type: ignore[no-any-return]

        u = (t.double() + 0.5) / self.num_timesteps
        return self.objective.loss(answer, x_start.transpose(1, 2), u, noise.transpose(1, 2)).mean()

    @torch.inference_mode()
    def sample(self, cond: Told = None, cond_scale: float = 1.0, batch_size: int = 16) -> Tensor:
        """New videos (B, C, F, H, W) in [0, 1], one for each condition, or `batch_size` of them."""
        told = self.told(cond)
        count = batch_size if told is None else len(told)
        size = (count, self.num_frames, self.channels, self.image_size, self.image_size)
        x = torch.randn(size, device=self.device, dtype=self.dtype)
        return (self._down(x, self.num_timesteps - 1, told, cond_scale).transpose(1, 2) + 1) / 2

    @torch.inference_mode()
    def interpolate(
        self, x1: Tensor, x2: Tensor, t: int | None = None, lam: float = 0.5, cond: Told = None, cond_scale: float = 1.0
    ) -> Tensor:
        """Videos between x1 and x2, in [-1, 1] as they are: both are noised up to timestep `t`, mixed, and denoised."""
        if x1.shape != x2.shape:
            raise ModelError(f"The videos are {tuple(x1.shape)} and {tuple(x2.shape)}: give two of one shape.")
        t = self.num_timesteps - 1 if t is None else t
        at = torch.full((len(x1),), t, device=x1.device)
        mixed = (1 - lam) * self.q_sample(x1, at) + lam * self.q_sample(x2, at)
        return self._down(mixed.transpose(1, 2), t, self.told(cond), cond_scale).transpose(1, 2)

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor | None = None) -> Tensor:
        """Videos in [-1, 1] under the noise of timesteps t (B)."""
        drawn = self.objective.path.draw((t.double() + 0.5) / self.num_timesteps)
        alpha, sigma = (each.view(-1, *(1,) * (x_start.ndim - 1)).to(x_start) for each in (drawn.alpha, drawn.sigma))
        return alpha * x_start + sigma * (torch.randn_like(x_start) if noise is None else noise)

    def told(self, cond: Told) -> Tensor | None:
        """The vectors (B, cond_dim) that a condition stands for."""
        if cond is None or isinstance(cond, Tensor):
            return cond if cond is None else cond.to(self.device)
        if isinstance(cond, str):
            raise ModelError(f'"cond" is the text "{cond[:40]}". Give a list with one text for each video.')
        if not cond or not all(isinstance(each, str) for each in cond):
            raise ModelError(f'"cond" is {str(cond)[:60]}. Give a tensor (batch, cond_dim), or a text for each video.')
        states = torch.stack([self.captions.encoded(each) for each in cond])
        return pooled(states, self.pooling).to(self.device)

    def _down(self, x: Tensor, start: int, told: Tensor | None, scale: float) -> Tensor:
        """From the noise of timestep `start` to the video, by every step on the way; frames first."""

        def answer(x: Tensor, timestep: Tensor) -> Tensor:
            time = timestep * (self.num_timesteps / 1000)
            noisy = x.transpose(1, 2).to(self.dtype)
            said = self.denoise_fn.forward_with_cond_scale(noisy, time, told, cond_scale=scale)
            return said.transpose(1, 2)

        assert isinstance(self.objective.path, Discrete)
        levels = self.objective.path.levels(self.num_timesteps)[self.num_timesteps - 1 - start :]
        walk = Walk(self.objective, answer, levels, lambda _index, _x: None, clip=True, threshold=self.threshold)
        was = self.training
        self.eval()
        try:
            return walk.ancestral(x, lambda _index: torch.randn_like(x))
        finally:
            self.train(was)

    def _require_fit(self, x: Tensor) -> None:
        wanted = (self.channels, self.num_frames, self.image_size, self.image_size)
        if x.ndim != 5 or tuple(x.shape[1:]) != wanted:
            raise ModelError(
                f"The videos are {tuple(x.shape)}; expected (batch, channels, frames, height, width) with "
                f"{wanted} behind the batch, as image_size, num_frames and channels say."
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Published files hold the numbers of the noise beside the weights; here they come from `timesteps`."""
        betas = state_dict.get(f"{prefix}betas")
        if betas is not None and len(betas) != self.num_timesteps:
            raise ModelError(other_timesteps("The weights", len(betas), self.num_timesteps))
        for name in [each for each in state_dict if each.startswith(prefix) and "." not in each[len(prefix) :]]:
            del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *rest)


def other_timesteps(what: str, theirs: int | None, ours: int) -> str:
    return f'{what}: were trained on {theirs} timesteps, but "timesteps" is {ours}. Set it to {theirs}.'


def _placed(reference: str) -> str:
    """A text encoder's folder from the root on, or an id of the hub: `name`, or `owner/name`."""
    named = Path(reference).expanduser()
    if named.exists():
        return str(named.absolute())
    if named.is_absolute() or str(reference).startswith((".", "~")) or len(named.parts) > 2:
        raise MissingFileError(
            f'{reference}: was not found. "text_encoder" is the folder of a BERT with its tokenizer, or an id of the '
            "hub."
        )
    return str(reference)
