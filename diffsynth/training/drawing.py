"""What draws videos: a model of ours, or diffusers' LattePipeline; both say videos as bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from diffsynth.runtime import Runtime
from diffsynth.training.data.example import Pixels
from diffsynth.training.loading_model import load_model
from diffsynth.training.sampling import SamplePlan, draw
from diffsynth.training.video_model import VideoModel
from diffsynth.training.wishes import Wish

Watch = Callable[[int, Pixels], None]
"""Hears of each step: its index, and the videos (B, F, H, W, C) on their way."""


class Drawer(Protocol):
    """Draws videos (B, F, H, W, C), each from the seed and its index alone."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def frames(self) -> int: ...

    def draw(self, wishes: Sequence[Wish], watch: Watch | None) -> Pixels: ...


@dataclass(frozen=True)
class ModelDrawer:
    """As `Drawer`: a model of the task `train`, or a published Latte."""

    model: VideoModel
    plan: SamplePlan

    @classmethod
    def load(cls, checkpoint: Path, vae: str | None, plan: SamplePlan, runtime: Runtime) -> "ModelDrawer":
        model = load_model(checkpoint, runtime, vae)
        return cls(model, plan.for_space(model.config.space))

    @property
    def classes(self) -> tuple[str, ...]:
        return self.model.config.classes

    @property
    def frames(self) -> int:
        return self.model.config.frames

    def draw(self, wishes: Sequence[Wish], watch: Watch | None) -> Pixels:
        decode = self.model.space.decode

        def seen(step: int, x: Tensor) -> None:
            if watch is not None:
                watch(step, decode(x).numpy())

        videos: Pixels = decode(draw(self.model, wishes, self.plan, seen)).numpy()
        return videos
