"""Configs that were made from another system's, as files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffsynth import disk
from diffsynth.config import Override, apply, source
from diffsynth.errors import RunFolderError
from diffsynth.imports.base import Imported


def write_configs(
    path: Path,
    output: Path | None,
    configs: Mapping[str, dict[str, Any]],
    overrides: Sequence[Override],
    words: Callable[[], tuple[str, ...]],
) -> Imported:
    """One config into a file, several into a folder; beside the YAML unless `output` names a place.

    Overrides go into a config by its name where there are several: `--set train.train.lr=0.001`. Paths in the configs
    stay as they are: relative ones start from the configs' own folder, or from where a task is run.
    """
    several = len(configs) > 1
    place = output or (path.with_suffix("") if several else path.with_suffix(".json"))
    if place.exists() and (not several or any(place.iterdir())):
        raise RunFolderError(f"{place}: is there already, and was not touched. Give another path by --output.")
    here = Path.cwd()
    trees: dict[str, Any] = dict(apply(source(dict(configs), here), overrides, here)) if several else {}
    if several:
        place.mkdir(parents=True, exist_ok=True)
        for name, tree in trees.items():
            disk.write_json(place / f"{name}.json", tree)
        order = ", ".join(f"{name}.json" for name in configs)
        return Imported(place, (f"To be run in this order: {order}.", *words()))
    (tree,) = configs.values()
    disk.write_json(place, apply(source(tree, here), overrides, here))
    return Imported(place, words())
