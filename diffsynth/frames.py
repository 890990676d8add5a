"""Frames on disk: what lies between two stages of a run.

A store is read by position (`os.pread`), never through a memory map: touched pages of a map count as resident, and a
long clip would fill the memory one frame at a time.
"""

import json
import os
import shutil
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import zstandard

from diffsynth.disk import disk_errors, lock, write_all, write_aside
from diffsynth.errors import StoreError
from diffsynth.frame_files import (
    RECORD,
    RECORD_SIZE,
    RECORD_TYPE,
    FrameFiles,
    Header,
    Image,
    compress,
    decompress,
    is_complete,
    read_count,
)
from diffsynth.timing import Timing

__all__ = ["FrameStore", "FrameWriter", "Image", "Timing", "is_complete"]

# Data reaches the disk before the index that names it, this many frames at a time: what a power cut can tear lies
# within the last two spans, and these are verified when the store is opened again.
_SYNC_EVERY = 32


class FrameStore:
    """A finished store, read by position. `store[i]` is a fresh (H, W, 3) uint8 RGB array that the caller owns.

    Safe to read from several threads, and to pickle to another process on the same disk.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._header = Header.read(self.path)
        if not is_complete(self.path):
            raise StoreError(f"{self.path}: is not complete; the run that wrote it stopped. Run the same config again.")
        self._count = read_count(self.path)
        self._files = FrameFiles(self.path, self._header, os.O_RDONLY)
        size = os.fstat(self._files.index).st_size
        if size != self._count * RECORD_SIZE:
            self._files.close()
            raise StoreError(
                f"{self._files.index_path}: {size} bytes do not fit {self._count} frames. Delete {self.path}."
            )

    @property
    def height(self) -> int:
        return self._header.height

    @property
    def width(self) -> int:
        return self._header.width

    @property
    def has_alpha(self) -> bool:
        return self._header.alpha

    @property
    def timing(self) -> Timing | None:
        """The frames' time stamps, where the writer gave them."""
        if self._header.time_base is None or self._count == 0:
            return None
        data = os.pread(self._files.index, self._count * RECORD_SIZE, 0)
        records = np.frombuffer(data, RECORD_TYPE)
        return Timing(records["tick"].astype(np.int64), int(records["until"][-1]), self._header.time_base)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, position: int) -> Image:
        offset, size, _, crc, _, _, _ = self._files.record(self._checked(position))
        data = self._files.payload(offset, size, crc, self._checked(position))
        return self._unpacked(data, (self.height, self.width, 3), position)

    def alpha(self, position: int) -> Image:
        """The (H, W) opacity of a frame, 255 opaque; a store without alpha is opaque everywhere."""
        position = self._checked(position)
        if not self.has_alpha:
            return np.full((self.height, self.width), 255, np.uint8)
        offset, size, alpha_size, _, crc, _, _ = self._files.record(position)
        data = self._files.payload(offset + size, alpha_size, crc, position)
        return self._unpacked(data, (self.height, self.width), position)

    def shown(self, position: int) -> tuple[int, int] | None:
        """From which tick until which a frame is shown, where the writer gave times."""
        if self._header.time_base is None:
            return None
        *_, tick, until = self._files.record(self._checked(position))
        return tick, until

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """Frames `start` to `stop`, one in memory at a time."""
        for position in range(*slice(start, stop).indices(self._count)):
            yield self[position]

    def alphas(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """The opacities of frames `start` to `stop`."""
        for position in range(*slice(start, stop).indices(self._count)):
            yield self.alpha(position)

    def __iter__(self) -> Iterator[Image]:
        return self.frames()

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.path,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._files.close()

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self._files.close()

    def delete(self) -> None:
        """Close the store and free its disk. The completion mark goes first: what is left of an interrupted deletion
        is an unfinished store, never a damaged one."""
        self.close()
        (self.path / "complete.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=False)

    def _checked(self, position: int) -> int:
        if not -self._count <= position < self._count:
            raise IndexError(f"{self.path}: frame {position} of {self._count}")
        return position % self._count

    def _unpacked(self, data: bytes, shape: tuple[int, ...], position: int) -> Image:
        try:
            return decompress(data, shape)
        except zstandard.ZstdError as problem:
            raise self._files.damage(self._files.frames_path, position) from problem


class FrameWriter:
    """Appends frames in order; opening an unfinished store again continues it.

    After a crash `count` says how many whole frames are there; append from that one on, and the store's bytes are
    those of an uninterrupted run. Only one writer at a time: a second one gets a `StoreError`.
    """

    def __init__(
        self, path: Path | str, height: int, width: int, *, alpha: bool = False, time_base: Fraction | None = None
    ) -> None:
        self.path = Path(path)
        self._header = Header(height, width, alpha, time_base)
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self.path)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        if is_complete(self.path):
            raise StoreError(f"{self.path}: is complete and cannot be written again. Read it, or delete it first.")
        if (self.path / "store.json").is_file():
            found = Header.read(self.path)
            if found != self._header:
                raise StoreError(f"{self.path}: holds frames of another kind ({found}, not {self._header}). Delete it.")
        else:
            with disk_errors(self.path):
                write_aside(self.path / "store.json", self._header.dump().encode())
        self._files = FrameFiles(self.path, self._header, os.O_RDWR | os.O_CREAT)
        self._count, self._end = self._whole_frames()
        os.ftruncate(self._files.index, self._count * RECORD_SIZE)
        os.ftruncate(self._files.frames, self._end)
        self._synced = self._count
        self.last_tick = self._files.record(self._count - 1)[5] if self._count else None

    @property
    def count(self) -> int:
        """How many whole frames the store holds."""
        return self._count

    def append(
        self, rgb: Image, alpha: Image | None = None, *, tick: int | None = None, until: int | None = None
    ) -> None:
        """Add the next frame. `tick` and `until` belong to a store with a time base, `alpha` to one with alpha."""
        header = self._header
        if rgb.shape != (header.height, header.width, 3) or rgb.dtype != np.uint8:
            raise ValueError(
                f"{self.path}: holds {header.height}x{header.width} RGB uint8, got {rgb.shape} {rgb.dtype}"
            )
        if (alpha is not None) != header.alpha or (tick is not None) != (header.time_base is not None):
            raise ValueError(f"{self.path}: alpha and tick are given exactly when the store was made for them")
        data = compress(np.ascontiguousarray(rgb))
        matte = b"" if alpha is None else compress(self._checked_alpha(alpha))
        tick = self._count if tick is None else tick
        record = RECORD.pack(
            self._end,
            len(data),
            len(matte),
            zlib.crc32(data),
            zlib.crc32(matte),
            tick,
            tick + 1 if until is None else until,
        )
        with disk_errors(self.path):
            write_all(self._files.frames, data + matte, self._end)
            check = zlib.crc32(record).to_bytes(4, "little")
            write_all(self._files.index, record + check, self._count * RECORD_SIZE)
        self._end += len(data) + len(matte)
        self._count += 1
        self.last_tick = tick
        if self._count - self._synced >= _SYNC_EVERY:
            self._sync()

    def finish(self) -> FrameStore:
        """Make everything durable, mark the store complete and return it for reading."""
        self._sync()
        with disk_errors(self.path):
            write_aside(self.path / "complete.json", json.dumps({"count": self._count, "bytes": self._end}).encode())
        self.close()
        return FrameStore(self.path)

    def close(self) -> None:
        """Let go of the files; unfinished work stays on disk to be continued."""
        self._files.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked_alpha(self, alpha: Image) -> Image:
        if alpha.shape != (self._header.height, self._header.width) or alpha.dtype != np.uint8:
            raise ValueError(f"{self.path}: alpha of {alpha.shape} {alpha.dtype} does not fit {self._header}")
        return np.ascontiguousarray(alpha)

    def _sync(self) -> None:
        with disk_errors(self.path):
            os.fsync(self._files.frames)
            os.fsync(self._files.index)
        self._synced = self._count

    def _whole_frames(self) -> tuple[int, int]:
        """How many leading frames are whole, and where the last of them ends."""
        records = os.fstat(self._files.index).st_size // RECORD_SIZE
        data_size = os.fstat(self._files.frames).st_size
        count, end = 0, 0
        for position in range(records):
            try:
                if position < records - 2 * _SYNC_EVERY:
                    # Known to be on disk: the chain of offsets is enough.
                    offset, size, alpha_size, *_ = self._files.record(position)
                    behind = offset + size + alpha_size
                else:
                    offset = self._files.record(position)[0]
                    behind = self._files.verify(position)
            except StoreError:
                break
            if offset != end or behind > data_size:
                break
            count, end = position + 1, behind
        return count, end
