"""What is asked of a sampler. Plain values: a config is checked without torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffsynth.errors import ConfigError
from diffsynth.training.conditions import wrong_label


@dataclass(frozen=True)
class Wish:
    """One video to draw."""

    index: int
    label: int | None = None
    prompt: str | None = None


def label_of(wanted: int | str, names: Sequence[str], count: int) -> int:
    """The class by its number or name."""
    if isinstance(wanted, str):
        if wanted not in names:
            raise ConfigError([f'There is no class "{wanted}". Known: {", ".join(names) or f"0 to {count - 1}"}.'])
        return names.index(wanted)
    if wanted >= count:
        raise ConfigError([wrong_label(wanted, count)])
    return wanted
