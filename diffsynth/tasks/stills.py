"""Clips that may be folders of images, and may not be whole: what is missing or unreadable, and what stands in."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore
from diffsynth.images import is_image_name, is_pattern, list_images, read_image
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.tasks.clip import ClipReader

if TYPE_CHECKING:
    from diffsynth.video.clip import Clip

OnError = Literal["stop", "skip"]
NUMBER = re.compile(r"(\d+)(?=\D*$)")
SHOWN = 5


@dataclass(frozen=True)
class Stills:
    """The images of a clip in order. Where one is missing or unreadable, its nearest good neighbour stands in."""

    files: tuple[Path, ...]
    damaged: tuple[int, ...]
    """Positions of the stand-ins."""
    words: tuple[str, ...]
    """What is wrong with each of them."""
    names: tuple[str, ...]
    """What each image is called, or would be."""


@dataclass(frozen=True)
class ReadClip:
    """A clip's frames on disk, and those of them that only stand in for what is lost."""

    store: FrameStore
    lost: frozenset[int] = frozenset()
    names: Mapping[str, int | None] = field(default_factory=dict)
    """Of a clip of images: the frame that each file became, by the file's name; None for those that were left out."""


def read_clip(
    reader: ClipReader, source: Path, run: RunFolder, progress: Progress, name: str, on_error: OnError
) -> "tuple[ReadClip, Clip]":
    """Read one of several clips. Gaps and unreadable images stop the run, or are filled and said."""
    if not is_stills(source):
        clip, store = reader.read(source, run, progress, name=name)
        return ReadClip(store), clip
    if on_error == "stop":
        check_numbers(source)
        clip, store = reader.read(source, run, progress, name=name)
        return ReadClip(store, names=_places([file.name for file in list_images(source)], store)), clip
    from diffsynth.video.clip import Clip as OpenClip
    from diffsynth.video.sequence import ImageSequence

    stills = repaired(source)
    for words in stills.words:
        progress.note(f"{words} Filled from its neighbours.")
    sequence = ImageSequence(source, list(stills.files), Fraction(reader.image_rate))
    clip, store = reader.read(
        source, run, progress, name=name, clip=OpenClip(sequence, reader.selection, reader.geometry)
    )
    damaged = set(stills.damaged)
    lost = frozenset(t for t, tick in enumerate(_ticks(store)) if tick in damaged)
    return ReadClip(store, lost, _places(stills.names, store)), clip


def _ticks(store: FrameStore) -> list[int]:
    """Of a clip of images: the place that each frame has among the files."""
    return [int(tick) for tick in store.timing.ticks] if store.timing is not None else list(range(len(store)))


def _places(names: Sequence[str], store: FrameStore) -> dict[str, int | None]:
    frames = {tick: t for t, tick in enumerate(_ticks(store))}
    return {Path(name).stem: frames.get(place) for place, name in enumerate(names)}


def is_stills(source: Path) -> bool:
    """Whether a clip is made of images."""
    return source.is_dir() or is_image_name(source) or is_pattern(source)


def check_numbers(source: Path) -> None:
    """Numbers that are skipped among the images of `source` are an error."""
    slots = _slots(list_images(source))
    missing = [slot for slot in slots if isinstance(slot, str)]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise MediaError(
            f"{source}: the numbering has a gap: {', '.join(missing[:SHOWN])}{more} missing. Add the frames, number "
            'the images without a gap, or set "on_error": "skip" to fill it from the frames around.'
        )


def repaired(source: Path) -> Stills:
    """All images of `source`; each is read once, to be sure that it can be."""
    slots = _slots(list_images(source))
    problems: dict[int, str] = {}
    for position, slot in enumerate(slots):
        if isinstance(slot, str):
            problems[position] = f"{slot} is missing."
            continue
        try:
            read_image(slot)
        except MediaError as error:
            problems[position] = str(error)
    good = [position for position in range(len(slots)) if position not in problems]
    if not good:
        raise MediaError(f"{source}: none of its {len(slots)} images can be read. The first: {problems[0]}")
    files = []
    for position in range(len(slots)):
        file = slots[min(good, key=lambda each: abs(each - position))]
        assert isinstance(file, Path)
        files.append(file)
    names = tuple(slot if isinstance(slot, str) else slot.name for slot in slots)
    words = tuple(problems[position] for position in sorted(problems))
    return Stills(tuple(files), tuple(sorted(problems)), words, names)


def _slots(files: list[Path]) -> list[Path | str]:
    """The files with a name in the place of each number that is skipped; as they are, if they aren't numbered alike."""
    matches = [NUMBER.search(file.stem) for file in files]
    numbers = [int(match[1]) for match in matches if match]
    stems = {NUMBER.sub("#", file.stem) for file in files}
    if len(numbers) != len(files) or len(stems) != 1 or len(files) < 3:
        return list(files)
    steps = [after - before for before, after in pairwise(numbers)]
    usual = Counter(steps).most_common(1)[0][0]
    if usual < 1 or any(step < 1 or step % usual for step in steps):
        return list(files)
    slots: list[Path | str] = [files[0]]
    for file, number, step in zip(files[1:], numbers[1:], steps, strict=True):
        digits = len(NUMBER.search(file.stem)[1])  # type: ignore[index]  # all of them matched above
        slots += [
            NUMBER.sub(f"{skipped:0{digits}}", file.stem) + file.suffix
            for skipped in range(number - step + usual, number, usual)
        ]
        slots.append(file)
    return slots
