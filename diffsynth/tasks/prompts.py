"""The prompts of a config: one for the clip, by frame, or by shot, and what a caption beside the clip says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Discriminator, Field, Tag

from diffsynth.config.keyed import BY_FRAME, BY_SHOT, STEADY, ByFrame, kind_of
from diffsynth.errors import MediaError
from diffsynth.sd.prompt import GREATEST_WEIGHT, Texts, overweight
from diffsynth.tracks import Track

CAPTION = "{caption}"
CAPTION_FILE = "caption.txt"
"""The caption of a folder of images, in it."""
LONGEST_CAPTION = 100_000

ByShot = Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
Prompts = Annotated[
    Annotated[str, Tag(STEADY)] | Annotated[ByFrame[str], Tag(BY_FRAME)] | Annotated[ByShot, Tag(BY_SHOT)],
    Discriminator(kind_of),
]
"""One text, texts at key frames, or a list of texts for one shot after the other."""

Cuts = Callable[[], Sequence[int]]
"""The frames that begin a new shot; looked for only where they are needed."""


@dataclass(frozen=True)
class Wording:
    """What a config says."""

    prompt: str | dict[int, str] | tuple[str, ...]
    negative: str | dict[int, str]
    background: str | None = None

    @property
    def captioned(self) -> bool:
        """Whether the clip's caption is part of it."""
        return any(CAPTION in text for text in self.all())

    def all(self) -> tuple[str, ...]:
        """Every text."""
        found: list[str] = []
        for each in (self.negative, self.prompt, self.background):
            if isinstance(each, str):
                found.append(each)
            elif each is not None:
                found += each.values() if isinstance(each, dict) else each
        return tuple(found)

    def texts(self, caption: str) -> Texts:
        """The distinct texts of each side, in the order in which they are numbered."""
        prompts = self.prompt if isinstance(self.prompt, tuple) else Track.of(self.prompt).values
        sides = [_distinct(Track.of(self.negative).values), _distinct(prompts)]
        if self.background is not None:
            sides.append((self.background,))
        return tuple(tuple(text.replace(CAPTION, caption) for text in side) for side in sides)

    def numbers(self, cuts: Cuts) -> tuple[Track[int], ...]:
        """For each side, which of its texts each frame hears."""
        negative = Track.of(self.negative)
        prompts = _by_shot(self.prompt, cuts()) if isinstance(self.prompt, tuple) else Track.of(self.prompt)
        named = self.prompt if isinstance(self.prompt, tuple) else prompts.values
        sides = [_numbered(negative, negative.values), _numbered(prompts, named)]
        if self.background is not None:
            sides.append(Track.of(0))
        return tuple(sides)


def _distinct(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _numbered(track: Track[str], named: Sequence[str]) -> Track[int]:
    return track.map(_distinct(named).index)


def _by_shot(texts: tuple[str, ...], cuts: Sequence[int]) -> Track[str]:
    """Each text from a shot's first frame to its last; the last text goes on through the shots that are left."""
    keys: dict[int, str] = {}
    starts = [0, *cuts][: len(texts)]
    for text, start, following in zip(texts, starts, [*starts[1:], None], strict=False):
        keys[start] = text
        if following is not None:
            keys[following - 1] = text
    return Track.of(keys)


def caption_file(clip: Path) -> Path:
    """Where the caption of a clip lies: beside a video or an image under its name, for a folder beside or in it, for a
    glob of images among them."""
    if not clip.exists():
        return clip.parent / "caption.txt"
    beside = clip.with_name(f"{clip.name}.txt") if clip.is_dir() else clip.with_suffix(".txt")
    return clip / CAPTION_FILE if clip.is_dir() and not beside.is_file() else beside


def read_caption(path: Path) -> str:
    """A caption as one line."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST_CAPTION)
    except (OSError, UnicodeDecodeError) as problem:
        raise MediaError(f"{path}: this caption can't be read ({problem}). It must be a text in UTF-8.") from problem
    if not (found := " ".join(text.split())):
        raise MediaError(f"{path}: this caption is empty. Write what the clip shows.")
    if part := overweight(found):
        raise MediaError(f"{path}: {too_heavy(part)}")
    return found


def too_heavy(part: str) -> str:
    return (
        f'"{part}" would count more than {GREATEST_WEIGHT:g} times as much as the rest. Take a smaller weight, or '
        "write \\( and \\) where the parentheses are just parentheses."
    )
