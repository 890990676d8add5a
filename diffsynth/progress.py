"""How far a run is: bars on a terminal, plain lines elsewhere, and always `progress.jsonl` in the run's folder."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from diffsynth.disk import disk_errors, json_text

LINE_SECONDS = 5.0
RECORD_SECONDS = 0.5


@dataclass
class Stage:
    """One stage of a run. `advance` is cheap: displays decide how often they look."""

    name: str
    total: int | None
    done: int
    displays: tuple["Display", ...]
    unit: str = "frames"
    """What is counted."""
    started: float = field(default_factory=time.monotonic)
    resumed_at: int = 0

    def advance(self, count: int = 1) -> None:
        self.done += count
        for display in self.displays:
            display.update(self)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def per_second(self) -> float:
        """Units a second in this process; what an earlier run had finished doesn't count."""
        return (self.done - self.resumed_at) / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        if self.total is None or self.done <= self.resumed_at:
            return None
        return max(self.total - self.done, 0) / self.per_second


class Display(Protocol):
    """Something that shows a stage as it goes."""

    def begin(self, stage: Stage) -> None: ...
    def update(self, stage: Stage) -> None: ...
    def end(self, stage: Stage, *, finished: bool) -> None: ...
    def note(self, text: str) -> None: ...


class Progress:
    """Hands each stage to all displays."""

    def __init__(self, displays: tuple[Display, ...] = ()) -> None:
        self._displays = displays

    @contextmanager
    def stage(self, name: str, total: int | None, done: int = 0, unit: str = "frames") -> Iterator[Stage]:
        """A stage of `total` frames or other units (None: unknown) of which an earlier run finished `done`."""
        stage = Stage(name, total, done, self._displays, unit, resumed_at=done)
        for display in self._displays:
            display.begin(stage)
        finished = False
        try:
            yield stage
            finished = True
        finally:
            for display in self._displays:
                display.end(stage, finished=finished)

    def note(self, text: str) -> None:
        """Something the user should know, kept in the record too."""
        for display in self._displays:
            display.note(text)


@contextmanager
def reporting(console: Console, record: Path, *, quiet: bool) -> Iterator[Progress]:
    """Progress on the console (unless `quiet`) and in the file `record`, which grows by one line an event."""
    with ExitStack() as stack:
        displays: list[Display] = [Record(stack.enter_context(_appending(record)))]
        if not quiet:
            displays.append(shown(console))
        yield Progress(tuple(displays))


def shown(console: Console) -> Display:
    """Bars for people, lines for logs."""
    return BarDisplay(console) if console.is_terminal else LineDisplay(console)


def _appending(record: Path) -> BinaryIO:
    with disk_errors(record.parent):
        file = record.open("a+b", buffering=0)
    if file.tell():
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")  # a full disk cut the last line off
    return file


class BarDisplay:
    """A live bar for the stage under way."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._task = TaskID(0)

    def begin(self, stage: Stage) -> None:
        self._bars = Bars(
            TextColumn("{task.description:>10}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            expand=True,
        )
        self._task = self._bars.add_task(stage.name, total=stage.total, completed=stage.done, rate="")
        self._bars.start()

    def update(self, stage: Stage) -> None:
        if self._bars is not None:
            self._bars.update(self._task, completed=stage.done, rate=f"{stage.per_second:.1f} {stage.unit}/s")

    def end(self, stage: Stage, *, finished: bool) -> None:
        if self._bars is not None:
            if finished:
                self._bars.update(self._task, total=stage.done, completed=stage.done)
            self._bars.stop()
            self._bars = None

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)


class LineDisplay:
    """One plain line every few seconds, for logs and pipes."""

    def __init__(self, console: Console, every: float = LINE_SECONDS) -> None:
        self._console = console
        self._every = every
        self._last = 0.0

    def begin(self, stage: Stage) -> None:
        self._last = time.monotonic()

    def update(self, stage: Stage) -> None:
        now = time.monotonic()
        if now - self._last >= self._every:
            self._last = now
            left = stage.seconds_left
            remaining = f", {_duration(left)} left" if left is not None else ""
            self.note(f"{stage.name}: {_count(stage)}, {stage.per_second:.1f} {stage.unit}/s{remaining}")

    def end(self, stage: Stage, *, finished: bool) -> None:
        if finished:
            self.note(f"{stage.name}: {_count(stage)} in {_duration(stage.seconds)}")

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Record:
    """One JSON object a line, for programs that watch a run. `file` is unbuffered: a line is there once it is said."""

    def __init__(self, file: BinaryIO, every: float = RECORD_SECONDS) -> None:
        self._file = file
        self._every = every
        self._last = 0.0

    def begin(self, stage: Stage) -> None:
        self._write("begin", stage)

    def update(self, stage: Stage) -> None:
        if time.monotonic() - self._last >= self._every:
            self._write("progress", stage)

    def end(self, stage: Stage, *, finished: bool) -> None:
        self._write("end" if finished else "stopped", stage)

    def note(self, text: str) -> None:
        self._line({"event": "note", "text": text})

    def _write(self, event: str, stage: Stage) -> None:
        self._last = time.monotonic()
        left = stage.seconds_left
        self._line(
            {
                "event": event,
                "stage": stage.name,
                "done": stage.done,
                "total": stage.total,
                f"{stage.unit}_per_second": round(stage.per_second, 3),
                "seconds_left": None if left is None else round(left, 1),
            }
        )

    def _line(self, entry: dict[str, object]) -> None:
        line = json_text({"time": round(time.time(), 3), **entry}) + "\n"
        # On a full disk the watchers hear nothing more; the run is stopped by what it can't write itself.
        with suppress(OSError):
            self._file.write(line.encode())


def _count(stage: Stage) -> str:
    return f"{stage.done} {stage.unit}" if stage.total is None else f"{stage.done}/{stage.total} {stage.unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{seconds:.1f} s"
