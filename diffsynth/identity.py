"""What a file or folder holds, as a short record that two runs can compare."""

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from diffsynth.errors import MissingFileError

BLOCK = 1 << 20
SAMPLES, SAMPLE = 64, 1 << 12


def identify(
    path: Path, known: Mapping[str, Any] | None = None, leave_out: Callable[[Path], bool] = lambda folder: False
) -> dict[str, Any]:
    """Size, time and SHA-256 of a file, a folder, or the files that a glob names.

    `known`, an earlier record, spares the reading where size and time still are what they were. Folders inside a folder
    that `leave_out` knows are no part of it.
    """
    files = _files(path, leave_out)
    if not files:
        raise MissingFileError(f"{path}: there is nothing there.")
    stats = [each.stat() for each in files]
    size, modified = sum(each.st_size for each in stats), max(each.st_mtime_ns for each in stats)
    if known and (known.get("bytes"), known.get("modified"), known.get("files")) == (size, modified, len(files)):
        return dict(known)
    if files == [path]:
        digest = _sha256(path)
    else:
        listing = "\n".join(f"{each.name}\0{_sha256(each)}" for each in files)
        digest = hashlib.sha256(listing.encode()).hexdigest()
    return {"sha256": digest, "bytes": size, "modified": modified, "files": len(files)}


def glance(files: Iterable[Path]) -> str:
    """What files hold, from their names, sizes and 64 samples of each: gigabytes of weights are told apart at no cost.

    It can miss a change of a few bytes; who needs all of them takes `identify`.
    """
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for number in range(SAMPLES):
                file.seek(number * max(size - SAMPLE, 0) // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:16]


def _files(path: Path, leave_out: Callable[[Path], bool]) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        found = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        return sorted(each for each in found if each.is_file())
    files = []
    for folder, inner, names in os.walk(path):
        inner[:] = [name for name in inner if not leave_out(Path(folder, name))]
        files += [Path(folder, name) for name in names]
    return sorted(each for each in files if each.is_file())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
