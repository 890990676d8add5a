"""From examples to batches of tensors, decoded by worker processes ahead of their use."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from diffsynth.errors import MediaError
from diffsynth.training.data.example import Labels, Texts, Trouble
from diffsynth.training.data.stream import Example, Stream


@dataclass(frozen=True)
class Batch:
    """Examples side by side."""

    indices: tuple[int, ...]
    pixels: Tensor
    """(B, F + I, H, W, C) uint8."""
    labels: Labels
    captions: Texts
    troubles: tuple[Trouble, ...]

    def __len__(self) -> int:
        return len(self.indices)


def collate(examples: Sequence[Example]) -> Batch:
    return Batch(
        tuple(each.index for each in examples),
        torch.stack([torch.from_numpy(each.pixels) for each in examples]),
        tuple(each.labels for each in examples),
        tuple(each.captions for each in examples),
        tuple(trouble for each in examples for trouble in each.troubles),
    )


class _Examples(Dataset["Example | MediaError"]):
    """A stream as torch's loader wants it. An error is handed over, not raised: on its way from a worker process, the
    loader would wrap a traceback around its words."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, index: int) -> Example | MediaError:
        try:
            return self.stream[index]
        except MediaError as problem:
            return problem


def _handed(examples: Sequence[Example | MediaError]) -> Batch | MediaError:
    good = [each for each in examples if isinstance(each, Example)]
    problems = [each for each in examples if isinstance(each, MediaError)]
    return problems[0] if problems else collate(good)


def batches(stream: Stream, plan: Iterable[Sequence[int]], workers: int) -> Iterator[Batch]:
    """One batch for each entry of `plan`, in its order: the examples with those places in the sequence."""
    loader = DataLoader(
        _Examples(stream),
        batch_sampler=plan,  # type: ignore[arg-type]  # any iterable of lists does
        num_workers=workers,
        collate_fn=_handed,
        prefetch_factor=4 if workers else None,
    )
    for batch in loader:
        if isinstance(batch, MediaError):
            raise batch
        yield batch


class Troubles:
    """Tells of each file that was passed over, once."""

    def __init__(self) -> None:
        self._told: set[Path] = set()

    def new(self, troubles: Sequence[Trouble]) -> Iterator[str]:
        for each in troubles:
            if each.path not in self._told:
                self._told.add(each.path)
                yield f"{each.path}: passed over: {each.reason}."
