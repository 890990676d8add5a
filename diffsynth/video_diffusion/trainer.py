"""Training on a folder of GIFs, by the loop of the task `train`."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from diffsynth import disk
from diffsynth.config import checked
from diffsynth.errors import MissingFileError, ModelError
from diffsynth.models import Condition, Unet3DConfig, VideoShape
from diffsynth.models.unet3d import BERT_SIZE
from diffsynth.models.unet3d_files import read_published_unet
from diffsynth.models.video_unet import VideoUnet
from diffsynth.models.weights import differing
from diffsynth.progress import Progress, shown
from diffsynth.training import checkpoint, loop
from diffsynth.training.conditions import Conditioner, NoConditionConfig, Nothing, TextConditionConfig
from diffsynth.training.data.stream import Stream
from diffsynth.training.draws import Draws
from diffsynth.training.facts import checkpoint_path, checkpoints, facts_of
from diffsynth.training.sampling import SamplePlan
from diffsynth.training.settings import TrainSettings
from diffsynth.training.space import PixelSpace
from diffsynth.training.video_model import VideoModel, VideoModelConfig
from diffsynth.video_diffusion.gaussian import LONGEST_TEXT, GaussianDiffusion, other_timesteps
from diffsynth.video_diffusion.gifs import gif_clips
from diffsynth.world import World

KEEP_ALL = 10**9
GRID_STEPS = 50
"""Steps that the videos on a grid are drawn in, by DDIM."""
ARGUMENTS = {
    "global_batch": "train_batch_size · gradient_accumulate_every",
    "micro_batch": "train_batch_size",
    "steps": "train_num_steps",
    "lr": "train_lr",
    "clip": "max_grad_norm",
    "ema": "ema_decay",
    "ema_from": "step_start_ema",
    "ema_every": "update_ema_every",
    "checkpoint_every": "save_and_sample_every",
    "sample_videos": "num_sample_rows²",
}
"""What the published face calls the settings."""
LogFn = Callable[[Mapping[str, float]], None]


class Trainer:
    """Trains a `GaussianDiffusion` on the GIFs of a folder.

    The results' folder is that of a run of the task `train`: checkpoints/, metrics.jsonl, grids/*.gif, and in the end
    model.safetensors, which the task `sample` draws from.
    """

    def __init__(
        self,
        diffusion_model: GaussianDiffusion,
        folder: str | Path,
        *,
        ema_decay: float = 0.995,
        num_frames: int | None = None,
        train_batch_size: int = 32,
        train_lr: float = 1e-4,
        train_num_steps: int = 100_000,
        gradient_accumulate_every: int = 2,
        amp: bool = False,
        step_start_ema: int = 2000,
        update_ema_every: int = 10,
        save_and_sample_every: int = 1000,
        results_folder: str | Path = "./results",
        num_sample_rows: int = 4,
        max_grad_norm: float | None = None,
        seed: int = 0,
    ) -> None:
        """As published. `num_frames` is the model's; `amp` computes in fp16 on CUDA and bf16 elsewhere. The order of
        the clips and all noise come from `seed`."""
        model = diffusion_model
        if num_frames not in (None, model.num_frames):
            raise ModelError(
                f'"num_frames" is {num_frames}, but the model is for {model.num_frames} frames. Leave it out.'
            )
        self.model = model
        self.results_folder = Path(results_folder)
        self.save_and_sample_every = save_and_sample_every
        tree = {
            "global_batch": train_batch_size * gradient_accumulate_every,
            "micro_batch": train_batch_size,
            "steps": train_num_steps,
            "lr": train_lr,
            "clip": max_grad_norm,
            "ema": ema_decay,
            "ema_from": step_start_ema,
            "ema_every": update_ema_every,
            "seed": seed,
            "precision": ("fp16" if model.device.type == "cuda" else "bf16") if amp else "float32",
            "log_every": 1,
            "checkpoint_every": save_and_sample_every,
            "keep": KEEP_ALL,
            "sample_every": save_and_sample_every,
            "sample_videos": num_sample_rows**2,
            "sample_steps": min(GRID_STEPS, model.num_timesteps),
            "sample_scale": 1.0,
            "sample_format": "gif",
            "tensorboard": False,
        }
        settings = checked(TrainSettings, tree, "Trainer", ARGUMENTS)
        told = model.denoise_fn.has_cond
        if told and not model.encoder_named and model.denoise_fn.cond_dim != BERT_SIZE:
            raise ModelError(
                f"The network is told vectors of {model.denoise_fn.cond_dim} numbers, and a Trainer tells it the texts "
                f"beside the GIFs (clip.gif, clip.txt). Name a text encoder whose states are as wide "
                '(GaussianDiffusion(…, text_encoder="a folder")), or train by your own loop, which gives vectors: '
                "diffusion(videos, cond=vectors).backward()."
            )
        size = model.image_size, model.num_frames, model.channels
        clips = gif_clips(Path(folder), *size, captions=told, results=self.results_folder)
        with disk.disk_errors(self.results_folder):
            self.results_folder.mkdir(parents=True, exist_ok=True)
        self.loop = _Loop(video_model(model), Stream(clips, seed), settings, self.results_folder, World(), workers=0)
        self.loop.threshold = model.threshold

    @property
    def step(self) -> int:
        """Steps that are behind us."""
        return self.loop.done

    @property
    def ema_model(self) -> GaussianDiffusion:
        """A copy of the model with the averaged weights."""
        self.loop.state.average.swap()
        told = self.model.captions if self.model.denoise_fn.has_cond else None
        try:
            # The text encoder, which nothing changes, is the same one.
            return copy.deepcopy(self.model, {id(told): told}).eval()
        finally:
            self.loop.state.average.swap()

    def train(
        self,
        prob_focus_present: float = 0.0,
        focus_present_mask: Tensor | None = None,
        log_fn: LogFn | None = None,
    ) -> None:
        """All steps that are left. `log_fn` hears of each: its step, loss, learning rate, norm of the gradient, clips
        a second. `focus_present_mask` says which videos of a batch of `train_batch_size` have their frames apart."""
        tree = self.loop.settings.model_dump() | {"prob_focus_present": prob_focus_present}
        self.loop.settings = checked(TrainSettings, tree, "Trainer", ARGUMENTS)
        self.loop.mask = focus_present_mask
        self.loop.train(
            Progress((shown(Console(stderr=True)),)),
            None if log_fn is None else lambda step, entry: log_fn({"step": float(step), **entry}),
        )
        self.loop.finish()

    def save(self, milestone: int) -> None:
        """Everything that going on needs, as `model-<milestone>.safetensors`."""
        checkpoint.save(self._named(milestone), self.loop.state, self.loop.facts(), leads=True)

    def load(self, milestone: int) -> None:
        """Go on from what `save`, or training itself after `milestone · save_and_sample_every` steps, left behind; -1
        is the newest of all. Published `model-<milestone>.pt` are read too: they hold no optimizer."""
        path = self._newest() if milestone == -1 else self._found(milestone)
        if path.suffix == ".pt":
            self._load_published(path)
            return
        self.loop.load(path)

    def _load_published(self, path: Path) -> None:
        own = self.model.denoise_fn
        groups = {} if own.resnet_groups is None else {"groups": own.resnet_groups}
        trained, averaged = (
            read_published_unet(path, skip_from=own.skip_from, averaged=each, **groups) for each in (False, True)
        )
        for found in (trained, averaged):
            if differences := differing(own.state_dict(), found.weights):
                raise ModelError(f"{path}: is of another network: {'; '.join(differences)}.")
            if found.timesteps not in (None, self.model.num_timesteps):
                raise ModelError(other_timesteps(str(path), found.timesteps, self.model.num_timesteps))
        with torch.no_grad():
            for name, each in own.state_dict().items():
                each.copy_(trained.weights[name])
            for name, each in self._averages().items():
                each.copy_(averaged.weights[name])
        self.loop.done = trained.step

    def _averages(self) -> dict[str, Tensor]:
        start = "denoise_fn."
        return {name.removeprefix(start): each for name, each in self.loop.state.average.mean.items()}

    def _named(self, milestone: int) -> Path:
        return self.results_folder / f"model-{milestone}.safetensors"

    def _found(self, milestone: int) -> Path:
        step = milestone * self.save_and_sample_every
        tried = [
            self._named(milestone),
            checkpoint_path(self.results_folder, step),
            self.results_folder / f"model-{milestone}.pt",
        ]
        found = next((path for path in tried if path.is_file()), None)
        if found is None:
            raise MissingFileError(f"Milestone {milestone} is not there; looked for {', '.join(map(str, tried))}.")
        return found

    def _newest(self) -> Path:
        named = sorted(self.results_folder.glob("model-*.safetensors"))
        ours = [*checkpoints(self.results_folder), *named]
        if ours:
            return max(ours, key=lambda path: facts_of(path).step)
        published = sorted(self.results_folder.glob("model-*.pt"), key=lambda path: path.stat().st_mtime)
        if not published:
            raise MissingFileError(f"{self.results_folder}: holds no checkpoint to load. Train first, or name another.")
        return published[-1]


class _Loop(loop.Trainer):
    """The loop, with what only the published face asks for."""

    mask: Tensor | None = None
    threshold: float | None = None

    def focused(self, drawn: Draws) -> Tensor | None:
        if self.mask is None:
            return super().focused(drawn)
        if self.mask.shape != drawn.focus.shape:
            raise ModelError(
                f'"focus_present_mask" is {tuple(self.mask.shape)}, but a batch has {len(drawn.focus)} videos.'
            )
        return self.mask.to(self.device)

    def sample_plan(self) -> SamplePlan:
        plan = super().sample_plan()
        return SamplePlan(plan.steps, plan.seed, plan.scale, clip=True, threshold=self.threshold)


def video_model(diffusion: GaussianDiffusion) -> VideoModel:
    """The model as the tasks `train` and `sample` know it. The network is the same one, not a copy."""
    network, side = diffusion.denoise_fn, diffusion.image_size
    conditioner: Conditioner = diffusion.captions if network.has_cond else Nothing()
    condition = conditioner.condition if network.has_cond else Condition()
    shape = VideoShape(diffusion.num_frames, diffusion.channels, side, side)
    backbone = Unet3DConfig.of(network).model_copy(
        update={"text_pooling": diffusion.pooling, "clock": diffusion.num_timesteps}
    )
    config = VideoModelConfig(
        size=(side, side),
        frames=diffusion.num_frames,
        frame_channels=1 if diffusion.channels == 1 else 3,
        backbone=backbone,
        condition=TextConditionConfig(
            encoder=diffusion.text_encoder, tokens=LONGEST_TEXT, dropout=diffusion.cond_dropout
        )
        if network.has_cond
        else NoConditionConfig(),
        diffusion=diffusion.noise,
    )
    wrapped = VideoUnet(network, shape, condition, pooling=diffusion.pooling, clock=diffusion.num_timesteps)
    space = PixelSpace(shape, diffusion.device)
    return VideoModel(config, wrapped, diffusion.objective, space, conditioner)
