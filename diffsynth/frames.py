"""Frames on disk: what lies between two stages of a run.

A store is a folder:

    store.json      size, alpha, time base; written first
    frames.bin      the compressed frames one after another, alpha right behind its frame
    index.bin       one record of fixed size per frame: where it lies, its checksums, its time
    complete.json   written last; a store without it is unfinished work

Reading goes by position (`os.pread`), never through a memory map: touched pages of a map count as resident, and a
long clip would fill the memory one frame at a time.
"""

import fcntl
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from diffsynth.errors import StoreError

Image = NDArray[np.uint8]

_VERSION = 1
# offset, size, alpha size, crc, alpha crc, tick, until; the record's own crc stands behind them.
_RECORD = struct.Struct("<QIIIIqq")
_RECORD_SIZE = _RECORD.size + 4
_RECORD_TYPE = np.dtype(
    {
        "names": ["offset", "size", "alpha_size", "tick", "until"],
        "formats": ["<u8", "<u4", "<u4", "<i8", "<i8"],
        "offsets": [0, 8, 12, 24, 32],
        "itemsize": _RECORD_SIZE,
    }
)
# Data reaches the disk before the index that names it, this many frames at a time: what a power cut can tear lies
# within the last two spans, and these are verified when the store is opened again.
_SYNC_EVERY = 32


@dataclass(frozen=True)
class Timing:
    """When each frame is shown, in ticks of `time_base` seconds. Ticks count from the source's zero, not from ours."""

    ticks: NDArray[np.int64]
    until: int
    """The tick at which the last frame goes away."""
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def start(self) -> Fraction:
        return int(self.ticks[0]) * self.time_base

    @property
    def end(self) -> Fraction:
        return self.until * self.time_base

    @property
    def duration(self) -> Fraction:
        return self.end - self.start

    def is_regular(self, fps: Fraction) -> bool:
        """Whether the frames sit on the grid of `fps`, up to the rounding of the time base."""
        step = 1 / (fps * self.time_base)
        numerator, denominator = step.numerator, step.denominator
        # Exact integers: a float grid would drift apart from the ticks over a long clip.
        grid = (np.arange(len(self.ticks), dtype=object) * numerator + denominator // 2) // denominator
        offset = np.abs((self.ticks - self.ticks[0]).astype(object) - grid)
        return bool(len(self.ticks) == 0 or max(offset) <= min(1, step / 2))


@dataclass(frozen=True)
class _Header:
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


def is_complete(path: Path | str) -> bool:
    """Whether `path` holds a finished store."""
    return (Path(path) / "complete.json").is_file()


def written_count(path: Path | str) -> int:
    """How many frames a store holds, finished or not; 0 where there is none. The last ones may still turn out torn."""
    index = Path(path) / "index.bin"
    return index.stat().st_size // _RECORD_SIZE if index.is_file() else 0


def write_aside(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash leaves the whole file or the old one, never a part."""
    aside = path.with_name(f".{path.name}.partial")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a finished file, or the renames inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _compress(image: Image) -> bytes:
    # Difference to the row above, modulo 256. Neighbouring rows resemble each other, so zstd finds small numbers (2.3
    # instead of 1.2 times smaller on noisy 1080p, 6 instead of 3 on clean), and undoing it is one addition of whole
    # rows; the horizontal difference gains less and has to be undone pixel by pixel.
    difference = image.copy()
    difference[1:] -= image[:-1]
    return zstandard.ZstdCompressor(level=1).compress(difference.data)


def _decompress(data: bytes, shape: tuple[int, ...]) -> Image:
    size = int(np.prod(shape))
    raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    if len(raw) != size:
        raise zstandard.ZstdError(f"{len(raw)} bytes instead of {size}")
    image = np.frombuffer(bytearray(raw), np.uint8).reshape(shape)
    for y in range(1, shape[0]):
        np.add(image[y], image[y - 1], out=image[y])
    return image


class _Files:
    """The two files of a store opened by position: shared by reading and by taking up unfinished work."""

    def __init__(self, path: Path, header: _Header, flags: int) -> None:
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
        data = os.pread(self.index, _RECORD_SIZE, position * _RECORD_SIZE)
        if len(data) != _RECORD_SIZE or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise self.damage(self.index_path, position)
        return _RECORD.unpack_from(data)

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


class FrameStore:
    """A finished store, read by position. `store[i]` is a fresh (H, W, 3) uint8 RGB array that the caller owns.

    Safe to read from several threads, and to pickle to another process on the same disk.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._header = _Header.read(self.path)
        if not is_complete(self.path):
            raise StoreError(f"{self.path}: is not complete; the run that wrote it stopped. Run the same config again.")
        self._count = _read_count(self.path)
        self._files = _Files(self.path, self._header, os.O_RDONLY)
        size = os.fstat(self._files.index).st_size
        if size != self._count * _RECORD_SIZE:
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
        data = os.pread(self._files.index, self._count * _RECORD_SIZE, 0)
        records = np.frombuffer(data, _RECORD_TYPE)
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
            return _decompress(data, shape)
        except zstandard.ZstdError as problem:
            raise self._files.damage(self._files.frames_path, position) from problem


def _read_count(path: Path) -> int:
    file = path / "complete.json"
    try:
        return int(json.loads(file.read_bytes())["count"])
    except (ValueError, KeyError, TypeError) as problem:
        raise StoreError(f"{file}: is damaged ({problem}). Delete {path} and run again.") from problem


class FrameWriter:
    """Appends frames in order; opening an unfinished store again continues it.

    After a crash `count` says how many whole frames are there; append from that one on, and the store's bytes are
    those of an uninterrupted run. Only one writer at a time: a second one gets a `StoreError`.
    """

    def __init__(
        self, path: Path | str, height: int, width: int, *, alpha: bool = False, time_base: Fraction | None = None
    ) -> None:
        self.path = Path(path)
        self._header = _Header(height, width, alpha, time_base)
        with _disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path)
        try:
            self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        if is_complete(self.path):
            raise StoreError(f"{self.path}: is complete and cannot be written again. Read it, or delete it first.")
        if (self.path / "store.json").is_file():
            found = _Header.read(self.path)
            if found != self._header:
                raise StoreError(f"{self.path}: holds frames of another kind ({found}, not {self._header}). Delete it.")
        else:
            with _disk_errors(self.path):
                write_aside(self.path / "store.json", self._header.dump().encode())
        self._files = _Files(self.path, self._header, os.O_RDWR | os.O_CREAT)
        self._count, self._end = self._whole_frames()
        os.ftruncate(self._files.index, self._count * _RECORD_SIZE)
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
                f"{self.path}: holds {header.height}×{header.width} RGB uint8, got {rgb.shape} {rgb.dtype}"
            )
        if (alpha is not None) != header.alpha or (tick is not None) != (header.time_base is not None):
            raise ValueError(f"{self.path}: alpha and tick are given exactly when the store was made for them")
        data = _compress(np.ascontiguousarray(rgb))
        matte = b"" if alpha is None else _compress(self._checked_alpha(alpha))
        tick = self._count if tick is None else tick
        record = _RECORD.pack(
            self._end,
            len(data),
            len(matte),
            zlib.crc32(data),
            zlib.crc32(matte),
            tick,
            tick + 1 if until is None else until,
        )
        with _disk_errors(self.path):
            _write_all(self._files.frames, data + matte, self._end)
            check = zlib.crc32(record).to_bytes(4, "little")
            _write_all(self._files.index, record + check, self._count * _RECORD_SIZE)
        self._end += len(data) + len(matte)
        self._count += 1
        self.last_tick = tick
        if self._count - self._synced >= _SYNC_EVERY:
            self._sync()

    def finish(self) -> FrameStore:
        """Make everything durable, mark the store complete and return it for reading."""
        self._sync()
        with _disk_errors(self.path):
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
        with _disk_errors(self.path):
            os.fsync(self._files.frames)
            os.fsync(self._files.index)
        self._synced = self._count

    def _whole_frames(self) -> tuple[int, int]:
        """How many leading frames are whole, and where the last of them ends."""
        records = os.fstat(self._files.index).st_size // _RECORD_SIZE
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


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _lock(path: Path) -> int:
    descriptor = os.open(path / "writer.lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # The kernel drops the lock when its holder dies, however it dies.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreError(
            f"{path}: another process is writing here. Wait for it, or choose another output folder."
        ) from None
    return descriptor


class _disk_errors:  # noqa: N801  reads as a statement
    """Turns what the disk says (full, read-only, gone) into a `StoreError` that names the store."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(
                f"{self.path}: cannot be written: {error.strerror}. Nothing was marked complete; free space or choose "
                "another output folder, and run the same config again to continue."
            ) from error
