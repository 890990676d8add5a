"""Reading a few frames out of a clip: which ones, which part of the picture, and what to do where there are too few."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from diffsynth.errors import DiffSynthError
from diffsynth.training.data.example import Chance, Pixels, Trouble, Unusable
from diffsynth.video.options import Geometry, Selection

if TYPE_CHECKING:
    from diffsynth.video.clip import Clip

ShortPolicy = Literal["skip", "loop", "hold", "black"]


@dataclass(frozen=True)
class View:
    """How frames are cut, scaled and turned."""

    height: int
    width: int
    channels: int = 3
    cut: Literal["centre", "random", "stretch"] = "centre"
    flip: bool = False


@dataclass(frozen=True)
class Window:
    """`frames` frames, each `interval` after the one before, from anywhere in the clip, or from its start."""

    frames: int
    interval: int = 1
    short: ShortPolicy = "skip"
    from_start: bool = False

    @property
    def span(self) -> int:
        return (self.frames - 1) * self.interval + 1


def positions(window: Window, count: int, place: float) -> list[int] | None:
    """The numbers of the frames to use of `count`; `place` in [0, 1) says where the window lies.

    A clip that is too short is left aside (None), begun again after its end, held at its last frame, or goes on in
    black: then there are fewer numbers.
    """
    place = 0.0 if window.from_start else place
    if count >= window.span:
        start = int(place * (count - window.span + 1))
        return [start + step * window.interval for step in range(window.frames)]
    steps = [step * window.interval for step in range(window.frames)]
    if window.short == "skip" or count == 0:
        return None
    if window.short == "loop":
        start = int(place * count)
        return [(start + step) % count for step in steps]
    if window.short == "black":
        return [step for step in steps if step < count]
    return [min(step, count - 1) for step in steps]


def read_window(path: Path, window: Window, view: View, chance: Chance) -> Pixels:
    """(F, H, W, C) from a place that `chance` draws. Raises `Unusable` for a corrupt or too short clip."""
    from diffsynth.video.clip import open_clip

    place, across, down, turned = chance.random(4)  # always four draws: an option doesn't shift the others
    try:
        clip = open_clip(path, geometry=Geometry(mode="stretch"))
        count = clip.info.frame_count if clip.info.frame_count_is_exact else counted(path)
        wanted = positions(window, count or 0, place)
        if wanted is None:
            raise Unusable(Trouble(path, f"has {count} frames; {window.span} are needed", too_short=True))
        frames = _read(clip, path, wanted, geometry_of(view, clip))
    except DiffSynthError as problem:
        raise Unusable(Trouble.of(path, problem)) from None
    top, left = int(down * (frames.shape[1] - view.height + 1)), int(across * (frames.shape[2] - view.width + 1))
    frames = frames[:, top : top + view.height, left : left + view.width]
    if view.flip and turned < 0.5:
        frames = frames[:, :, ::-1]
    if len(frames) < window.frames:
        frames = np.pad(frames, ((0, window.frames - len(frames)), (0, 0), (0, 0), (0, 0)))
    return as_channels(np.ascontiguousarray(frames), view.channels)


def as_channels(frames: Pixels, channels: int) -> Pixels:
    """RGB as it is, or as grey by the weights of BT.601."""
    if channels == 3:
        return frames
    grey = frames.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(grey).astype(np.uint8)[..., None]


def geometry_of(view: View, clip: "Clip") -> Geometry:
    """The size to read at: the target's, or, where a part is drawn later, the smallest that covers it."""
    if view.cut != "random":
        return Geometry(view.height, view.width, "crop" if view.cut == "centre" else "stretch")
    wide = clip.info.width * view.height >= clip.info.height * view.width
    return Geometry(height=view.height) if wide else Geometry(width=view.width)


def _read(clip: "Clip", path: Path, wanted: list[int], geometry: Geometry) -> Pixels:
    first, last = min(wanted), max(wanted)
    ordered = sorted(set(wanted))
    step = ordered[1] - ordered[0] if len(ordered) > 1 and len({*np.diff(ordered).tolist()}) == 1 else 1
    selection = Selection(step, (last - first) // step + 1, first or None)
    chosen = clip.viewed(selection, geometry)
    read = {first + step * k: frame.rgb for k, frame in enumerate(chosen.frames())}
    if chosen.damage.frames:
        raise Unusable(Trouble(path, chosen.damage.report(chosen.time_base) or "damaged"))
    missing = [each for each in ordered if each not in read]
    if missing:
        raise Unusable(Trouble(path, f"frame {missing[0]} is announced by its header, and isn't there"))
    return np.stack([read[each] for each in wanted])


@lru_cache(maxsize=65_536)
def counted(path: Path) -> int:
    """How many frames a clip has whose header doesn't tell: read through once in each process."""
    from diffsynth.video.clip import open_clip

    return open_clip(path).source_count()
