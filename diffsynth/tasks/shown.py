"""Rendering only some frames of a clip: a preview's few, or those that differ from the one before them."""

import json
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.attention.patterns import key_frame
from diffsynth.disk import disk_errors, write_json
from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.smoothers.base import append_like, writer_like
from diffsynth.video.clip import Clip

NEAR = 32
"""Frames between two that are wanted from which on it is faster to look the next one up than to read on to it."""


@dataclass(frozen=True)
class Shown:
    """Which frames of a clip are rendered."""

    positions: tuple[int, ...]
    count: int
    """Frames of the whole clip."""

    def place(self, frame: int) -> int | None:
        """Where a frame of the clip stands among those that are rendered; None where it is not one of them."""
        found = bisect_left(self.positions, frame)
        return found if found < len(self.positions) and self.positions[found] == frame else None


def spread(clip: Clip, count: int, beside: Collection[int]) -> Shown:
    """`count` frames evenly over a clip, and of some others those before and after them."""
    frames = clip.expected_count
    if frames is None:
        raise MediaError(f"{clip.info.path}: doesn't say how long it is; set frame_maximum_count for a preview.")
    wanted = {key_frame(number, count, frames) for number in range(count)}
    near = [max((each for each in beside if each <= frame), default=None) for frame in wanted]
    near += [min((each for each in beside if each >= frame), default=None) for frame in wanted]
    return Shown(tuple(sorted(wanted.union(each for each in near if each is not None))), frames)


def shown_store(clip: Clip, shown: Shown, path: Path) -> FrameStore:
    """Those frames of a clip. Where its length was an estimate, frames that aren't there are left out."""
    if is_complete(path):
        return FrameStore(path)
    with FrameWriter(path, clip.height, clip.width, alpha=clip.has_alpha, time_base=clip.time_base) as writer:
        reading, place = clip.frames(0), 0
        for position in shown.positions[writer.count :]:
            if not place <= position < place + NEAR:
                reading, place = clip.frames(position), position
            frame = next((each for number, each in enumerate(reading, place) if number == position), None)
            place = position + 1
            if frame is not None:
                writer.append(frame.rgb, frame.alpha, tick=frame.tick, until=frame.until)
        return writer.finish()


def differing(store: FrameStore, threshold: float, too: Collection[int], path: Path) -> Shown:
    """The frames that differ from the last one kept by more than `threshold` grey levels, on average over some part
    of the picture: a 16th of it to each side. 0 keeps all but exact copies. Those of `too` are kept in any case.
    What was found once lies at `path`."""
    if path.is_file():
        return Shown(tuple(json.loads(path.read_bytes())), len(store))
    kept: list[int] = []
    before = None
    for position in range(len(store)):
        frame = store[position]
        if before is None or position in too or _difference(before, frame) > threshold:
            kept.append(position)
            before = frame
    with disk_errors(path):
        write_json(path, kept)
    return Shown(tuple(kept), len(store))


PARTS = 16


def _difference(one: Image, other: Image) -> float:
    """The mean difference in levels over the part of the picture that changed most."""
    gap = np.abs(one.astype(np.int16) - other).mean(2)
    height, width = gap.shape
    rows = np.add.reduceat(gap, np.arange(0, height, -(-height // PARTS)), 0)
    cells = np.add.reduceat(rows, np.arange(0, width, -(-width // PARTS)), 1)
    return float(cells.max() / (-(-height // PARTS) * -(-width // PARTS)))


def only(store: FrameStore, positions: Sequence[int], path: Path) -> FrameStore:
    """A store of some frames of another one."""
    if len(positions) == len(store):
        return store
    if is_complete(path):
        return FrameStore(path)
    with FrameWriter(path, store.height, store.width, alpha=store.has_alpha) as writer:
        for position in positions[writer.count :]:
            writer.append(store[position], store.alpha(position) if store.has_alpha else None)
        return writer.finish()


def repeated(rendered: FrameStore, shown: Shown, like: FrameStore, path: Path) -> FrameStore:
    """The whole clip: each frame that was not rendered shows the rendered one before it, at its own time."""
    if len(shown.positions) == len(like):
        return rendered
    if is_complete(path):
        return FrameStore(path)
    last = np.searchsorted(shown.positions, np.arange(len(like)), side="right") - 1
    with writer_like(like, path) as writer:
        for position in range(writer.count, len(like)):
            append_like(writer, rendered[int(last[position])], like)
        return writer.finish()
