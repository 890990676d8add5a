"""Taking the flicker out between two steps: decode what a step aims at, smooth it as a clip, encode it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from diffsynth.diffusion.denoise import Clean, Read
from diffsynth.diffusion.schedule import Step
from diffsynth.frames import FrameStore, Image, is_complete
from diffsynth.progress import Progress
from diffsynth.sd.vae import Vae
from diffsynth.smoothers.base import Prepared, append_like, smooth_into, writer_like

Finish = Callable[[int, Image], Image]
"""A decoded frame, by its number, as it is written."""


@dataclass(frozen=True)
class SmoothingEdit:
    """Smooths in the first step and in every `interval`-th after it, but not in the last `ignored` ones."""

    vae: Vae
    prepared: Prepared
    source: FrameStore
    """The clip that leads the smoother, at the size of the pictures."""
    interval: int
    ignored: int
    progress: Progress

    def due(self, step: Step, steps: int) -> bool:
        return step.index < steps - self.ignored and step.index % self.interval == 0

    def edited(self, clean: Clean, folder: Path) -> Read:
        styled = decode_into(self.vae, clean, self.source, folder / "styled")
        smoothed = smooth_into(self.prepared, styled, styled, folder / "smoothed", folder / "tables", self.progress)

        def read(positions: Sequence[int]) -> Tensor:
            return self.vae.encode([smoothed[position] for position in positions])

        return read


def decode_into(vae: Vae, clean: Clean, like: FrameStore, path: Path, finish: Finish | None = None) -> FrameStore:
    """The frames of clean latents, with the alpha and times of `like`; unfinished work is continued."""
    if is_complete(path):
        return FrameStore(path)
    with writer_like(like, path) as writer:
        if writer.count < len(like):
            for chunk, latents in clean(writer.count):
                # A chunk that was cut short is computed again as a whole; what was written of it stays.
                for latent in latents[writer.count - chunk.start :]:
                    frame = vae.decode(latent)
                    append_like(writer, frame if finish is None else finish(writer.count, frame), like)
        return writer.finish()
