"""Which frames a frame attends to: integers in, integers out, no torch.

A pattern lists, for every frame, the frames whose tokens its own self-attention sees. From it come the batches that
go through the networks, as two index tables: rows that ask together, and the rows that they ask.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

REFERENCE = re.compile(r"reference_(\d+)")
KEY = re.compile(r"key_(\d+)/(\d+)")
PAINTED = re.compile(r"keyframe_(before|after)(?:/(\d+(?:,\d+)*))?")
FIRST = "first"
NAMED = re.compile(r"(self|first\+previous|seed|sliding|keys)(?:\((\d+)\))?")
NAMES = ("self", "first+previous", "sliding(k)", "seed", "keys(n)")
LARGEST = 64
"""The most frames that a named pattern may reach for: each costs a network's memory."""

MOST_MERGED = 0.75
"""The greatest share of tokens that can be merged away: one of every four stays for others to merge into."""

AttentionMode = Literal["shared", "window"]
Backend = Literal["auto", "sdpa", "xformers", "plain"]
"""What computes attention."""

Entry = int | str
"""An offset, `"first"`, `"reference_k"` for the k-th reference picture, `"key_j/n"` for the j-th of n key frames, or
`"keyframe_before/0,48"` and `"keyframe_after/0,48"` for the nearest of some frames."""


@dataclass(frozen=True, order=True)
class Reference:
    """A picture that is no frame of the clip, by its number."""

    number: int


Source = int | Reference
"""What a row of a batch shows: a frame of the clip, or a reference."""


def named(text: str) -> tuple[Entry, ...] | None:
    """The entries behind a pattern's name; None where there is no such name."""
    match = NAMED.fullmatch(text.replace(" ", ""))
    if match is None:
        return None
    name, number = match[1], int(match[2]) if match[2] else None
    plain: dict[str, tuple[Entry, ...]] = {"self": (0,), "first+previous": (FIRST, -1, 0), "seed": (-10000, -1, 0, 1)}
    if (number is None) != (name in plain) or (number is not None and not 1 <= number <= LARGEST):
        return None
    if number is None:
        return plain[name]
    if name == "sliding":
        return tuple(range(-number, number + 1))
    return (0, *(f"key_{each}/{number}" for each in range(number)))


def resolve(pattern: Sequence[Entry], frame: int, count: int) -> tuple[Source, ...]:
    """What `frame` of `count` attends to. An offset past either end is the first or last frame."""
    return tuple(_resolved(entry, frame, count) for entry in pattern)


def _resolved(entry: Entry, frame: int, count: int) -> Source:
    if isinstance(entry, int):
        return min(max(frame + entry, 0), count - 1)
    if entry == FIRST:
        return 0
    if match := REFERENCE.fullmatch(entry):
        return Reference(int(match[1]))
    if (match := PAINTED.fullmatch(entry)) and match[2]:
        return _nearest_key([int(each) for each in match[2].split(",")], frame, before=match[1] == "before")
    match = KEY.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is no entry of a pattern")
    return key_frame(int(match[1]), int(match[2]), count)


def with_keyframes(pattern: Sequence[Entry], keyframes: Sequence[int]) -> tuple[Entry, ...]:
    """The pattern with the numbers of the key frames in it. Where it names none of them, each frame also attends to the
    one before and the one after it."""
    if not keyframes:
        return tuple(pattern)
    names = [entry for entry in pattern if isinstance(entry, str) and PAINTED.fullmatch(entry)]
    wanted = pattern if names else (*pattern, "keyframe_before", "keyframe_after")
    numbers = ",".join(map(str, sorted(keyframes)))
    return tuple(
        f"{str(each).partition('/')[0]}/{numbers}" if PAINTED.fullmatch(str(each)) else each for each in wanted
    )


def renumbered(pattern: Sequence[Entry], place: Callable[[int], int | None]) -> tuple[Entry, ...]:
    """The pattern with the numbers of its key frames changed, and without those that have no place."""
    return tuple(_renumbered(entry, place) for entry in pattern)


def _renumbered(entry: Entry, place: Callable[[int], int | None]) -> Entry:
    match = PAINTED.fullmatch(str(entry))
    if match is None or not match[2]:
        return entry
    places = [place(int(each)) for each in match[2].split(",")]
    return f"keyframe_{match[1]}/{','.join(str(each) for each in places if each is not None)}"


def _nearest_key(keys: Sequence[int], frame: int, *, before: bool) -> int:
    """Where there is none on that side, the first or the last one."""
    if before:
        return max((key for key in keys if key <= frame), default=min(keys))
    return min((key for key in keys if key >= frame), default=max(keys))


def key_frame(number: int, keys: int, count: int) -> int:
    """The frame in the middle of the `number`-th of `keys` equal parts of a clip."""
    return min((2 * number + 1) * count // (2 * keys), count - 1)


@dataclass(frozen=True)
class Batch:
    """What goes through the networks together."""

    rows: tuple[Source, ...]
    asking: int
    """Rows are grouped in order, so many to a group; the rows of a group share the rows that they ask."""
    asked: tuple[tuple[int, ...], ...]
    """For each group the numbers of the rows that it attends to. A row that stands twice counts twice."""
    wanted: tuple[int, ...]
    """The numbers of the rows whose results are kept."""


def window_batch(pattern: Sequence[Entry], frame: int, count: int) -> Batch:
    """The seed's way: the frames of the pattern, all of whose tokens attend to each other; `frame` alone is kept.

    Rows that show the same frame would stay equal in every layer, so each goes through once and is asked twice.
    """
    sources = resolve(pattern, frame, count)
    rows = tuple(dict.fromkeys(sources))
    asked = tuple(rows.index(each) for each in sources)
    return Batch(rows, len(rows), (asked,), (rows.index(frame),))


def shared_batch(pattern: Sequence[Entry], frames: range, count: int, halo: int) -> Batch:
    """Each row asks the rows of its own pattern, so that a frame goes through the networks once.

    Around `frames` lie the frames that they attend to, and so on, `halo` times over. What the outermost would attend
    to stands outside: the nearest row inside takes its place, as the last frame does at a clip's end. References
    attend to themselves.
    """
    inside: set[Source] = set(frames)
    edge: Iterable[Source] = frames
    for _ in range(halo):
        edge = {source for frame in edge if isinstance(frame, int) for source in resolve(pattern, frame, count)}
        edge -= inside
        inside |= edge
    shown = sorted(each for each in inside if isinstance(each, int))
    rows: tuple[Source, ...] = (*shown, *sorted(each for each in inside if isinstance(each, Reference)))
    number = {source: place for place, source in enumerate(rows)}
    asked = []
    for row in rows:
        if isinstance(row, Reference):
            asked.append((number[row],) * len(pattern))
            continue
        sources = resolve(pattern, row, count)
        asked.append(tuple(number[each if each in number else _nearest(each, row, shown)] for each in sources))
    return Batch(rows, 1, tuple(asked), tuple(number[frame] for frame in frames))


def _nearest(source: Source, row: int, shown: Sequence[int]) -> int:
    """The row's own frame stands in for a reference that is not inside; a frame is replaced by the nearest one."""
    if isinstance(source, Reference):
        return row
    return min(shown, key=lambda each: (abs(each - source), each))
