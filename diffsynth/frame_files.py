"""The files of a frame store.

A store is a folder:

    store.json      size, alpha, time base; written first
    frames.bin      the compressed frames one after another, alpha right behind its frame
    index.bin       one record of fixed size per frame: where it lies, its checksums, its time
    complete.json   written last; a store without it is unfinished work
"""

import json
import os
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from diffsynth.errors import StoreError

Image = NDArray[np.uint8]

_VERSION = 1
# offset, size, alpha size, crc, alpha crc, tick, until; the record's own crc stands behind them.
RECORD = struct.Struct("<QIIIIqq")
RECORD_SIZE = RECORD.size + 4
RECORD_TYPE = np.dtype(
    {
        "names": ["offset", "size", "alpha_size", "tick", "until"],
        "formats": ["<u8", "<u4", "<u4", "<i8", "<i8"],
        "offsets": [0, 8, 12, 24, 32],
        "itemsize": RECORD_SIZE,
    }
)


@dataclass(frozen=True)
class Header:
    height: int
    width: int
    alpha: bool
    time_base: Fraction | None

    def dump(self) -> str:
        return json.dumps(
            {
                "version": _VERSION,
                "height": self.height,
                "width": self.width,
                "alpha": self.alpha,
                "time_base": str(self.time_base) if self.time_base is not None else None,
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        file = path / "store.json"
        try:
            data = json.loads(file.read_bytes())
            if data["version"] != _VERSION:
                raise StoreError(
                    f"{file}: written by another version ({data['version']}, not {_VERSION}). Delete {path}."
                )
            base = data["time_base"]
            return cls(data["height"], data["width"], data["alpha"], Fraction(base) if base is not None else None)
        except FileNotFoundError:
            raise StoreError(f"{path}: holds no frame store (store.json is missing).") from None
        except (ValueError, KeyError, TypeError) as problem:
            raise StoreError(f"{file}: is damaged ({problem}). Delete {path} and run again.") from problem


def written_count(path: Path | str) -> int:
    """How many frames a store holds, finished or not; 0 where there is none. The last ones may still turn out torn."""
    index = Path(path) / "index.bin"
    return index.stat().st_size // RECORD_SIZE if index.is_file() else 0


def is_complete(path: Path | str) -> bool:
    """Whether `path` holds a finished store."""
    return (Path(path) / "complete.json").is_file()


def compress(image: Image) -> bytes:
    # Difference to the row above, modulo 256. Neighbouring rows resemble each other, so zstd finds small numbers (2.3
    # instead of 1.2 times smaller on noisy 1080p, 6 instead of 3 on clean), and undoing it is one addition of whole
    # rows; the horizontal difference gains less and has to be undone pixel by pixel.
    difference = image.copy()
    difference[1:] -= image[:-1]
    return zstandard.ZstdCompressor(level=1).compress(difference.data)


def decompress(data: bytes, shape: tuple[int, ...]) -> Image:
    size = int(np.prod(shape))
    raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    if len(raw) != size:
        raise zstandard.ZstdError(f"{len(raw)} bytes instead of {size}")
    image = np.frombuffer(bytearray(raw), np.uint8).reshape(shape)
    for y in range(1, shape[0]):
        np.add(image[y], image[y - 1], out=image[y])
    return image


class FrameFiles:
    """The two files of a store opened by position: shared by reading and by taking up unfinished work."""

    def __init__(self, path: Path, header: Header, flags: int) -> None:
        self.path = path
        self.header = header
        self.frames_path = path / "frames.bin"
        self.index_path = path / "index.bin"
        self.frames = -1
        try:
            self.frames = os.open(self.frames_path, flags, 0o666)
            self.index = os.open(self.index_path, flags, 0o666)
        except OSError as problem:
            if self.frames >= 0:
                os.close(self.frames)
            raise StoreError(f"{path}: {problem.strerror}: {problem.filename}.") from problem

    def close(self) -> None:
        if self.frames >= 0:
            os.close(self.frames)
            os.close(self.index)
            self.frames = -1

    def record(self, position: int) -> tuple[int, int, int, int, int, int, int]:
        """Offset, size, alpha size, crc, alpha crc, tick, until."""
        data = os.pread(self.index, RECORD_SIZE, position * RECORD_SIZE)
        if len(data) != RECORD_SIZE or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise self.damage(self.index_path, position)
        return RECORD.unpack_from(data)

    def payload(self, offset: int, size: int, crc: int, position: int) -> bytes:
        data = os.pread(self.frames, size, offset)
        if len(data) != size or zlib.crc32(data) != crc:
            raise self.damage(self.frames_path, position)
        return data

    def verify(self, position: int) -> int:
        """Check frame `position` whole; return the offset just behind it."""
        offset, size, alpha_size, crc, alpha_crc, _, _ = self.record(position)
        self.payload(offset, size, crc, position)
        self.payload(offset + size, alpha_size, alpha_crc, position)
        return offset + size + alpha_size

    def damage(self, file: Path, position: int) -> StoreError:
        return StoreError(f"{file}: frame {position} is damaged or missing. Delete {self.path} and run again.")


def read_count(path: Path) -> int:
    file = path / "complete.json"
    try:
        return int(json.loads(file.read_bytes())["count"])
    except (ValueError, KeyError, TypeError) as problem:
        raise StoreError(f"{file}: is damaged ({problem}). Delete {path} and run again.") from problem
