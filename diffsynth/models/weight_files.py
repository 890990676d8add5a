"""Files of weights, read without running any code in them."""

import argparse
import pickle
import re
import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from diffsynth.errors import MissingFileError, ModelError

PARTS = ("ema", "model")
"""What a published file holds, the better first."""
WRAPPED = re.compile(r"^((module|_orig_mod)\.)+")
"""What DDP and torch.compile put before names."""


def read_tree(path: Path) -> object:
    """What a `.safetensors` file, or any of torch's, holds."""
    if not path.is_file():
        raise MissingFileError(f"{path}: was not found. Name a .pt or .safetensors file of weights.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # a trainer's options: plain values
            # Files of before torch 1.6, such as VGG-16's and LPIPS's, are no archives and can't be mapped.
            mapped = zipfile.is_zipfile(path)
            tree: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:
        # torch's own words advise to load it nevertheless.
        raise ModelError(
            f"{path}: doesn't load as weights: it is damaged, or holds other things than tensors, such as code, which "
            "is never run. Download it again, or use a file that holds tensors alone."
        ) from None
    except (
        OSError,
        RuntimeError,
        SafetensorError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as problem:
        # The last four are how pickles of no kind at all end in torch's own reader.
        raise ModelError(
            f"{path}: doesn't load as weights ({(str(problem) or type(problem).__name__).splitlines()[0][:200]}). "
            "Is the download complete?"
        ) from problem
    return tree


def read_weights(path: Path) -> dict[str, Tensor]:
    """The table of weights in a file, by their names; of `ema` and `model` the former. No code in it is run."""
    tree = read_tree(path)
    if isinstance(tree, dict):
        tree = next((tree[part] for part in PARTS if isinstance(tree.get(part), dict) and tree[part]), tree)
    if not isinstance(tree, dict) or not all(isinstance(each, Tensor) for each in tree.values()):
        raise ModelError(f'{path}: holds no table of weights, neither by itself nor under "ema" or "model".')
    return {WRAPPED.sub("", str(name)): each for name, each in tree.items()}
