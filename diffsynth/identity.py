"""What a file or folder holds, as a short record that two runs can compare."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffsynth.errors import MissingFileError

BLOCK = 1 << 20


def identify(path: Path, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Size, time and SHA-256 of a file, a folder, or the files that a glob names.

    `known`, an earlier record, spares the reading where size and time still are what they were.
    """
    files = _files(path)
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


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = path.rglob("*") if path.is_dir() else path.parent.glob(path.name)
    return sorted(each for each in found if each.is_file())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
