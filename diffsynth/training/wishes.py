"""What is asked of a sampler. Plain values: a config is checked without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wish:
    """One video to draw."""

    index: int
    label: int | None = None
    prompt: str | None = None
