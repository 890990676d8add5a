"""Deep features of a denoiser between two steps: one in every few computes them, the others take them up again."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffsynth.attention.patterns import Reference, Source
from diffsynth.diffusion.schedule import Step
from diffsynth.disk import disk_errors, write_all
from diffsynth.errors import StoreError


@dataclass(frozen=True)
class FeatureCache:
    """On disk, frame by frame. References lie behind the clip's frames."""

    folder: Path
    interval: int
    frames: int
    shape: tuple[int, int, int]
    """(C, h, w) of a row's features."""
    dtype: str

    def computes(self, step: Step) -> bool:
        """Whether this step goes through the whole networks."""
        return step.index % self.interval == 0

    def keep(self, step: Step, rows: Sequence[Source], features: Tensor) -> None:
        """(sides, rows, C, h, w), durable once this returns."""
        found = features.transpose(0, 1).float().cpu().numpy().astype(self.dtype)
        size = found[0].nbytes
        with self._opened(step, os.O_RDWR | os.O_CREAT) as file:
            for row, each in zip(rows, found, strict=True):
                write_all(file, np.ascontiguousarray(each).tobytes(), self._place(row) * size)
            os.fsync(file)
        self._discard_older(step)

    def recall(self, step: Step, rows: Sequence[Source], sides: int) -> Tensor:
        """What was kept in the last step that computed, (sides, rows, C, h, w)."""
        shape = (sides, *self.shape)
        size = math.prod(shape) * np.dtype(self.dtype).itemsize
        found = np.empty((len(rows), *shape), self.dtype)
        with self._opened(step, os.O_RDONLY) as file:
            for row, each in zip(rows, found, strict=True):
                data = os.pread(file, size, self._place(row) * size)
                if len(data) != size:
                    raise StoreError(f"{self._path(step)}: ends too early. Run with --fresh.")
                each[...] = np.frombuffer(data, self.dtype).reshape(shape)
        return torch.from_numpy(found).transpose(0, 1).float()

    def _place(self, row: Source) -> int:
        return self.frames + row.number if isinstance(row, Reference) else row

    def _path(self, step: Step) -> Path:
        return self.folder / f"{step.index - step.index % self.interval:03}.bin"

    @contextmanager
    def _opened(self, step: Step, flags: int) -> Iterator[int]:
        path = self._path(step)
        with disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, flags, 0o666)
            try:
                yield file
            finally:
                os.close(file)

    def _discard_older(self, step: Step) -> None:
        """A step that computes needs none of what was kept before."""
        for path in self.folder.glob("*.bin"):
            if path != self._path(step):
                path.unlink()
