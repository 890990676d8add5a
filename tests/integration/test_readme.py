"""The README's commands, configs and messages, as they stand there."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from media import Media, Recipe
from PIL import Image

from diffsynth.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {"python run_DiffSynth.py": ["run"], "diffsynth": []}
NOT_RUN_HERE = {
    "make": "sets up an environment of its own: CI runs it in a fresh clone",
    "pip": "installs: CI's `make test` does it, with the same constraints",
    "conda": "marked as untried in the README: there is no conda where this is tested",
}


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(README) if found == language]


def commands() -> list[str]:
    lines = "".join(blocks("shell")).splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.strip()]


def arguments(command: str) -> list[str] | None:
    """What `main` is given for a command of ours; None for those of others."""
    for program, first in PROGRAMS.items():
        if command.startswith(f"{program} "):
            return [*first, *shlex.split(command.removeprefix(program))]
    assert command.split(maxsplit=1)[0] in NOT_RUN_HERE, f"nothing runs this command of the README: {command}"
    return None


def configs() -> list[dict[str, Any]]:
    return [json.loads(text) for text in blocks("json")]


@pytest.fixture
def folder(media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder as the README takes it for granted."""
    clip = media.clip("readme", Recipe(".mp4", ("-c:v", "libx264", "-pix_fmt", "yuv420p"), frames=3))
    (tmp_path / "clips").mkdir()
    for name in ("clip.mp4", "a.mp4", "b.mp4", "input_video.mp4", "styled.mp4", "clips/c.mp4", "clips/d.mp4"):
        shutil.copy(clip, tmp_path / name)
    (tmp_path / "painted").mkdir()
    Image.new("RGB", (96, 80), (90, 140, 60)).save(tmp_path / "painted" / "00000.png")
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_runs_in_the_order_of_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config.json").write_text(json.dumps(configs()[0]))
    run = 0
    for command in commands():
        given = arguments(command)
        if given is not None:
            code = main(given)
            assert code == 0, f"{command}: {capsys.readouterr().err}"
            run += 1
    assert run >= 8
    made = {path.name for path in (folder / "output").iterdir()}
    table = re.findall(r"^\| `([a-z_.0-9]+?)(?:/[^`]*)?`.* \|", README, re.MULTILINE)
    assert len(table) == 5
    assert made >= set(table)
    assert {path.name for path in (folder / "results").iterdir()} == {"a", "b", "c", "d"}


FEWER = {
    "train": ("train.steps=2", "train.sample_every=2", "train.sample_steps=2", "train.sample_videos=2"),
    "sample": ("num_videos=12", "steps=2"),
    "evaluate": ("num_reference=8",),
}
"""What makes the long commands short: nothing else of them is changed."""


def test_the_long_commands_run_with_fewer_steps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in "".join(blocks("console")).splitlines() if line.strip()]
    kinds = []
    for line in lines:
        given = arguments(line.partition(" #")[0].strip())
        assert given is not None
        kinds.append(Path(given[-1]).parent.name)
        code = main([*given, *(part for key in FEWER[kinds[-1]] for part in ("--set", key)), "--quiet"])
        assert code == 0, f"{line}: {capsys.readouterr().err}"
    assert kinds == list(FEWER)
    assert (folder / "output" / "digits_evaluated" / "evaluation.json").is_file()


def test_every_config_is_valid(folder: Path) -> None:
    for number, tree in enumerate(configs()):
        # Where it extends a template, it lies beside that template.
        path = folder / "config" / f"readme{number}.json"
        path.write_text(json.dumps(tree))
        assert main(["check", str(path)]) == 0


def test_the_messages_are_those_of_the_program(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = {"extends": "1_text_guided_video_stylization.json", "smoother": "EbsynthSmother", "promt": "winter"}
    (folder / "config" / "my.json").write_text(json.dumps(tree))
    assert main(["check", "config/my.json"]) == 2
    said = capsys.readouterr().err.splitlines()
    (shown,) = [text for text in blocks("") if "my.json" in text]
    for line in shown.splitlines():
        assert line in said


def test_links_and_targets_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    rules = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) <= rules
