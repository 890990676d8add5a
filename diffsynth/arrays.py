"""Arrays of one shape a frame, on disk: latents between two steps, conditions that a network has read.

folder/store.json    shape and kind of a record
folder/data.bin      the records, one after the other, uncompressed: noise does not compress
folder/commit.json   how many of them are durable; whatever lies behind them is unfinished work
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from diffsynth.disk import disk_errors, write_all, write_aside
from diffsynth.errors import StoreError

HEADER, DATA, COMMIT = "store.json", "data.bin", "commit.json"
Array = NDArray[Any]


def committed(path: Path) -> int:
    """How many records are durable; 0 where there is no store."""
    try:
        return int(json.loads((path / COMMIT).read_bytes())["count"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError) as problem:
        raise StoreError(f"{path / COMMIT}: damaged ({problem}). Delete {path}.") from problem


class ArrayStore:
    """The durable records of a store, read by position."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            header = json.loads((path / HEADER).read_bytes())
            self.shape, self.dtype = tuple(header["shape"]), np.dtype(header["dtype"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise StoreError(f"{path / HEADER}: can't be read ({problem}). Delete {path}.") from problem
        self._size = math.prod(self.shape) * self.dtype.itemsize
        self._count = committed(path)
        self._file = os.open(path / DATA, os.O_RDONLY)

    def __len__(self) -> int:
        return self._count

    def read(self, positions: Sequence[int]) -> Array:
        """(n, …) records at any positions, in their order."""
        found = np.empty((len(positions), *self.shape), self.dtype)
        for record, position in zip(found, positions, strict=True):
            if not 0 <= position < self._count:
                raise IndexError(f"{self.path}: record {position} of {self._count}")
            data = os.pread(self._file, self._size, position * self._size)
            if len(data) != self._size:
                raise StoreError(f"{self.path / DATA}: ends before record {position}. Delete {self.path}.")
            record[...] = np.frombuffer(data, self.dtype).reshape(self.shape)
        return found

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()


class ArrayWriter:
    """Appends groups of records; each `append` is durable as a whole or absent. Opened again, it goes on."""

    def __init__(self, path: Path, shape: Sequence[int], dtype: str = "float32") -> None:
        self.path = path
        header = {"shape": list(shape), "dtype": dtype}
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            if not (path / HEADER).is_file():
                write_aside(path / HEADER, json.dumps(header).encode())
            elif json.loads((path / HEADER).read_bytes()) != header:
                raise StoreError(f"{path}: holds arrays of another kind than {header}. Delete it.")
            self._file = os.open(path / DATA, os.O_RDWR | os.O_CREAT, 0o666)
        self._shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._size = math.prod(self._shape) * self.dtype.itemsize
        self.count = committed(path)

    def append(self, records: Array) -> None:
        """Add (n, …) records."""
        if records.shape[1:] != self._shape or records.dtype != self.dtype:
            raise ValueError(f"{self.path}: holds {self._shape} {self.dtype}, got {records.shape[1:]} {records.dtype}")
        with disk_errors(self.path):
            write_all(self._file, np.ascontiguousarray(records).tobytes(), self.count * self._size)
            os.fsync(self._file)
            write_aside(self.path / COMMIT, json.dumps({"count": self.count + len(records)}).encode())
        self.count += len(records)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
