"""How the clips of published sets lie in folders: from a folder to a list of clips with their classes."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from diffsynth.config.fields import GLOB
from diffsynth.errors import MediaError
from diffsynth.images import natural_key
from diffsynth.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES


@dataclass(frozen=True)
class Listed:
    """One clip: a video, or a folder of numbered images. `name` is its path below the set's folder."""

    path: Path
    name: str
    kind: str | None = None
    """The class that it belongs to."""


def clips_below(folder: Path) -> Iterator[Path]:
    """All videos and all folders that hold images, in an order that depends on their names alone."""
    for root, inner, files in os.walk(folder, followlinks=True):
        here = Path(root)
        inner[:] = sorted(
            (each for each in inner if not each.startswith(".") and not _leads_back(here / each)), key=natural_key
        )
        visible = [each for each in files if not each.startswith(".")]
        if here != folder and any(Path(each).suffix.lower() in IMAGE_SUFFIXES for each in visible):
            yield here
        yield from (
            here / each for each in sorted(visible, key=natural_key) if Path(each).suffix.lower() in VIDEO_SUFFIXES
        )


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that it lies in: who follows it, finds the same clips over and over."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return any(target == each.resolve() for each in folder.absolute().parents)


def _plain(folder: Path, clip: Path) -> str | None:
    return None


def _by_folder(folder: Path, clip: Path) -> str | None:
    parts = clip.relative_to(folder).parts
    if len(parts) < 2:
        raise MediaError(
            f"{clip}: lies in no class folder. With class folders, each clip lies in a folder named after its class; "
            'set "type": "folder" for clips without classes.'
        )
    return parts[0]


def _by_ucf_name(folder: Path, clip: Path) -> str | None:
    parts = clip.stem.split("_")
    if len(parts) < 4 or parts[0] != "v":
        raise MediaError(
            f"{clip}: is not named like a clip of UCF101 (v_ApplyEyeMakeup_g01_c01.avi). "
            'Move it away, or set "type": "class_folders".'
        )
    return parts[1]


LAYOUTS: Mapping[str, Callable[[Path, Path], str | None]] = {
    "folder": _plain,
    "class_folders": _by_folder,
    "ucf101": _by_ucf_name,
    "faceforensics": _plain,
    "sky_timelapse": _plain,
    "taichi": _plain,
}
"""For each layout, how a clip's class is told from its place."""


def split_folder(folder: Path, split: str | None) -> Path:
    """The part of a set that holds its training or test clips: `folder/train`, or `folder/…_train` as in SkyTimelapse.

    A set that isn't split into folders is taken whole only where no split is asked for.
    """
    if split is None:
        return folder
    found = sorted(each for each in folder.iterdir() if each.is_dir() and each.name.rpartition("_")[2] == split)
    if len(found) != 1:
        there = ", ".join(sorted(each.name for each in folder.iterdir() if each.is_dir())[:8]) or "no folder"
        raise MediaError(f'{folder}: has no part "{split}" (there is: {there}). Leave "split" out to use all of it.')
    return found[0]


def listed(folder: Path, layout: str, split: str | None = None, filters: tuple[Path, ...] = ()) -> list[Listed]:
    """The clips of a set. Raises `MediaError` where there is none."""
    folder = split_folder(folder, split)
    wanted = names_in(filters) if filters else None
    patterns = _patterns(wanted or ())
    kind_of = LAYOUTS[layout]
    found = []
    for path in clips_below(folder):
        name = path.relative_to(folder).as_posix()
        stem = _stem(name)
        if wanted is None or stem in wanted or any(fnmatchcase(stem, each) for each in patterns):
            found.append(Listed(path, name, kind_of(folder, path)))
    if not found:
        what = "no clip" if wanted is None else f"no clip that its filter lists name, such as {min(wanted)}"
        known = ", ".join(sorted(VIDEO_SUFFIXES))
        raise MediaError(f"{folder}: holds {what}. A clip is a video ({known}) or a folder of numbered images.")
    return found


def absent_names(found: Sequence[Listed], filters: tuple[Path, ...]) -> list[str]:
    """What filter lists name and no clip is called."""
    stems = {_stem(each.name) for each in found}
    left = names_in(filters) - stems
    return sorted(left - {each for each in _patterns(left) if any(fnmatchcase(stem, each) for stem in stems)})


def _patterns(names: Iterable[str]) -> list[str]:
    return [each for each in names if GLOB.search(each)]


def names_in(lists: tuple[Path, ...]) -> frozenset[str]:
    """The clips that filter lists name: one a line, with or without folder, suffix, and a label behind it; or patterns
    of names, such as `*_PushUps*`."""
    names = set()
    for path in lists:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            raise MediaError(f"{path}: is no list of clips ({problem}).") from None
        for line in lines:
            name = line.strip()
            head, _, label = name.rpartition(" ")
            if name:
                names.add(_stem(head if head and label.isdigit() else name))
    if lists and not names:
        raise MediaError(f'{", ".join(map(str, lists))}: names no clip. Write one a line, or leave "filter" out.')
    return frozenset(names)


def _stem(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return last[: -len(Path(last).suffix)] if Path(last).suffix.lower() in VIDEO_SUFFIXES else last
