"""Clips of a set from beginning to end, frame by frame: for what is done once with each frame."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diffsynth.config import Contradiction
from diffsynth.errors import DiffSynthError, StoreError
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import numpy_generator
from diffsynth.training.data import DatasetConfig
from diffsynth.training.data.example import ClipSet, Pixels, Trouble, Unusable
from diffsynth.training.data.files import FileClips, FilesConfig
from diffsynth.training.data.window import View, as_channels, geometry_of


@dataclass(frozen=True)
class Whole:
    """One clip."""

    name: str
    """By which the clip is known: its path below the set's folder; of a drawn set, its number and the set's print."""
    stem: str
    """For names of files."""
    frames: Callable[[], Iterator[Pixels]]
    """(H, W, C), one after the other. Raises `Unusable` where a file is corrupt."""
    label: int | None = None
    caption: str | None = None


def whole(clips: ClipSet, number: int) -> Whole:
    """One clip of a set."""
    if not isinstance(clips, FileClips):
        return _drawn(clips, number)
    listed = clips.listing[number]
    return Whole(
        listed.name,
        Path(listed.name).with_suffix("").as_posix().replace("/", "__"),
        partial(_read, listed.path, clips.view),
        clips.label_of(number),
        clips.caption_if_any(number),
    )


def names(clips: ClipSet) -> list[str]:
    """As `Whole.name`, and nothing is read for it."""
    if isinstance(clips, FileClips):
        return [each.name for each in clips.listing]
    return [_drawn_name(clips, number) for number in range(len(clips))]


def require_same(run: RunFolder, clips: ClipSet) -> None:
    """Note which clips a run is of. `StoreError` where an earlier part of it was of others."""
    if run.record.setdefault("data", clips.fingerprint) != clips.fingerprint:
        raise StoreError(
            f"{run.path}: was begun with other clips: files were added to the data set, removed or changed. Bring them "
            "back, or use --fresh to begin anew."
        )
    run.save()


def chance_taken(dataset: DatasetConfig) -> Iterator[Contradiction]:
    """What of a set differs each time that a clip is read, and so can't be done once and for all."""
    if not isinstance(dataset, FilesConfig):
        return
    for key in ("random_crop", "flip"):
        if getattr(dataset, key):
            yield Contradiction(
                ("dataset",), f'"dataset.{key}" differs each time, but here each frame is looked at once. Leave it out.'
            )


def stretches(dataset: DatasetConfig) -> bool:
    """Whether frames are stretched to their size, and not cut to its aspect first."""
    return isinstance(dataset, FilesConfig) and not dataset.centre_square_crop


def _drawn_name(clips: ClipSet, number: int) -> str:
    return f"{clips.fingerprint}/{number:06}"


def _drawn(clips: ClipSet, number: int) -> Whole:
    """Nothing of a drawn clip hangs on chance: a clip is what its number says."""
    found = partial(clips.clip, number, numpy_generator(0))
    told = found()
    return Whole(_drawn_name(clips, number), f"{number:06}", lambda: iter(found().pixels), told.label, told.caption)


def _read(path: Path, view: View) -> Iterator[Pixels]:
    from diffsynth.video.clip import open_clip
    from diffsynth.video.options import Geometry, Selection

    try:
        clip = open_clip(path, geometry=Geometry(mode="stretch"))
        chosen = clip.viewed(Selection(), geometry_of(view, clip))
        for frame in chosen.frames():
            yield as_channels(frame.rgb, view.channels)
    except DiffSynthError as problem:
        raise Unusable(Trouble.of(path, problem)) from None
    if chosen.damage.frames:
        raise Unusable(Trouble(path, chosen.damage.report(chosen.time_base) or "damaged"))
