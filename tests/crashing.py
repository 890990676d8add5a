"""Runs in processes of their own that die in the middle: at a chosen file operation, or by a signal from outside."""

import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

APPENDED = "tests.append"
"""What the hook hears of a frame that is about to be stored; the other events are Python's own."""


@dataclass(frozen=True)
class Blow:
    """SIGKILL at the `number`-th operation on a path that `pattern` is found in."""

    pattern: str
    number: int = 1


def server() -> ForkServerContext:
    """Forks processes that have their imports behind them: a run begins in milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["diffsynth.cli", "diffsynth.tasks.stylize_parts", "diffusers", "transformers"])
    return context


def run(
    context: ForkServerContext,
    arguments: Sequence[str],
    cache: Path,
    blow: Blow | None = None,
    *,
    largest: int | None = None,
    said: Path | None = None,
) -> int:
    """The exit code of `diffsynth run …`; -9 where the blow fell.

    No file may grow beyond `largest` bytes. What it says on stderr goes to the file `said`.
    """
    process = context.Process(target=_run, args=(list(arguments), str(cache), blow, largest, said))
    process.start()
    process.join(timeout=300)
    assert process.exitcode is not None, "it hangs"
    return int(process.exitcode)


def operations(context: ForkServerContext, arguments: Sequence[str], cache: Path, pattern: str) -> int:
    """How many operations on paths with `pattern` a whole run takes."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_count, args=(list(arguments), str(cache), pattern, sender))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == 0
    return int(receiver.recv())


def results(output: Path) -> dict[str, bytes]:
    """The frames and the video of a finished run."""
    assert not (output / ".work").exists(), "what the stages hand to each other goes with the end"
    files = [*sorted((output / "frames").iterdir()), *output.glob("video_output.*")]
    assert len(files) > 1
    return {each.name: each.read_bytes() for each in files}


def clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _run(arguments: list[str], cache: str, blow: Blow | None, largest: int | None, said: Path | None) -> None:
    if said is not None:
        sys.stderr = said.open("w")
    if blow is not None:
        _listen(blow.pattern, lambda count: count == blow.number and os.kill(os.getpid(), signal.SIGKILL))
    _main(arguments, cache, largest)


def _count(arguments: list[str], cache: str, pattern: str, sender: Any) -> None:
    heard = [0]
    _listen(pattern, lambda count: heard.__setitem__(0, count))
    try:
        _main(arguments, cache)
    finally:
        sender.send(heard[0])


def _main(arguments: list[str], cache: str, largest: int | None = None) -> None:
    from diffsynth.cli import main

    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    os.environ["DIFFSYNTH_CACHE"] = cache
    os.sched_setaffinity(
        0, {random.choice(sorted(os.sched_getaffinity(0)))}
    )  # one thread: small sums wait for a second
    sys.exit(main(["run", *arguments, "--quiet"]))


def _listen(pattern: str, hear: Any) -> None:
    """Call `hear` with the number of operations so far, before each one takes place."""
    from diffsynth.frames import FrameWriter

    wanted, heard, append = re.compile(pattern), [0], FrameWriter.append

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if arguments else None
        if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", APPENDED} and wanted.search(str(path)):
            heard[0] += 1
            hear(heard[0])

    def announced(self: FrameWriter, *positional: Any, **named: Any) -> None:
        sys.audit(APPENDED, f"{self.path}/append")
        append(self, *positional, **named)

    FrameWriter.append = announced  # type: ignore[method-assign]
    sys.addaudithook(hook)
