"""Many configs times many clips, one after the other: each to its own folder, and one summary at the end."""

import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from diffsynth import config as configs
from diffsynth.config import Override
from diffsynth.errors import ConfigError, DiffSynthError
from diffsynth.inputs import expand, folder_names
from diffsynth.launch import joined
from diffsynth.progress import Progress, reporting
from diffsynth.run_dir import RunFolder, claim
from diffsynth.runtime import Runtime
from diffsynth.tasks import DEFAULT_TASK, TASKS, Runnable, Task
from diffsynth.world import World

EXIT_DONE, EXIT_SOME_FAILED, EXIT_USER_ERROR, EXIT_INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    configs: tuple[Path, ...]
    inputs: tuple[str, ...] = ()
    output: Path | None = None
    overrides: tuple[Override, ...] = ()
    fresh: bool = False
    quiet: bool = False
    preview: int | None = None
    """Only so many frames of each clip, in a folder beside the result's."""


@dataclass(frozen=True)
class Piece:
    """One clip of one config."""

    name: str
    config: Runnable


@dataclass(frozen=True)
class Failure:
    name: str
    reason: str


class Interrupted(KeyboardInterrupt):
    """SIGTERM, or the terminal is gone: the same as Ctrl-C. What is finished is on disk."""


def load(path: Path, request: Request, source: str | None) -> Runnable:
    """A config with the command line's input, output and overrides in it."""
    overrides = list(request.overrides)
    if source is not None:
        key = _input_key(path)
        if key is None:
            raise ConfigError([f"{path}: its task reads no clip; leave --input out."])
        overrides.append(Override.of(key, source))
    if request.output is not None:
        overrides.append(Override.of("output_path", str(request.output)))
    if request.preview is not None:
        overrides.append(Override(("preview",), str(request.preview)))
    return configs.load(path, TASKS, DEFAULT_TASK, overrides)


def _input_key(path: Path) -> str | None:
    """The key that holds the clip of a config; a task that isn't known is reported when the config is validated."""
    kind = TASKS.get(str(configs.read(path).get("task", DEFAULT_TASK)))
    return kind.INPUT_KEY if kind is not None else Runnable.INPUT_KEY


def plan(request: Request) -> list[list[Piece]]:
    """All pieces, those of one config together. Every config is checked before the first one runs."""
    sources = expand(request.inputs)
    names = folder_names([Path(each) for each in sources])
    config_names = folder_names(list(request.configs))
    groups: list[list[Piece]] = []
    problems: list[str] = []
    for path, config_name in zip(request.configs, config_names, strict=True):
        try:
            groups.append(_pieces(path, config_name, request, sources, names))
        except ConfigError as error:
            problems.extend(error.problems)
        except DiffSynthError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    _refuse_shared_folders(groups)
    return groups


def _pieces(path: Path, config_name: str, request: Request, sources: list[str], names: list[str]) -> list[Piece]:
    pieces = []
    clips: list[tuple[str | None, str]] = list(zip(sources, names, strict=True)) or [(None, config_name)]
    for source, name in clips:
        config = load(path, request, source)
        folder = config.output_path
        if request.output is not None and len(request.configs) > 1:
            folder /= config_name
        if len(sources) > 1:
            folder /= name
        if request.preview is not None:
            folder = folder.with_name(f"{folder.name}-preview")
        label = f"{config_name}/{name}" if len(request.configs) > 1 and sources else name
        pieces.append(Piece(label, config.model_copy(update={"output_path": folder})))
    return pieces


def _refuse_shared_folders(groups: list[list[Piece]]) -> None:
    owners: dict[Path, str] = {}
    for piece in (each for group in groups for each in group):
        folder = piece.config.output_path.resolve()
        if folder in owners:
            raise ConfigError(
                [f"{owners[folder]} and {piece.name} would both write to {folder}. Give each its own output_path."]
            )
        owners[folder] = piece.name


def run(request: Request, runtime: Runtime, console: Console) -> int:
    """Run everything that was asked for; returns the exit code."""
    groups = plan(request)
    count = sum(map(len, groups))
    failures: list[Failure] = []
    together = any(piece.config.DISTRIBUTED for group in groups for piece in group)
    with signals_interrupt(), joined(runtime, together=together) as world:
        runtime = replace(runtime, world=world)
        for group in groups:
            failures += _run_group(group, runtime, console, request, alone=count == 1)
    if count > 1 and world.leads:
        console.print(
            f"{count - len(failures)} of {count} done" + (f", {len(failures)} failed:" if failures else "."),
            highlight=False,
        )
        for failure in failures:
            console.print(f"  {failure.name}: {failure.reason}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_SOME_FAILED if failures else EXIT_DONE


def run_config(config: Runnable, runtime: Runtime, console: Console, request: Request) -> int:
    """Run a config that was not read from a file; `request` says how."""
    with signals_interrupt(), joined(runtime, together=config.DISTRIBUTED) as world:
        _run_piece(Piece(config.task, config), None, replace(runtime, world=world), console, request)
    return EXIT_DONE


def _run_group(
    group: list[Piece], runtime: Runtime, console: Console, request: Request, *, alone: bool
) -> Iterator[Failure]:
    """The clips of one config: its models are loaded once. A clip that fails doesn't stop the others."""
    task: Task | None = None
    for piece in group:
        try:
            task = _run_piece(piece, task, runtime, console, request)
        except DiffSynthError as error:
            if alone:
                raise
            yield Failure(piece.name, str(error))
        except Exception as error:
            if alone:
                raise
            console.print(traceback.format_exc(), markup=False, highlight=False, soft_wrap=True)
            yield Failure(
                piece.name, f"{type(error).__name__}: {error} (a fault of diffsynth; the traceback stands above)"
            )


def _run_piece(piece: Piece, task: Task | None, runtime: Runtime, console: Console, request: Request) -> Task | None:
    config = piece.config
    config.prepare(runtime)
    inputs, leads = config.inputs(), runtime.world.leads
    with _claimed(config, inputs, runtime.world, request) as folder:
        if folder.is_complete:
            if leads and not request.quiet:
                console.print(f"{piece.name}: complete already, in {folder.path}", highlight=False, soft_wrap=True)
            return task
        if not leads:
            task = task or config.build(runtime)
            task.run(inputs, folder, Progress())
            return task
        with reporting(console, folder.progress_file, quiet=request.quiet) as progress:
            if runtime.device != "auto" and not config.USES_DEVICE:
                progress.note(f"--device {runtime.device} makes no difference to the task {config.task}.")
            task = task or config.build(runtime)
            folder.complete(task.run(inputs, folder, progress))
    if not request.quiet:
        console.print(f"{piece.name}: done, in {config.output_path}", highlight=False, soft_wrap=True)
    return task


@contextmanager
def _claimed(config: Runnable, inputs: Mapping[str, Path], world: World, request: Request) -> Iterator[RunFolder]:
    """The run's folder: the leading process claims it, and the others go along with what came of that."""
    if not world.leads:
        record = world.agreed(None)
        if record is None:
            raise SystemExit(EXIT_USER_ERROR)  # the leading process says why
        yield RunFolder(config.output_path.resolve(), record, config.to_json(), leads=False)
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(claim(config.output_path, config, inputs, fresh=request.fresh))
        except DiffSynthError:
            world.agreed(None)
            raise
        world.agreed(folder.record)
        yield folder


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind like Ctrl-C, so that files are closed and the record says how far the run came."""

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(signal_number).name)

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    # Python takes signals in its main thread alone; whoever started the process under nohup wants it to live on.
    taken = [each for each, handler in before.items() if handler == signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        taken = []
    for each in taken:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, before[each])
