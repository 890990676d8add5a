"""The clean latents of a clip's own frames, with the user's painted ones in their places."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from diffsynth.arrays import ArrayStore, ArrayWriter
from diffsynth.cache import ContentCache, frames_digest
from diffsynth.frames import FrameStore, Image
from diffsynth.progress import Progress
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sd.vae import Vae
from diffsynth.tasks.kept import Painted


class Originals:
    """Encoded once one of them is asked for, and kept on disk: the clip's in the cache, since another prompt asks for
    the same ones; the painted frames' in `folder`."""

    def __init__(
        self, vae: Vae, vae_identity: str, source: FrameStore, painted: Painted, folder: Path, progress: Progress
    ) -> None:
        self._vae, self._vae_identity = vae, vae_identity
        self._source, self._painted, self._folder = source, painted, folder
        self._progress = progress
        self._order = {frame: place for place, frame in enumerate(sorted(painted.paths))}

    def of(self, frame: int) -> Tensor:
        """(C, h, w) float32 on the CPU."""
        place = self._order.get(frame)
        store, number = (self._clip, frame) if place is None else (self._own, place)
        return torch.from_numpy(store.read([number])[0])

    @cached_property
    def _own(self) -> ArrayStore:
        frames = list(self._order)
        return self._encoded(self._folder, len(frames), lambda number: self._painted[frames[number]])

    @cached_property
    def _clip(self) -> ArrayStore:
        placement, source = self._vae.placement, self._source
        key = {
            "latents": frames_digest(source),
            "vae": self._vae_identity,
            "dtype": str(placement.dtype),
            "device": placement.device.type,
            "threads": torch.get_num_threads(),
        }
        return ContentCache.of_user().get(
            key, lambda folder: self._encoded(folder / "latents", len(source), source.__getitem__)
        )

    def _encoded(self, folder: Path, count: int, picture: Callable[[int], Image]) -> ArrayStore:
        shape = (self._vae.channels, self._source.height // LATENT_SCALE, self._source.width // LATENT_SCALE)
        with ArrayWriter(folder, shape) as writer, self._progress.stage("encode", count, writer.count) as stage:
            while writer.count < count:
                writer.append(self._vae.encode([picture(writer.count)]).numpy())
                stage.advance()
        return ArrayStore(folder)
