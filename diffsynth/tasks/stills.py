"""Folders of numbered images that are not whole: which are missing or unreadable, and what stands in for them."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from diffsynth.errors import MediaError
from diffsynth.images import is_image_name, is_pattern, list_images, read_image

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
            problems[position] = f"{slot} is missing"
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
    return Stills(tuple(files), tuple(sorted(problems)), tuple(problems[position] for position in sorted(problems)))


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
