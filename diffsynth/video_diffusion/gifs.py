"""A folder of GIFs as a data set: each of one size, cut or gone on with in black to one number of frames."""

import struct
from collections.abc import Sequence
from pathlib import Path

from diffsynth.errors import MediaError, MissingFileError
from diffsynth.training.data.files import FileClips
from diffsynth.training.data.listing import Listed, clips_below
from diffsynth.training.data.window import View, Window

SHOWN = 3
HEADER = 10
"""Bytes of a GIF that hold its mark and its size."""


def gif_clips(
    folder: Path, side: int, frames: int, channels: int, *, captions: bool, results: Path | None = None
) -> FileClips:
    """All `.gif` below a folder but not below `results`, in an order that hangs on their names; with `captions`, each
    has a `.txt`."""
    if channels not in (1, 3):
        raise MediaError(f"GIFs are read as grey (1) or colour (3), not with {channels} channels.")
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: is no folder. Name the one that holds the GIFs to learn from.")
    drawn = results and results.resolve()
    clips = [each for each in clips_below(folder) if not (drawn and each.parent.resolve().is_relative_to(drawn))]
    gifs = [each for each in clips if each.suffix.lower() == ".gif"]
    if not gifs:
        there = f" It holds {len(clips)} clips of other kinds." if clips else ""
        raise MediaError(
            f"{folder}: holds no .gif, in it or below.{there} Other videos are read by the task `train` "
            '("dataset": {"type": "folder"}).'
        )
    _require_size(gifs, side)
    if captions:
        _require_captions(gifs)
    listing = tuple(Listed(each, str(each.relative_to(folder))) for each in gifs)
    return FileClips(listing, Window(frames, 1, "black", from_start=True), View(side, side, channels), captions)


def _require_size(paths: Sequence[Path], side: int) -> None:
    wrong = [(path, found) for path in paths if (found := _size(path)) != (side, side)]
    if wrong:
        told = "\n".join(
            f"  {path}: {found[0]}×{found[1]}" if found else f"  {path}: no GIF that can be read"
            for path, found in wrong[:SHOWN]
        )
        raise MediaError(
            f"{len(wrong)} of {len(paths)} GIFs are not {side}×{side}, as image_size says; the first:\n{told}\n"
            "Scale or remove them, change image_size, or use the task `train`, which cuts and scales."
        )


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height, of which the head of the file tells; None where it is no GIF."""
    try:
        with path.open("rb") as file:
            head = file.read(HEADER)
    except OSError:  # a link that leads nowhere, or a file of somebody else's
        return None
    if len(head) < HEADER or not head.startswith((b"GIF87a", b"GIF89a")):
        return None
    width, height = struct.unpack("<HH", head[6:])
    return width, height


def _require_captions(paths: Sequence[Path]) -> None:
    missing = [path for path in paths if not path.with_suffix(".txt").is_file()]
    if missing:
        names = ", ".join(str(path.with_suffix(".txt")) for path in missing[:SHOWN])
        raise MediaError(
            f"The network is told text, but {len(missing)} of {len(paths)} GIFs have none beside them: "
            f"{names}{', …' if len(missing) > SHOWN else ''} is missing. Write them, or remove these GIFs."
        )
