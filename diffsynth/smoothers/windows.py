"""Which frames are blended into which: integer arithmetic, without a pixel.

`fast` blends by a table. A shot is cut into blocks of 2^k frames for each level k; the frames of a block are blended
once, at its middle frame, its *anchor*, and each output takes the few blocks that cover its window. Small blocks lie
near the output and large ones far away, so that their number grows with the logarithm of the window. A block that the
window only touches counts by the part that lies inside: no output jumps when a block enters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `stop` - 1: what may be blended with one another."""

    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    def __contains__(self, t: int) -> bool:
        return self.first <= t < self.stop

    def window(self, t: int, size: int) -> range:
        """Frame `t` with up to `size` neighbours on either side."""
        return range(max(self.first, t - size), min(self.stop, t + size + 1))


def shots(cuts: Sequence[int], count: int) -> tuple[Shot, ...]:
    """The shots of a clip whose frames `cuts` each begin a new one."""
    bounds = [0, *cuts, count]
    return tuple(Shot(first, stop) for first, stop in pairwise(bounds))


@dataclass(frozen=True, order=True)
class Block:
    """The `index`-th run of 2^`level` frames of a shot; the last one may be cut short."""

    level: int
    index: int

    def frames(self, shot: Shot) -> range:
        first = shot.first + (self.index << self.level)
        return range(first, min(first + (1 << self.level), shot.stop))

    def anchor(self, shot: Shot) -> int:
        """The frame that the block is blended at."""
        frames = self.frames(shot)
        return frames[(len(frames) - 1) // 2]


@dataclass(frozen=True)
class Share:
    """How much of a block lies in a window, 0 to 1."""

    block: Block
    part: float


def base_level(size: int) -> int:
    """The level of the smallest blocks for a window of ±`size`: about half of one side, so that few cover it."""
    return min(max((size // 2 + 1).bit_length() - 1, 0), MAXIMUM_BASE_LEVEL)


MAXIMUM_BASE_LEVEL = 4
"""Blocks of 16. Larger ones near the output blur: their frames reach it by way of an anchor that is far off."""


def cover(t: int, size: int, shot: Shot) -> tuple[Share, ...]:
    """The blocks that a window of ±`size` around frame `t` is blended from, in the order of time."""
    window = shot.window(t, size)
    base = base_level(size)
    place, first, last = t - shot.first, window[0] - shot.first, window[-1] - shot.first
    own = place >> base
    blocks = [
        *_before(place, own << base, first, base),
        Block(base, own),
        *_after(place, (own + 1) << base, last, base),
    ]
    shares = []
    for block in blocks:
        frames = block.frames(shot)
        inside = min(frames[-1], window[-1]) - max(frames[0], window[0]) + 1
        shares.append(Share(block, inside / len(frames)))
    return tuple(shares)


def _after(place: int, start: int, last: int, base: int) -> Iterator[Block]:
    """Blocks from `start` until one holds `last`, growing with their distance from `place`."""
    while start <= last:
        level = base
        while start % (2 << level) == 0 and 2 << level <= start - place:
            level += 1
        yield Block(level, start >> level)
        start += 1 << level


def _before(place: int, stop: int, first: int, base: int) -> list[Block]:
    """Blocks backwards from `stop` until one holds `first`."""
    found = []
    while stop > first:
        level = base
        while stop % (2 << level) == 0 and 2 << level <= place - stop + 1:
            level += 1
        found.append(Block(level, (stop >> level) - 1))
        stop -= 1 << level
    return found[::-1]


def table(size: int, parts: Sequence[Shot]) -> dict[int, tuple[tuple[Shot, Block], ...]]:
    """All blocks that the covers of a clip name, by level, each level in the order of time."""
    found: dict[int, dict[tuple[Shot, Block], None]] = {}
    for shot in parts:
        for t in range(shot.first, shot.stop):
            for share in cover(t, size, shot):
                found.setdefault(share.block.level, {})[shot, share.block] = None
    ordered = sorted(found.items())
    return {level: tuple(sorted(blocks, key=lambda each: (each[0].first, each[1].index))) for level, blocks in ordered}


def estimations(size: int, parts: Sequence[Shot]) -> int:
    """How many pairs of frames `fast` matches in all."""
    pairs: set[tuple[int, int]] = set()
    for blocks in table(size, parts).values():
        pairs |= {(source, block.anchor(shot)) for shot, block in blocks for source in block.frames(shot)}
    for shot in parts:
        for t in range(shot.first, shot.stop):
            pairs |= {(share.block.anchor(shot), t) for share in cover(t, size, shot)}
    return sum(source != target for source, target in pairs)


def prefix_steps(count: int, size: int) -> list[list[tuple[int, int]]]:
    """The seed's table, for the frames before each frame; the frames after it are the mirror image.

    Entry (level, j) is the blend, at frame j, of the 2^level frames that end with j. For each frame i this lists the
    entries that together hold the `size` frames before it, nearest first.
    """
    steps = []
    for i in range(count):
        first, last, chosen = max(0, i - size), i - 1, []
        while last >= first:
            level = (last - first + 1).bit_length() - 1
            chosen.append((level, last))
            last -= 1 << level
        steps.append(chosen)
    return steps
