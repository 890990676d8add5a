"""Where a single file of weights is: itself, in a folder, or in a repository of the hub. No torch."""

from collections.abc import Sequence
from pathlib import Path

from diffsynth import hub
from diffsynth.errors import MissingFileError
from diffsynth.sd.tensor_files import PICKLED, SAFE


def weight_file(reference: str, name: str | None, usual: Sequence[str], key: str) -> Path:
    """`name` is the file's name in a folder or repository, `usual` are those to look for where it is left out."""
    local = Path(reference)
    if local.is_absolute() and not local.is_dir():
        return local
    wanted = (name,) if name else tuple(usual)
    folder = local if local.is_absolute() else hub.snapshot(reference, wanted, f'"{key}"')
    for each in wanted:
        if (folder / each).is_file():
            return folder / each
    here = sorted(each.name for each in folder.iterdir() if each.suffix in (SAFE, *PICKLED))
    if name is None and len(here) == 1:
        return folder / here[0]
    there = f"there are {', '.join(here)}" if here else "there is no file of weights"
    raise MissingFileError(f'{reference}: holds no {" or ".join(wanted)}; {there}. Name one as "weight_name".')
