"""A prompt's own notation: `(a red fox:1.3)` counts more, `(mist:0.6)` less.

Parentheses without a number are just parentheses, as are those behind a backslash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

NEGATIVE, POSITIVE, BACKGROUND = 0, 1, 2
"""The sides of the guidance; the background's is there where it has a prompt of its own."""

Texts = tuple[tuple[str, ...], ...]
"""The prompts of each side."""

NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*")
LONGEST_NUMBER = 20
GREATEST_WEIGHT = 10.0
ESCAPED = re.compile(r"\\([()\\])")


@dataclass(frozen=True)
class Phrase:
    """A part of a prompt, and how much it counts."""

    text: str
    weight: float


def phrases(prompt: str) -> tuple[Phrase, ...]:
    """The prompt's parts in their order; neighbours that count alike are one. Weights within each other multiply."""
    groups = list(_groups(prompt))
    begins = {each.opening: each for each in groups}
    ends = {each.colon: each for each in groups}
    found: list[Phrase] = []
    weights = [1.0]
    start = place = 0
    while place <= len(prompt):
        if place in begins or place in ends or place == len(prompt):
            _add(found, prompt[start:place], weights[-1])
        if place in begins:
            weights.append(weights[-1] * begins[place].weight)
            start = place + 1
        elif place in ends:
            weights.pop()
            place = ends[place].closing
            start = place + 1
        place += 1
    return tuple(Phrase(ESCAPED.sub(r"\1", each.text), each.weight) for each in found) or (Phrase("", 1.0),)


def overweight(prompt: str) -> str | None:
    """The first part of a prompt that would drown all others, as `(photo: 1998)` does."""
    return next((f"({each.text}:{each.weight:g})" for each in phrases(prompt) if each.weight > GREATEST_WEIGHT), None)


def plain(prompt: str) -> str:
    """The prompt without its weights."""
    return "".join(each.text for each in phrases(prompt))


def _add(found: list[Phrase], text: str, weight: float) -> None:
    if found and found[-1].weight == weight:
        found[-1] = Phrase(found[-1].text + text, weight)
    elif text:
        found.append(Phrase(text, weight))


@dataclass(frozen=True)
class Group:
    """Where `(`, `:` and `)` of a weighted part stand."""

    opening: int
    colon: int
    closing: int
    weight: float


def _groups(prompt: str) -> Iterator[Group]:
    opened: list[int] = []
    place = 0
    while place < len(prompt):
        if prompt[place] == "\\":
            place += 1
        elif prompt[place] == "(":
            opened.append(place)
        elif prompt[place] == ")" and opened:
            opening = opened.pop()
            colon = prompt.rfind(":", max(opening, place - LONGEST_NUMBER), place)
            match = NUMBER.fullmatch(prompt, colon + 1, place) if colon >= 0 else None
            if match:
                yield Group(opening, colon, place, float(match[1]))
        place += 1
