"""Weights in a single file: names and shapes without torch, tensors with it. Nothing in a file is run as code."""

import json
import math
import pickle
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsynth.errors import MissingFileError, ModelError

if TYPE_CHECKING:
    from torch import Tensor

SAFE = ".safetensors"
PICKLED = (".ckpt", ".pt", ".bin", ".pth")
LONGEST_HEADER = 100_000_000
ITEMSIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2}
"""Bytes of a number by the format's name of its kind; what isn't here takes one."""

TRAINERS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
)
"""Classes that stand as mere names in published checkpoints."""

Shapes = Mapping[str, tuple[int, ...]]


class StandIn:
    """Takes the place of a class that is of no use here."""

    def __init__(self, *values: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


@dataclass(frozen=True)
class TensorFile:
    """What a file of weights holds, by name."""

    path: Path
    shapes: Shapes
    sizes: Mapping[str, int]
    """Bytes of each tensor."""
    itemsize: int
    """Bytes of the most common kind of number."""
    loaded: Mapping[str, "Tensor"] | None
    """The tensors of a pickled file, mapped from it; a safetensors file is read when it is asked."""

    def tensors(self, names: Iterable[str]) -> dict[str, "Tensor"]:
        if self.loaded is not None:
            return {name: self.loaded[name] for name in names}
        from safetensors import safe_open

        with _damage_told(self.path), safe_open(str(self.path), framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in names}

    def bytes_of(self, *prefixes: str) -> int:
        return sum(size for name, size in self.sizes.items() if name.startswith(prefixes))


def open_tensors(path: Path, key: str) -> TensorFile:
    """A file of weights. `key` names, for messages, what of the config leads to it."""
    if path.suffix == SAFE:
        return read_header(path)
    if path.suffix not in PICKLED:
        raise ModelError(f'{path}: "{key}" must be a file of weights, {SAFE} or {", ".join(PICKLED)}.')
    return tensor_file(path, {name: each for name, each in read_pickled(path).items() if hasattr(each, "shape")})


def tensor_file(path: Path, tensors: Mapping[str, "Tensor"]) -> TensorFile:
    """Tensors that were read already."""
    kinds = Counter(each.element_size() for each in tensors.values())
    return TensorFile(
        path,
        {name: tuple(each.shape) for name, each in tensors.items()},
        {name: each.numel() * each.element_size() for name, each in tensors.items()},
        kinds.most_common(1)[0][0] if kinds else 4,
        tensors,
    )


def read_header(path: Path) -> TensorFile:
    """Names and shapes alone, of a safetensors file; no torch."""
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file.")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(LONGEST_HEADER, size - 8):
                length = 0  # no JSON, then
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        shapes = {name: tuple(map(int, each["shape"])) for name, each in entries.items()}
        sizes = {name: int(each["data_offsets"][1]) - int(each["data_offsets"][0]) for name, each in entries.items()}
        end = max((int(each["data_offsets"][1]) for each in entries.values()), default=0)
        widths = [ITEMSIZES.get(str(each["dtype"]), 1) for each in entries.values() if math.prod(each["shape"]) > 1]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as problem:
        raise ModelError(
            f"{path}: is no safetensors file, or a damaged one ({str(problem)[:100]}). Copy or download it again."
        ) from problem
    if end != size - 8 - length:
        raise ModelError(
            f"{path}: is cut short: {size - 8 - length} bytes of weights are there, {end} were written. "
            "Copy or download it again."
        )
    common = max(set(widths), key=widths.count) if widths else 4
    return TensorFile(path, shapes, sizes, common, None)


def read_pickled(path: Path) -> dict[str, Any]:
    """What torch saved in a file, on the CPU, with none of it run; a nested `state_dict` is taken out."""
    import torch

    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file.")
    # Checkpoints of the first programs name a class of their trainer's; a stand-in that does nothing takes its place.
    with _damage_told(path), torch.serialization.safe_globals([(StandIn, name) for name in TRAINERS]):
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # a file of before torch 1.6 can't be mapped
            found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ModelError(f"{path}: holds a {type(found).__name__}, not named weights.")
    return found


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's age: what matters is refused
            yield
    except pickle.UnpicklingError as problem:
        raise ModelError(
            f"{path}: holds more than tensors, or is no file of weights; none of it is run. "
            "Take the .safetensors file of the same model."
        ) from problem
    except Exception as problem:  # damage shows as any of a dozen kinds
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
        raise ModelError(f"{path}: can't be read as weights ({reason}). Copy or download it again.") from problem
