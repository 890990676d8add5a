"""What each command does. `run` is the product; the others answer questions about it."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from diffsynth import config, disk, runner
from diffsynth.config import schema as config_schema
from diffsynth.config.load import SCHEMA_KEY
from diffsynth.disk import json_text
from diffsynth.errors import ConfigError, RunFolderError
from diffsynth.inputs import folder_names
from diffsynth.processors import ALIASES, ProcessorConfig
from diffsynth.progress import Progress, shown
from diffsynth.runner import EXIT_DONE, Piece, Request
from diffsynth.runtime import Runtime
from diffsynth.smoothers import SmootherConfig
from diffsynth.tasks import DEFAULT_TASK, TASKS, Prediction
from diffsynth.tasks.stylize import StylizeConfig

SCHEMA_FILE = "diffsynth.schema.json"
"""What `new` calls the schema that it lays beside a config."""


def run(request: Request, runtime: Runtime, console: Console) -> int:
    """Run configs on clips."""
    return runner.run(request, runtime, console)


def smooth(guide: str, style: str, request: Request, runtime: Runtime, console: Console, smoother: str) -> int:
    """Smooth one styled clip."""
    tree = {"task": "smooth", "guide_video": guide, "style_video": style, "smoother": smoother}
    return _direct(tree, request, runtime, console)


def interpolate(guide: str, keys: str, request: Request, runtime: Runtime, console: Console) -> int:
    """Paint every frame of one clip from key frames."""
    return _direct({"task": "interpolate", "guide_video": guide, "keyframes": keys}, request, runtime, console)


def measure(
    source: str, clips: Sequence[str], truth: str | None, request: Request, runtime: Runtime, console: Console
) -> int:
    """Measure clips and print a table."""
    named = dict(zip(folder_names([Path(each) for each in clips]), clips, strict=True))
    tree: dict[str, Any] = {"task": "measure", "source": source, "clips": named}
    return _direct(tree | ({"truth": truth} if truth else {}), request, runtime, console)


def _direct(tree: dict[str, Any], request: Request, runtime: Runtime, console: Console) -> int:
    """Run a task whose config the command line is."""
    here = Path.cwd()
    body = config.apply(config.source({**tree, "output_path": str(request.output)}, here), request.overrides, here)
    return runner.run_config(config.validate(body, TASKS, DEFAULT_TASK, "command line"), runtime, console, request)


def check(request: Request, console: Console, *, as_json: bool) -> int:
    """Validate configs, show them resolved, and say what they will need."""
    for piece in (each for group in runner.plan(request) for each in group):
        prediction = piece.config.predict()
        if as_json:
            _print_json({"config": piece.config.to_json(), "prediction": asdict(prediction)})
        else:
            _show_check(piece, prediction, console)
    return EXIT_DONE


def _show_check(piece: Piece, prediction: Prediction, console: Console) -> None:
    console.print(f"{piece.name}: valid", highlight=False, markup=False, soft_wrap=True)
    for key, value in _flat(piece.config.to_json()):
        console.print(f"  {key:<26} {json_text(value)}", markup=False, highlight=False, soft_wrap=True)
    frames = "unknown until decoded" if prediction.frames is None else str(prediction.frames)
    console.print(f"frames     {frames}, {prediction.width}×{prediction.height}", highlight=False)
    console.print(f"disk       {_size(prediction.disk_bytes)}", highlight=False)
    if prediction.memory_bytes is not None:
        console.print(f"memory     {_size(prediction.memory_bytes)} at least", highlight=False)
    downloads = ", ".join(prediction.downloads) or "none"
    console.print(f"downloads  {downloads}", highlight=False, markup=False, soft_wrap=True)
    for remark in prediction.remarks:
        console.print(f"note       {remark}", highlight=False, markup=False, soft_wrap=True)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(prefix + key, value)]
    return rows


def _size(count: int | None) -> str:
    if count is None:
        return "unknown until decoded"
    return f"up to about {count / 1e9:.1f} GB" if count >= 1e9 else f"up to about {max(count / 1e6, 1):.0f} MB"


def list_parts(console: Console) -> int:
    """All tasks, processors, smoothers and engines, with one line each."""
    from diffsynth.engines import ENGINES

    groups: dict[str, dict[str, str]] = {
        "tasks": {name: _first_line(kind) for name, kind in TASKS.items()},
        "processors": _components(ProcessorConfig),
        "smoothers": _components(SmootherConfig),
        "engines": dict(ENGINES),
    }
    for title, parts in groups.items():
        console.print(title, highlight=False)
        for name, line in parts.items():
            console.print(f"  {name:<44} {line}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


def _components(union: Any) -> dict[str, str]:
    """The members of a discriminated union by the name that configs use."""
    members = get_args(get_args(union)[0])
    shorts = {name: f"{short}: " for short, name in ALIASES.items()}
    names = {member.model_fields["type"].default: member for member in members}
    return {name: f"{shorts.get(name, '')}{_first_line(member)}" for name, member in names.items()}


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


def schema(*, as_markdown: bool) -> int:
    """The JSON Schema of configs, or the page of all keys."""
    if as_markdown:
        sys.stdout.write(config_schema.reference(TASKS))
    else:
        _print_json(config_schema.json_schema(TASKS, DEFAULT_TASK), indent=2)
    return EXIT_DONE


def new(task: str, path: Path | None, console: Console) -> int:
    """Write a config with the task's keys in it: the required ones to fill in, the others at their defaults.

    The schema is laid beside it, where editors find it by the config's `$schema`.
    """
    target = path or Path(f"{task}.json")
    tree = {SCHEMA_KEY: SCHEMA_FILE, **config_schema.template(TASKS[task], task)}
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(json.dumps(tree, indent=4, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise RunFolderError(f"{target}: is there already, and was not touched. Give another path.") from None
    disk.write_json(target.with_name(SCHEMA_FILE), config_schema.json_schema(TASKS, DEFAULT_TASK))
    empty = [name for name, field in TASKS[task].model_fields.items() if field.is_required() and not tree[name]]
    console.print(
        f"{target}: written. Fill in {', '.join(empty)}; then: diffsynth check {target}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return EXIT_DONE


def preview_conditions(request: Request, runtime: Runtime, console: Console, sheet: Path | None) -> int:
    """Write a contact sheet of what the ControlNets of each config will see."""
    from diffsynth.tasks.condition_preview import preview

    pieces = [each for group in runner.plan(request) for each in group]
    if sheet is not None and len(pieces) > 1:
        raise ConfigError([f"--sheet {sheet} is one file, but there are {len(pieces)} clips. Leave it out."])
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ConfigError([f"--sheet {sheet} is no name for a PNG. Let it end in .png."])
    for piece in pieces:
        path = sheet or piece.config.output_path.with_name(f"{piece.config.output_path.name}_conditions.png")
        if not isinstance(piece.config, StylizeConfig):
            raise ConfigError([f'{piece.name}: the task "{piece.config.task}" has no ControlNets.'])
        with runner.signals_interrupt():
            preview(piece.config, runtime, path, Progress((shown(console),)))
        console.print(f"{piece.name}: {path}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


def import_foreign(file: Path, output: Path | None, overrides: Sequence[config.Override], console: Console) -> int:
    """Convert a checkpoint or config of another system."""
    from diffsynth.imports import import_file

    found = import_file(file, output, overrides)
    for line in found.words:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.path}: written", highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


def info(video: str, console: Console, *, as_json: bool) -> int:
    """What a clip holds: size, rate, frames, codec, sound."""
    from diffsynth.video.clip import open_clip

    found = open_clip(os.path.expanduser(video)).info  # noqa: PTH111 - Path's raises where it knows no such user
    facts = {key: value for key, value in asdict(found).items() if value is not None}
    if as_json:
        _print_json(facts)
    else:
        for key, value in _flat(facts):
            console.print(f"{key:<20} {value}", highlight=False, markup=False, soft_wrap=True)
    return EXIT_DONE


def _print_json(value: Any, indent: int | None = None) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent, default=str) + "\n")
