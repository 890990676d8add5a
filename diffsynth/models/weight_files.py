"""Files of weights, read without running any code in them."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diffsynth.errors import MissingFileError, ModelError

PARTS = ("ema", "model")
"""What a published file holds, the better first."""
SHOWN = 4


def read_tree(path: Path) -> object:
    """What a `.safetensors` file, or any of torch's, holds."""
    if not path.is_file():
        raise MissingFileError(f"{path}: was not found. Name a .pt or .safetensors file of weights.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tree: object = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as problem:
        raise ModelError(
            f"{path}: doesn't load as weights ({(str(problem) or type(problem).__name__).splitlines()[0][:200]}). "
            "Only tensors are read, never code. Is the download complete?"
        ) from problem
    return tree


def read_weights(path: Path) -> dict[str, Tensor]:
    """The table of weights in a file, by their names; of `ema` and `model` the former. No code in it is run."""
    tree = read_tree(path)
    if isinstance(tree, dict):
        tree = next((tree[part] for part in PARTS if isinstance(tree.get(part), dict)), tree)
    if not isinstance(tree, dict) or not all(isinstance(each, Tensor) for each in tree.values()):
        raise ModelError(f'{path}: holds no table of weights, neither by itself nor under "ema" or "model".')
    return {str(name).removeprefix("module."): each for name, each in tree.items()}


def differing(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """In which weights two networks differ, in words; nothing where they agree in all names and shapes."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(each.shape)}"
        for name, each in expected.items()
        if name in found and found[name].shape != each.shape
    ]
    told = (("it lacks", missing), ("it has", unknown), ("", shapes))
    return [f"{words} {some(names)}".strip() for words, names in told if names]


def some(names: list[str]) -> str:
    """The first of them, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
