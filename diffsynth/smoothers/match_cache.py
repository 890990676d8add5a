"""Matches on disk, found again by what they were made from.

An entry's name is a digest of both frames and of everything that decides the match, so a cache may be shared by all
clips and runs. It has a limit: when it is full, entries that no run has used for longest make room, but none that this
run uses, and what doesn't fit is simply not kept.
"""

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import zstandard

from diffsynth.engines.base import Nnf
from diffsynth.errors import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT)


def default_folder() -> Path:
    """`diffsynth/matches` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "diffsynth" / "matches"


def digest(*parts: bytes | str) -> str:
    """A name for content."""
    running = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        running.update(len(data).to_bytes(8, "little"))
        running.update(data)
    return running.hexdigest()


@dataclass
class MatchCache:
    """NNFs by name in a folder, at most `limit` bytes of them."""

    folder: Path
    limit: int = 4 << 30
    _begun: float = field(default_factory=time.time)
    _used: int | None = None
    _full: bool = False
    """Whether nothing more can be kept: there is no room, and only what this run uses could make some."""

    def get(self, name: str) -> Nnf | None:
        """The NNF of that name; None where there is none, or a damaged one."""
        path = self._path(name)
        try:
            data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
            os.utime(path)
        except FileNotFoundError:
            return None
        except (zstandard.ZstdError, OSError):
            return None  # it will be found anew and written over
        height, width = (int(each) for each in np.frombuffer(data[:8], "<i4"))
        if len(data) != 8 + height * width * 4:
            return None
        offsets = np.frombuffer(data, "<i2", offset=8).reshape(height, width, 2)
        return np.asarray(offsets + _places(height, width), np.int16)

    def put(self, name: str, nnf_yx: Nnf) -> None:
        """Keep an NNF, if there is or can be made room."""
        height, width = nnf_yx.shape[:2]
        # Offsets, not places: where neighbours move alike they are equal, and compress to a tenth.
        offsets = (nnf_yx - _places(height, width)).astype("<i2")
        raw = np.array([height, width], "<i4").tobytes() + offsets.tobytes()
        data = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(raw)
        if not self._room_for(len(data)):
            return
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            aside.write_bytes(data)
        except OSError as error:
            if error.errno not in FULL:
                raise
            aside.unlink(missing_ok=True)
            self._full = True
            return
        aside.replace(path)
        self._used = (self._used or 0) + len(data)

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.nnf"

    def _room_for(self, size: int) -> bool:
        if self._full:
            return False
        if self._used is None:
            self._used = sum(length for _, length, _ in self._entries())
        if self._used + size > self.limit:
            self._evict(size)
            self._full = self._used + size > self.limit
        return not self._full

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """When each entry was last used, its size and its file."""
        for path in self.folder.glob("*/*.nnf"):
            with suppress(FileNotFoundError):  # another run has made room for its own meanwhile
                found = path.stat()
                yield found.st_mtime, found.st_size, path

    def _evict(self, size: int) -> None:
        """Remove the oldest entries of earlier runs until a tenth of the cache is free."""
        found = sorted(self._entries())
        self._used = sum(length for _, length, _ in found)
        for modified, length, path in found:
            if modified >= self._begun or self._used + size <= self.limit * 0.9:
                break
            path.unlink(missing_ok=True)
            self._used -= length


@lru_cache(maxsize=2)
def _places(height: int, width: int) -> Nnf:
    rows, columns = np.indices((height, width), np.int16)
    places: Nnf = np.stack([rows, columns], axis=-1)
    return places


def open_cache(folder: Path | None, gigabytes: float) -> MatchCache | None:
    """The cache that a config asks for; none where it may hold nothing.

    A folder that was asked for must be one that can be written to. Without the default one, matches are only not kept.
    """
    if gigabytes <= 0:
        return None
    place = folder or default_folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return MatchCache(place, round(gigabytes * 2**30))
    except OSError as error:
        if folder is None:
            return None
        raise StoreError(
            f'{folder}: matches can\'t be kept here ({error.strerror}). Give "cache_path" a folder that can be written'
            " to, or leave it out."
        ) from error
