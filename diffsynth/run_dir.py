"""The folder of one run: who owns it, what is finished, and the record that a person or a program reads later.

output_path/
  frames/00000.png …    video_output.mp4     the result
  config.json           the resolved config
  run.json              state, versions, seconds a stage, counts, hashes, hardware
  progress.jsonl        how it went
  .work/                what the stages hand to one another; gone when the run is complete
"""

import fcntl
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsynth import __version__, disk
from diffsynth.config import TaskConfig
from diffsynth.errors import RunFolderError, StoreError
from diffsynth.identity import identify
from diffsynth.runtime import available_cores

CONFIG, RECORD, PROGRESS, LOCK, WORK = "config.json", "run.json", "progress.jsonl", ".lock", ".work"
OWN = (LOCK, WORK, disk.aside(Path(RECORD)).name)
"""What a run that was killed before its first record leaves."""


@dataclass
class RunFolder:
    """A claimed run folder. Only one process holds it; `claim` is the way to get it."""

    path: Path
    record: dict[str, Any]
    settings: dict[str, Any]
    """The resolved config, for those who write it into what they make."""
    leads: bool = True
    """Whether this process keeps the record. Others that share the work only read it."""

    @property
    def is_complete(self) -> bool:
        """Whether the run had finished and everything it made is still there, as large as it was."""
        outputs = self.record.get("outputs", {})
        return self.record.get("state") == "complete" and all(
            _extent(self.path / name) == extent for name, extent in outputs.items()
        )

    @property
    def progress_file(self) -> Path:
        return self.path / PROGRESS

    def work(self, name: str) -> Path:
        """A place for what one stage leaves to the next."""
        with disk.disk_errors(self.path):
            (self.path / WORK).mkdir(exist_ok=True)
        return self.path / WORK / name

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds that the block takes to the stage's entry; an interrupted stage adds up over its runs."""
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = self.record.setdefault("seconds", {})
            seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 3)
            self.save()

    def note(self, **facts: Any) -> None:
        """Add facts to the record."""
        self.record.update(facts)
        self.save()

    def complete(self, outputs: list[Path]) -> None:
        """Mark the run as finished and drop what its stages left for each other. An output may be a folder of files."""
        made = {str(each.relative_to(self.path)): _extent(each) for each in outputs}
        self.note(state="complete", finished=_now(), outputs=made)
        shutil.rmtree(self.path / WORK, ignore_errors=True)

    def save(self) -> None:
        if not self.leads:
            return
        with disk.disk_errors(self.path):
            disk.write_json(self.path / RECORD, self.record)


def _extent(path: Path) -> dict[str, int] | None:
    """How much a file holds in bytes, or a folder in files; None where there is nothing."""
    if path.is_dir():
        return {"files": sum(1 for _ in path.iterdir())}
    return {"bytes": path.stat().st_size} if path.is_file() else None


@contextmanager
def claim(path: Path, config: TaskConfig, inputs: Mapping[str, Path], *, fresh: bool) -> Iterator[RunFolder]:
    """Hold the run folder of a config: a new one, or the unfinished or finished one of the same config.

    `inputs` are the files that the result depends on, by the key that names them. A folder that holds other work is
    never touched; `fresh` moves an earlier *run* aside.
    """
    path = path.resolve()  # a link to another disk stays one when its run is moved aside
    if fresh:
        _set_aside(path)
    _refuse_foreign(path)
    _make(path)
    with _locked(path):
        before = _read(path / RECORD)
        earlier = _read(path / CONFIG)
        known = before.get("inputs", {})
        identities = {key: identify(each, known.get(key), _is_run_or(path)) for key, each in inputs.items()}
        if earlier:
            _refuse_other_run(path, config, earlier, identities, known)
        if not before:
            before = {"state": "begun", "started": _now(), "sessions": 0}
        run = RunFolder(path, before, config.to_json())
        if not run.is_complete:
            run.record.pop("outputs", None)
            run.record.pop("stopped_by", None)
            run.record["sessions"] = before.get("sessions", 0) + 1
            run.note(state="begun", task=config.task, inputs=identities, versions=_versions(), hardware=_hardware())
        if not earlier:
            with disk.disk_errors(path):
                disk.write_json(path / CONFIG, config.to_json())
        try:
            yield run
        except BaseException as error:
            # Where the disk is full the record can't tell either; what stopped the run is the error to show.
            with suppress(StoreError):
                run.note(state="stopped", stopped_by=f"{type(error).__name__}: {error}"[:1000])
            raise


def _is_run_or(path: Path) -> Callable[[Path], bool]:
    """Tells run folders: results that lie inside a folder of images are no part of that clip."""
    return lambda folder: folder.resolve() == path or (folder / RECORD).is_file()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with disk.disk_errors(path):
        file = (path / LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunFolderError(
                f"{path}: another process is working in this folder. Wait for it, or choose another --output."
            ) from None
        yield


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunFolderError(f"{path}: damaged ({error}). Choose another --output, or move that folder away.") from None
    if not isinstance(value, dict):
        raise RunFolderError(f"{path}: not the record of a run. Choose another --output, or move that folder away.")
    return value


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"{path}: this folder can't be made ({error.strerror}). Choose another --output."
        ) from None


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{path}: this is a file; an output folder can't be made there. Choose another --output.")
    if path.is_dir() and not (path / RECORD).exists():
        strangers = sorted(each.name for each in path.iterdir() if each.name not in OWN)
        if strangers:
            shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
            raise RunFolderError(
                f"{path}: this folder holds other files ({shown}) and no run of diffsynth. "
                "Nothing was touched. Choose another --output, or an empty folder."
            )


def _refuse_other_run(
    path: Path,
    config: TaskConfig,
    earlier: Mapping[str, Any],
    identities: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Mapping[str, Any]],
) -> None:
    """Compare what can change a byte: keys by their value, inputs by their content and not by their path."""
    wanted, earlier = (_without(config.INERT, each) for each in (config.to_json(), earlier))
    differing = []
    for key in sorted(wanted.keys() | earlier.keys()):
        if key in identities:
            if identities[key]["sha256"] != known.get(key, {}).get("sha256"):
                differing.append(f"{key} (its content is another)")
        elif wanted.get(key) != earlier.get(key):
            differing.append(f"{key} ({_shown(earlier.get(key))} there, {_shown(wanted.get(key))} now)")
    # Files within lists, and those that no key names, such as a caption: the same paths may hold something else now.
    differing += [
        f"{key} (its content is another)"
        for key in sorted((identities.keys() & known.keys()) - wanted.keys())
        if identities[key]["sha256"] != known[key].get("sha256")
    ]
    if differing:
        raise RunFolderError(
            f"{path}: this folder holds another run; it differs in {', '.join(differing)}. "
            "Use --fresh to move that run aside and start anew, or --output to write somewhere else."
        )


def _without(inert: frozenset[str], tree: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """A config's keys that can change the result."""
    kept = {key: each for key, each in tree.items() if place + key not in inert}
    return {
        key: _without(inert, each, f"{place}{key}.") if isinstance(each, dict) else each for key, each in kept.items()
    }


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _set_aside(path: Path) -> None:
    """Rename an earlier run to the next free `NAME.old-N`; anything else stays where it is, and is refused later."""
    if not (path / RECORD).is_file():
        return
    with _locked(path):
        number = 1
        while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
            number += 1
        path.rename(aside)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {
        "diffsynth": __version__,
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "av": version("av"),
    }


def _hardware() -> dict[str, Any]:
    return {"system": platform.platform(), "processor": _processor(), "cores": available_cores()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
