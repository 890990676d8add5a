"""Saved latents: what an encoder said of every frame of a set, on disk, and clips that are read from there.

latents.json              which autoencoder, of which clips, at which size
latents/000012.safetensors   `moments` (T, 2 · Z, h, w) of the clip with that number: means, then log variances
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from diffsynth.config import ConfigModel
from diffsynth.errors import MediaError, ModelError
from diffsynth.training.data.example import Chance, ClipSet, Drawn, Trouble, Unusable
from diffsynth.training.data.whole import names
from diffsynth.training.data.window import Window, positions

INDEX, FOLDER = "latents.json", "latents"
TENSOR = "moments"
FORMAT = "diffsynth.latents/1"
KINDS = ("F32", "F16")
AGAIN = "delete it, and run `save_latents` again"


class Entry(ConfigModel):
    """The latents of one clip."""

    name: str
    file: Annotated[str, Field(pattern=rf"^{FOLDER}/[\w.-]+$")]
    frames: int
    label: int | None = None
    caption: str | None = None


class Index(ConfigModel):
    """What a folder of latents says of itself."""

    format: str = FORMAT
    vae: str
    """What the config called the autoencoder."""
    vae_sha256: str
    size: tuple[int, int] = Field(strict=False)
    frame_channels: int
    stretched: bool = False
    """Whether frames were stretched to the size, and not cut to its aspect first."""
    classes: tuple[str, ...] = Field((), strict=False)
    clips: tuple[Entry, ...] = Field(strict=False)


def read_index(folder: Path) -> Index:
    path = folder / INDEX
    if not path.is_file():
        raise ModelError(
            f"{folder}: holds no latents ({INDEX} is not there). Name the folder of a finished run of `save_latents`."
        )
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _modified: int) -> Index:
    try:
        return Index.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as problem:
        raise ModelError(f"{path}: is damaged ({problem}). Save the latents again.") from None


@dataclass(frozen=True)
class LatentClips:
    """As `ClipSet`, of moments in place of bytes."""

    folder: Path
    entries: tuple[Entry, ...]
    window: Window
    shape: tuple[int, int, int]
    """(2 · Z, h, w) of each frame's moments."""
    classes: tuple[str, ...]
    fingerprint: str
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def clip(self, number: int, chance: Chance) -> Drawn:
        return self._part(number, self.window, chance)

    @property
    def picture_count(self) -> int:
        return len(self.entries)

    def image(self, number: int, chance: Chance) -> Drawn:
        return self._part(number, Window(1), chance)

    def _part(self, number: int, window: Window, chance: Chance) -> Drawn:
        entry = self.entries[number]
        path = self.folder / entry.file
        wanted = positions(window, entry.frames, float(chance.random()))
        if wanted is None:
            raise Unusable(Trouble(path, f"has {entry.frames} frames; {window.span} are needed", too_short=True))
        return Drawn(_moments(path, wanted, self.shape), entry.label, entry.caption)


def saved_clips(
    folder: Path, clips: ClipSet, window: Window, shape: tuple[int, int, int], *, captions: bool
) -> LatentClips:
    """The clips of a set, from its latents. `MediaError` where the latents are of others, lack a caption, or aren't all
    there."""
    index = read_index(folder)
    by_name = {each.name: each for each in index.clips}
    wanted = names(clips)
    found = [by_name[each] for each in wanted if each in by_name]
    if not found:
        raise MediaError(
            f"{folder}: its latents are of other clips than the data set's: there is none of {wanted[0]}. "
            "Save latents of this set."
        )
    without = [each.name for each in found if not each.caption]
    if captions and without:
        raise MediaError(
            f'{folder}: "condition" is "text", but {len(without)} of {len(found)} clips have no caption, among them '
            f'{without[0]}. Put a text beside each clip (clip.mp4 and clip.txt), set "captions": true, and save the '
            "latents again."
        )
    gone = [each.file for each in found if not (folder / each.file).is_file()]
    if gone:
        raise MediaError(
            f"{folder}: {len(gone)} of {len(found)} files that {INDEX} lists are not there, among them {gone[0]}. Run "
            "the config of `save_latents` again: it makes what is missing."
        )
    told = f"{len(wanted) - len(found)} of {len(wanted)} clips have no saved latents, and are left out."
    return LatentClips(
        folder,
        tuple(found),
        window,
        shape,
        index.classes,
        f"{clips.fingerprint}-{index.vae_sha256[:16]}",
        (told,) if len(found) < len(wanted) else (),
    )


def require_made_by(folder: Path, reference: str, fingerprint: str) -> None:
    """`ModelError` where latents are another autoencoder's."""
    index = read_index(folder)
    if index.vae_sha256 != fingerprint:
        made_by = f"{index.vae} ({index.vae_sha256[:12]}…)"
        raise ModelError(
            f'{folder}: its latents were made by another autoencoder, {made_by}, than "vae", which is {reference} '
            f"({fingerprint[:12]}…). Name the one that made them, or save latents again with this one."
        )


def require_size(folder: Path, size: tuple[int, int], frame_channels: int, *, stretched: bool) -> None:
    """`MediaError` where latents are of frames of another size, or that were brought to it otherwise."""
    index = read_index(folder)
    if index.stretched != stretched:
        one, other = ("stretched", "cut") if index.stretched else ("cut", "stretched")
        raise MediaError(
            f'{folder}: its latents are of frames that were {one} to their size, but by "centre_square_crop" the data '
            f"set's are {other}. Set it as it was then, or save latents again."
        )
    if index.size != size or index.frame_channels != frame_channels:
        raise MediaError(
            f"{folder}: its latents are of frames of {_words(index.size, index.frame_channels)}, but the data set says "
            f'{_words(size, frame_channels)}. Set "size" and "frame_channels" to the former, or save latents again.'
        )


def _words(size: tuple[int, int], channels: int) -> str:
    return f"{size[0]}×{size[1]} in {'grey' if channels == 1 else 'colour'}"


def _moments(path: Path, wanted: list[int], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Only the frames asked for are read."""
    from safetensors import SafetensorError, safe_open

    first, beyond = min(wanted), max(wanted) + 1
    try:
        file: Any
        with safe_open(path, "np") as file:
            there = file.get_slice(TENSOR)
            found = tuple(there.get_shape()[1:])
            if found != shape or there.get_dtype() not in KINDS:
                raise Unusable(
                    Trouble(path, f"holds {found} {there.get_dtype()} a frame, and not {shape} F32; {AGAIN}")
                )
            part = there[first:beyond]
    except (OSError, SafetensorError) as problem:
        raise Unusable(Trouble(path, f"can't be read ({problem}); {AGAIN}")) from None
    if not np.isfinite(part).all():
        raise Unusable(Trouble(path, f"holds NaN or infinite numbers; {AGAIN}"))
    return np.ascontiguousarray(part[[each - first for each in wanted]], np.float32)
