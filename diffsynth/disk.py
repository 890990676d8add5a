"""Files that a crash, a full disk or a second process cannot spoil."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from diffsynth.errors import StoreError


def write_aside(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash leaves the whole file or the old one, never a part."""
    partial = aside(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def aside(path: Path) -> Path:
    """Where `write_aside` keeps a file until it is whole."""
    return path.with_name(f".{path.name}.partial")


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that people can read. File names that are no text (another encoding's bytes) are escaped, and read back as
    the same names."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return json.dumps(value, indent=indent) if any("\ud800" <= each <= "\udfff" for each in text) else text


def write_json(path: Path, value: Any) -> None:
    """As `write_aside`, for a record that people read too."""
    write_aside(path, (json_text(value, indent=2) + "\n").encode())


def sync(path: Path) -> None:
    """Make a finished file, or the renames inside a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def lock(path: Path) -> int:
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


class disk_errors:  # noqa: N801  reads as a statement
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
