"""One clip's moments into a safetensors file, frames by frames: a long clip needs no more memory than a short one."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from diffsynth import disk
from diffsynth.training.data.example import Pixels
from diffsynth.training.data.latents import TENSOR
from diffsynth.training.space import AT_ONCE, LatentSpace

Precision = Literal["float32", "float16"]
KINDS: dict[Precision, str] = {"float32": "F32", "float16": "F16"}
UNKNOWN = 10**12
"""In place of the number of frames while a header's length is told; larger than any."""


def save_moments(
    path: Path, frames: Iterator[Pixels], space: LatentSpace, precision: Precision, words: Mapping[str, str]
) -> None:
    """Encode a clip into the file at `path`, which is whole or absent; `words` go into its header."""
    partial = disk.aside(path)
    channels = 2 * space.shape.channels
    size = (channels, space.shape.height, space.shape.width)
    length = len(_head((UNKNOWN, *size), precision, words)) // 8 * 8 + 8
    try:
        with partial.open("wb") as file:
            file.seek(8 + length)
            count = 0
            while part := list(islice(frames, AT_ONCE)):
                moments = space.moments(torch.from_numpy(np.stack(part))[None])[0].float().cpu().numpy()
                file.write(moments.astype(precision).tobytes())
                count += len(part)
            file.seek(0)  # only now is the number of frames known; spaces behind a header are allowed
            file.write(length.to_bytes(8, "little") + _head((count, *size), precision, words).ljust(length))
            file.flush()
            disk.sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    disk.sync(path.parent)


def _head(shape: tuple[int, ...], precision: Precision, words: Mapping[str, str]) -> bytes:
    size = math.prod(shape) * np.dtype(precision).itemsize
    tensor = {"dtype": KINDS[precision], "shape": shape, "data_offsets": [0, size]}
    return json.dumps({"__metadata__": dict(words), TENSOR: tensor}).encode()


@dataclass(frozen=True)
class Head:
    """What a file of moments says of itself."""

    frames: int
    words: Mapping[str, str]


def read_head(path: Path) -> Head:
    with path.open("rb") as file:
        tree = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return Head(int(tree[TENSOR]["shape"][0]), tree["__metadata__"])
