"""What every importer says and is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from diffsynth.config import Override
from diffsynth.errors import RunFolderError

WEIGHTS = (".pt", ".pth", ".safetensors")
"""How files of weights end."""


@dataclass(frozen=True)
class Imported:
    """What an importer wrote."""

    path: Path
    words: tuple[str, ...] = ()
    """What was found in the file, and what it was taken for."""


class Format(Protocol):
    """A kind of file of another system. Reading it runs no code that is in it."""

    @property
    def name(self) -> str: ...

    def recognises(self, path: Path) -> bool:
        """Whether the file is of this kind. It may be anything: `False` for what can't be read."""
        ...

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        """Write what this system reads: a checkpoint or a config, beside the file unless `output` names a place.

        `overrides` say what the file doesn't: keys of the model's config (`size=64`), or of the config that is made.
        """
        ...


def target(path: Path, output: Path | None, suffix: str) -> Path:
    """Where the result goes; a file that is there is not touched."""
    place = output or path.with_suffix(suffix)
    if place.suffix != suffix:
        raise RunFolderError(f"{place}: the result is a {suffix} file. Let its name end so.")
    if place.exists():
        raise RunFolderError(f"{place}: is there already, and was not touched. Give another path by --output.")
    return place
