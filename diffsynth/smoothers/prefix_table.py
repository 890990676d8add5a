"""The seed's table: a frame's blend with its 2^k predecessors is remapped forward once per level.

Entry j of level k is the mean, at frame j, of the 2^k frames that end with j:

    entry(k + 1, j) = (entry(k, j) + entry(k, j - 2^k) remapped to j) / 2

A frame takes the entries that together hold the frames before it; the frames after it are the mirror image. So a pixel
is painted once per level, where `block_table` paints at most twice: this one is here to give the seed's arithmetic.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.smoothers.blending import Field, to_image
from diffsynth.smoothers.remapping import Remapper
from diffsynth.smoothers.windows import Shot, prefix_steps


@dataclass(frozen=True)
class Side:
    """The table over the frames `order` of a shot, forwards or backwards."""

    remapper: Remapper
    order: range
    steps: list[list[tuple[int, int]]]
    levels: tuple[FrameStore, ...]
    """Of level 1 and up, on disk; level 0 are the frames themselves."""

    def entry(self, level: int, j: int) -> Image:
        if level == 0:
            return self.remapper.style[self.order[j]]
        return self.levels[level - 1][j - (1 << level) + 1]

    def total(self, i: int) -> tuple[Field | float, int]:
        """The sum of the frames before the i-th, as they look there, and their number."""
        total: Field | float = 0.0
        count = 0
        steps = self.steps[i]
        nnfs = self.remapper.matcher.nnfs([(self.order[j], self.order[i]) for _, j in steps])
        for (level, j), nnf in zip(steps, nnfs, strict=True):
            total = total + self.remapper.vote(nnf, self.entry(level, j)).astype(np.float32) * (1 << level)
            count += 1 << level
        return total, count


def build_sides(remapper: Remapper, size: int, shot: Shot, work: Path) -> tuple[Side, Side]:
    """The tables before and after each frame of a shot; what is on disk already is taken up."""
    forwards, backwards = range(shot.first, shot.stop), range(shot.stop - 1, shot.first - 1, -1)
    return (
        _side(remapper, size, forwards, work / f"shot{shot.first}" / "before"),
        _side(remapper, size, backwards, work / f"shot{shot.first}" / "after"),
    )


def blended(before: Side, after: Side, place: int) -> Field:
    """(sum of the frames before + the frame + sum of the frames after) / their number."""
    left, left_count = before.total(place)
    right, right_count = after.total(len(after.order) - 1 - place)
    centre = before.remapper.style[before.order[place]].astype(np.float32)
    return np.asarray((left + centre + right) / (left_count + 1 + right_count), np.float32)


def _side(remapper: Remapper, size: int, order: range, path: Path) -> Side:
    steps = prefix_steps(len(order), min(size, len(order)))
    side = Side(remapper, order, steps, ())
    for level in range(1, 1 + max((each for step in steps for each, _ in step), default=0)):
        side = Side(remapper, order, steps, (*side.levels, _level(side, level, path / f"level{level}")))
    return side


def _level(side: Side, level: int, path: Path) -> FrameStore:
    if is_complete(path):
        return FrameStore(path)
    order, half, remapper = side.order, 1 << (level - 1), side.remapper
    height, width = remapper.style[order[0]].shape[:2]
    with FrameWriter(path, height, width) as writer:
        places = range(writer.count + 2 * half - 1, len(order))
        nnfs = remapper.matcher.nnfs([(order[j - half], order[j]) for j in places])
        for j, nnf in zip(places, nnfs, strict=True):
            older = remapper.vote(nnf, side.entry(level - 1, j - half)).astype(np.float32)
            writer.append(to_image((older + side.entry(level - 1, j)) / 2))
        return writer.finish()
