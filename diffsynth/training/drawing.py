"""What draws videos: a model of ours, or diffusers' LattePipeline; both say videos as bytes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from diffsynth.models.latte_pipeline import Making, TextToVideo, Wanted
from diffsynth.runtime import Runtime, derive_seed
from diffsynth.training.data.example import Pixels
from diffsynth.training.loading_model import load_model
from diffsynth.training.sampling import SamplePlan, draw
from diffsynth.training.video_model import VideoModel
from diffsynth.training.wishes import Wish

Watch = Callable[[Sequence[Wish], int, Pixels], None]
"""Hears of each step: for what, its index, and the videos (B, F, H, W, C) on their way."""


class Drawer(Protocol):
    """Draws videos (F, H, W, C), each from the seed and its index alone."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def frames(self) -> int: ...

    def videos(self, chunks: Sequence[Sequence[Wish]], watch: Watch | None) -> Iterator[tuple[Wish, Pixels]]:
        """All wishes in order. What is in one chunk may be drawn together."""
        ...


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

    def videos(self, chunks: Sequence[Sequence[Wish]], watch: Watch | None) -> Iterator[tuple[Wish, Pixels]]:
        decode = self.model.space.decode
        for chunk in chunks:

            def seen(step: int, x: Tensor, chunk: Sequence[Wish] = chunk) -> None:
                if watch is not None:
                    watch(chunk, step, decode(x).numpy())

            videos: Pixels = decode(draw(self.model, chunk, self.plan, seen)).numpy()
            yield from zip(chunk, videos, strict=True)


@dataclass(frozen=True)
class PipelineDrawer:
    """As `Drawer`: from text, by diffusers' LattePipeline."""

    maker: TextToVideo
    making: Making
    negative: str
    seed: int

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    @property
    def frames(self) -> int:
        return self.making.frames

    def videos(self, chunks: Sequence[Sequence[Wish]], watch: Watch | None) -> Iterator[tuple[Wish, Pixels]]:
        wishes = [each for chunk in chunks for each in chunk]
        wanted = [
            Wanted(each.prompt or "", derive_seed(self.seed, "sample", each.index), self.negative) for each in wishes
        ]
        if wishes:
            yield from zip(wishes, self.maker.videos(wanted, self.making), strict=True)
