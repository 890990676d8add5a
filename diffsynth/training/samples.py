"""Reading drawn videos back, and clips of a data set to hold them against."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from diffsynth.errors import MediaError
from diffsynth.images import read_image
from diffsynth.progress import Progress
from diffsynth.runtime import numpy_generator
from diffsynth.training.data import ClipSetConfig, DatasetConfig
from diffsynth.training.data.example import ClipSet, Pixels, Unusable
from diffsynth.training.data.listing import listed
from diffsynth.training.data.stream import Stream
from diffsynth.training.data.window import View, Window, as_channels, read_window
from diffsynth.training.pictures import frames_of

LIST, STRIPS = "samples.json", "strips"


@dataclass(frozen=True)
class Listed:
    """A sample on disk."""

    path: Path
    label: int | None = None
    frames: int | None = None
    """How many lie side by side in a strip; None for a video."""


@dataclass(frozen=True)
class Videos(Sequence[Pixels]):
    """Videos that are read when they are looked at: sets are larger than memories."""

    numbers: range
    read: Callable[[int], Pixels]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Pixels: ...
    @overload
    def __getitem__(self, place: slice) -> "Videos": ...
    def __getitem__(self, place: int | slice) -> "Pixels | Videos":
        chosen = self.numbers[place]
        return Videos(chosen, self.read) if isinstance(chosen, range) else self.read(chosen)


def source_of(folder: Path) -> Path:
    """The part of a folder of samples that its content is known by."""
    return folder / STRIPS if (folder / LIST).is_file() else folder


def listed_samples(folder: Path) -> list[Listed]:
    """The videos of a run of `sample`, or of any folder."""
    if not (folder / LIST).is_file() and (folder / STRIPS).is_dir():
        raise MediaError(
            f"{folder}: is a run of `sample` that isn't finished: {LIST} isn't there yet. Run its config again first."
        )
    if not (folder / LIST).is_file():
        return [Listed(each.path) for each in listed(folder, "folder")]
    try:
        tree = json.loads((folder / LIST).read_text(encoding="utf-8"))
        return [Listed(folder / each["strip"], each.get("label"), tree["frames"]) for each in tree["videos"]]
    except (ValueError, KeyError, TypeError) as problem:
        raise MediaError(f"{folder / LIST}: is damaged ({problem}). Draw the samples again.") from None


def read_samples(samples: Sequence[Listed], wanted: DatasetConfig) -> Videos:
    """All frames of each video, at the data set's size."""
    return Videos(range(len(samples)), lambda number: _pixels(samples[number], wanted))


def _pixels(sample: Listed, wanted: ClipSetConfig) -> Pixels:
    height, width = wanted.size
    if sample.frames is None:
        view = View(height, width, wanted.frame_channels)
        try:
            return read_window(sample.path, Window(wanted.frames), view, numpy_generator(0, "samples"))
        except Unusable as problem:
            raise MediaError(f"{sample.path}: {problem}.") from None
    if sample.frames != wanted.frames:
        raise MediaError(
            f'{sample.path}: has {sample.frames} frames, but "dataset.frames" is {wanted.frames}. Set it to what the '
            "samples have."
        )
    frames = frames_of(read_image(sample.path)[0], sample.frames, 3)
    if frames.shape[1:3] != (height, width):
        found = "×".join(map(str, frames.shape[1:3]))
        raise MediaError(
            f'{sample.path}: its frames are {found}, but "dataset.size" is {height}×{width}. Set it to what '
            "the samples have."
        )
    return as_channels(frames, wanted.frame_channels)


def read_reference(clips: ClipSet, count: int, seed: int, progress: Progress) -> Videos:
    """Clips of a data set, each once as far as there are so many."""
    stream = Stream(clips, seed)
    if count > len(clips):
        progress.note(f"The data set has {len(clips)} clips; {count} are asked for, so some count more than once.")
    return Videos(range(count), lambda number: stream[number].pixels)
