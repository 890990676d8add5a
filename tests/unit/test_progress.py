"""Progress: what a log, a program and a terminal see."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from diffsynth.progress import LineDisplay, Progress, Record, reporting


def test_lines_for_logs() -> None:
    out = io.StringIO()
    progress = Progress((LineDisplay(Console(file=out, width=200), every=0),))
    with progress.stage("read", 4) as stage:
        for _ in range(4):
            stage.advance()
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("read: 1/4 frames, ")
    assert "left" in lines[0]
    assert lines[-1].startswith("read: 4/4 frames in ")


def test_a_resumed_stage_counts_only_its_own_speed() -> None:
    with Progress().stage("read", 100, done=90) as stage:
        assert stage.seconds_left is None
        stage.advance(5)
        assert stage.per_second * stage.seconds == pytest.approx(5, rel=0.5)


def test_the_record_is_one_object_a_line(tmp_path: Path) -> None:
    with (tmp_path / "p.jsonl").open("wb", buffering=0) as file:
        progress = Progress((Record(file, every=0),))
        with progress.stage("video", None) as stage:
            stage.advance(3)
        progress.note("no sound")
        with pytest.raises(RuntimeError, match="full"), progress.stage("frames", 2):
            raise RuntimeError("full")
    events = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [each["event"] for each in events] == ["begin", "progress", "end", "note", "begin", "stopped"]
    assert events[2]["done"] == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_and_loud(tmp_path: Path, *, terminal: bool) -> None:
    for quiet in (True, False):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=100)
        with (
            reporting(console, tmp_path / "progress.jsonl", quiet=quiet) as progress,
            progress.stage("read", 2) as stage,
        ):
            stage.advance(2)
        assert bool(out.getvalue()) != quiet
    assert len((tmp_path / "progress.jsonl").read_text().splitlines()) >= 4
