"""Running a program that the user names: no shell, no input, a limit to its time, and none left behind."""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated

from pydantic import Field

from diffsynth.errors import EngineError

SHOWN = 2000
"""Bytes of what a failed program said that are repeated."""
LONGEST = 3600.0
"""Seconds that a program may take by default: far more than one pair of large frames needs."""
BinTimeout = Annotated[float, Field(gt=0, le=10**6)]
"""`bin_timeout` of a config."""


class Program:
    """One program, run any number of times, also from several threads at once. `end` stops all of it."""

    def __init__(self, path: Path, longest: float) -> None:
        self._path = path
        self._longest = longest
        self._lock = Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, arguments: Sequence[str], log: Path) -> None:
        """Run it to its end; anything but success is an `EngineError` with what it said, which goes into `log`."""
        with log.open("wb") as said:
            started = self._start(arguments, said.fileno())
        try:
            status = started.wait(self._longest)
        except subprocess.TimeoutExpired as error:
            raise EngineError(
                f"{self._path}: was stopped, because it was not done after {self._longest:g} seconds. If it needs"
                ' longer, raise "bin_timeout".'
            ) from error
        finally:
            self._reap(started)
        if status != 0:
            raise EngineError(f"{self._path}: stopped with exit status {status}. It said: {_tail(log) or 'nothing'}")

    def end(self) -> None:
        """Kill whatever runs, and start nothing any more."""
        with self._lock:
            self._ended = True
            for each in self._running:
                _kill(each)

    def _start(self, arguments: Sequence[str], said: int) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._ended:
                raise EngineError(f"{self._path}: was not started, because another pair failed.")
            try:
                # A session of its own, so that what the program starts ends with it.
                started = subprocess.Popen(  # noqa: S603  the user's choice
                    [str(self._path), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineError(
                    f'{self._path}: this program can\'t be started ({error.strerror}). Correct "bin_path", or leave it'
                    " out."
                ) from error
            self._running.add(started)
            return started

    def _reap(self, started: "subprocess.Popen[bytes]") -> None:
        with self._lock:
            _kill(started)
            started.wait()
            self._running.discard(started)


def _kill(started: "subprocess.Popen[bytes]") -> None:
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGKILL)


def _tail(log: Path) -> str:
    with log.open("rb") as said:
        said.seek(max(said.seek(0, os.SEEK_END) - SHOWN, 0))
        return said.read().decode(errors="replace").strip()
