"""The clips that `--input` names, and a folder name for each."""

import glob
import os
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path

from diffsynth.errors import MissingFileError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".mov", ".mkv", ".webm", ".avi", ".gif", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".mts"}
)


def expand(arguments: Iterable[str]) -> list[str]:
    """One entry a clip: a glob or a folder of videos is many clips; of images, it is one."""
    found = {argument: _clips(argument) for argument in dict.fromkeys(arguments)}
    missing = [f"--input {argument}: nothing is there." for argument, clips in found.items() if not clips]
    if missing:
        raise MissingFileError("\n".join(missing))
    return list(dict.fromkeys(chain.from_iterable(found.values())))


def _clips(argument: str) -> list[str]:
    path = Path(os.path.expanduser(argument))  # noqa: PTH111 - Path's raises where it knows no such user
    if path.is_dir():
        videos = sorted(str(each) for each in path.iterdir() if each.suffix.lower() in VIDEO_SUFFIXES)
        holds_images = any(each.suffix.lower() in IMAGE_SUFFIXES for each in path.iterdir())
        return videos if videos and not holds_images else [str(path)]
    if path.exists():
        return [str(path)]
    found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    return [str(path)] if found and all(Path(each).suffix.lower() in IMAGE_SUFFIXES for each in found) else found


def folder_names(paths: Sequence[Path]) -> list[str]:
    """A distinct name for each path: its stem; where stems meet, its name; where names meet, its folder's name too."""
    stems = [_plain(path.stem) for path in paths]
    names = [_plain(path.name) for path in paths]
    longs = [_plain(f"{path.absolute().parent.name}_{path.name}") for path in paths]
    chosen: list[str] = []
    for stem, name, long in zip(stems, names, longs, strict=True):
        best = stem if stems.count(stem) == 1 else name if names.count(name) == 1 else long
        numbered = (f"{best}_{number}" for number in count(2))
        chosen.append(next(each for each in chain([best], numbered) if each not in chosen))
    return chosen


def _plain(name: str) -> str:
    """A name that is one folder on every system, whatever a clip was called."""
    kept = "".join(each if each.isalnum() or each in "-_. " else "_" for each in name).strip(" .")
    return kept or "clip"
