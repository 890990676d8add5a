"""What was computed once and can be computed again: kept by what it was made from, within a limit.

    folder/<digest>/key.json     what the entry was made from
    folder/<digest>/…            the entry, made by whoever asked first
    folder/<digest>.lock         held while the entry is made; the kernel drops it when its holder dies

An entry that an interruption left unfinished stays, and is continued by the next one who asks for it.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from diffsynth import disk
from diffsynth.errors import ConfigError, StoreError
from diffsynth.frames import FrameStore
from diffsynth.identity import BLOCK

KEY = "key.json"
DEFAULT_LIMIT = 20 * 10**9
FULL = {errno.ENOSPC, errno.EDQUOT}
"""What the system says of a file that has no more room; of which file, it doesn't say."""
FOLDER_VARIABLE, LIMIT_VARIABLE = "DIFFSYNTH_CACHE", "DIFFSYNTH_CACHE_GB"

T = TypeVar("T")


@dataclass(frozen=True)
class ContentCache:
    """Entries by the content that they were made from. Holds no more than `limit` bytes of finished work beside what is
    being made or was just asked for; the entries that were not used for longest go first."""

    folder: Path
    limit: int = DEFAULT_LIMIT

    @classmethod
    def of_user(cls) -> "ContentCache":
        """The cache that all runs of a user share: `$DIFFSYNTH_CACHE`, else the system's place for such things."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "diffsynth"
        folder = Path(os.environ.get(FOLDER_VARIABLE) or base).expanduser()
        gigabytes = os.environ.get(LIMIT_VARIABLE, "")
        try:
            limit = int(float(gigabytes) * 10**9) if gigabytes else DEFAULT_LIMIT
        except ValueError:
            raise ConfigError([f'{LIMIT_VARIABLE} is "{gigabytes}"; it must be a number of gigabytes.']) from None
        return cls(folder, limit)

    def get(self, key: Mapping[str, Any], make: Callable[[Path], T]) -> T:
        """What `make` returns for the entry of `key`.

        `make` gets the entry's folder and opens what is finished there, continues what isn't, or begins. Only one
        process is in it at a time. What it returned may stay open: an entry that is dropped meanwhile keeps its bytes
        until then.
        """
        entry = self.folder / digest(key)
        with _disk_problems(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _held(entry, wait=True):
                entry.mkdir(exist_ok=True)
                if not (entry / KEY).is_file():
                    disk.write_json(entry / KEY, dict(key))
                made = make(entry)
                os.utime(entry)
            self._drop_oldest(entry)
        return made

    def _drop_oldest(self, kept: Path) -> None:
        entries = sorted((each for each in self.folder.iterdir() if each.is_dir()), key=_used)
        sizes = {each: _bytes(each) for each in entries}
        excess = sum(sizes.values()) - self.limit
        for entry in entries:
            if excess <= 0:
                return
            if entry == kept:
                continue
            with _held(entry, wait=False) as free:
                if free:
                    shutil.rmtree(entry, ignore_errors=True)
                    excess -= sizes[entry]


def digest(key: Mapping[str, Any]) -> str:
    """A short name for all that a key says, however its parts are ordered."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def frames_digest(store: FrameStore) -> str:
    """The content of a finished store, alpha included: equal for equal frames written by equal code, times left out."""
    hashed = hashlib.sha256(f"{len(store)} {store.height} {store.width} {store.has_alpha}\n".encode())
    with (store.path / "frames.bin").open("rb") as file:
        while block := file.read(BLOCK):
            hashed.update(block)
    return hashed.hexdigest()


@contextmanager
def _held(entry: Path, *, wait: bool) -> Iterator[bool]:
    """Hold an entry's lock; yields whether it was to be had."""
    descriptor = os.open(entry.with_name(f"{entry.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextmanager
def _disk_problems(folder: Path) -> Iterator[None]:
    """A disk that says no to the cache's own files becomes an error that names the cache and the way out."""
    try:
        yield
    except OSError as problem:
        said = problem.__cause__ if isinstance(problem, StoreError) else problem
        if not isinstance(said, OSError) or not (said.errno in FULL or _lies_in(folder, said.filename)):
            raise
        raise StoreError(
            f"{said.filename or folder}: {said.strerror}. This is the cache; set {FOLDER_VARIABLE} to a folder that "
            "can be written, or free space and run the same again: what is finished is kept."
        ) from problem


def _lies_in(folder: Path, file: Any) -> bool:
    return isinstance(file, str) and Path(file).is_relative_to(folder)


def _used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:  # another process dropped it
        return 0.0


def _bytes(entry: Path) -> int:
    total = 0
    for file in entry.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:  # another process works here
            continue
    return total
