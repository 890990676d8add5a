"""Training gives the same weights however it was computed, and whenever it was stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from training_runs import ROOT, environment, losses, same, torchrun, tree, weights, write

from diffsynth.cli import main
from diffsynth.training import loop

STEPS = 20
CLOSE = 1e-5
"""Sums over a batch in another order differ in the last bits of float32; twenty steps carry that this far at most."""


def run(folder: Path, name: str, **train: Any) -> Path:
    file = write(folder / f"{name}.json", tree(folder / name, **train))
    assert main(["run", str(file), "--quiet", "--device", "cpu"]) == 0
    return folder / name


def apart(one: Path, other: Path) -> float:
    pairs = zip(losses(one), losses(other), strict=True)
    return max(abs(a - b) for a, b in pairs)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("reference"), "alone", steps=STEPS)


def test_a_run_leaves_weights_a_curve_and_checkpoints(reference: Path) -> None:
    assert len(losses(reference)) == STEPS
    assert [each.name for each in (reference / "checkpoints").iterdir()] == [f"{STEPS:08}.safetensors"]
    record = json.loads((reference / "run.json").read_text())
    assert record["state"] == "complete"
    assert record["steps"] == STEPS


def test_accumulation_gives_the_same_curve(reference: Path, tmp_path: Path) -> None:
    for at_once in (1, 3):
        assert apart(reference, run(tmp_path, f"by{at_once}", steps=STEPS, micro_batch=at_once)) < CLOSE


def test_chance_by_place_in_a_part_would_be_noticed(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: drawn as most trainers do, by what a process did before, parts of a batch differ."""
    keyed = loop.draws
    monkeypatch.setattr(loop, "draws", lambda indices, *rest: keyed(range(len(indices)), *rest))
    assert apart(reference, run(tmp_path, "by_place", steps=STEPS, micro_batch=1)) > 1000 * CLOSE


def test_another_seed_gives_another_curve(reference: Path, tmp_path: Path) -> None:
    """The bound would notice: what is told apart here is a thousand times larger."""
    assert apart(reference, run(tmp_path, "other", steps=STEPS, seed=1)) > 1000 * CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("train", [{}, {"micro_batch": 1}, {"sharding": "full"}], ids=["ddp", "accumulated", "fsdp"])
def test_two_processes_give_the_same_curve(reference: Path, tmp_path: Path, train: dict[str, Any]) -> None:
    file = write(tmp_path / "two.json", tree(tmp_path / "two", steps=STEPS, **train))
    done = torchrun(file, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert apart(reference, tmp_path / "two") < CLOSE
    assert weights(tmp_path / "two").keys() == weights(reference).keys()
    again = torchrun(file, 2)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "complete already" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_go_on_from_a_checkpoint(tmp_path: Path, sharding: str) -> None:
    """What a kill leaves: the first checkpoints, and no end."""
    file = write(tmp_path / "two.json", tree(tmp_path / "two", checkpoint_every=2, keep=9, sharding=sharding))
    assert torchrun(file, 2).returncode == 0
    whole = weights(tmp_path / "two")
    for late in ("00000004", "00000006"):
        (tmp_path / "two" / "checkpoints" / f"{late}.safetensors").unlink()
    (tmp_path / "two" / "model.safetensors").unlink()
    done = torchrun(file, 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Goes on after step 2" in done.stdout
    assert same(weights(tmp_path / "two"), whole)


@pytest.mark.slow
def test_a_folder_with_another_run_is_refused_by_all_processes(reference: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in reference.rglob("*.safetensors")}
    done = torchrun(write(tmp_path / "other.json", tree(reference, steps=STEPS, seed=9)), 2)
    assert done.returncode != 0
    assert "holds another run" in done.stderr
    assert before == {path: path.read_bytes() for path in reference.rglob("*.safetensors")}


def started(file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "run_DiffSynth.py", str(file), "--device", "cpu"]
    return subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)


def kept(output: Path) -> int:
    return len(list((output / "checkpoints").glob("0*.safetensors")))


OFTEN: dict[str, Any] = {"steps": 24, "checkpoint_every": 2, "keep": 50}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    process = started(write(folder / "whole.json", tree(folder / "whole", **OFTEN)))
    process.communicate(timeout=120)
    assert process.returncode == 0
    return folder / "whole"


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_continued_gives_the_same_bits(whole: Path, tmp_path: Path, kind: signal.Signals) -> None:
    """Real kills, one after the other, wherever they fall; one thread each: with more, sums come in other orders."""
    file, output = write(tmp_path / "cut.json", tree(tmp_path / "cut", **OFTEN)), tmp_path / "cut"
    fallen = 0
    for number in (1, 6):
        process = started(file)
        while process.poll() is None and kept(output) < number:
            time.sleep(0.001)
        process.send_signal(kind)
        process.communicate(timeout=120)
        fallen += process.returncode != 0
    assert fallen
    process = started(file)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert same(weights(whole), weights(output))
    there, wanted = ({each.name for each in (run / "checkpoints").iterdir()} for run in (output, whole))
    assert there >= wanted  # and, after SIGTERM, of the steps that were under way
    assert losses(output)[-1] == losses(whole)[-1]
    entries = [json.loads(line)["step"] for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert entries == list(range(1, 25))


def test_a_stop_keeps_the_step_and_settings_of_no_effect_may_change(tmp_path: Path) -> None:
    """Asked to stop, a run leaves a checkpoint of the step that it was at."""
    file = write(tmp_path / "t.json", tree(tmp_path / "out", steps=100_000, checkpoint_every=100_000))
    process = started(file)
    while process.poll() is None and not (tmp_path / "out" / "metrics.jsonl").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert kept(tmp_path / "out") == 1
    other = write(tmp_path / "t.json", tree(tmp_path / "out", steps=100_000, checkpoint_every=7, keep=3))
    process = started(other)
    while process.poll() is None and kept(tmp_path / "out") < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    assert kept(tmp_path / "out") >= 2


def test_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    output = run(tmp_path, "few", steps=5, checkpoint_every=1, keep=2)
    assert [each.name for each in sorted((output / "checkpoints").iterdir())] == [
        "00000004.safetensors",
        "00000005.safetensors",
    ]


def test_data_that_changed_is_not_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run's config is the same, its files are not."""
    from PIL import Image

    clip = tmp_path / "clips" / "a"
    clip.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (8, 8), (number * 60, 0, 0)).save(clip / f"{number}.png")
    body = tree(tmp_path / "out", steps=4, checkpoint_every=2)
    body["dataset"] = {"type": "folder", "path": str(tmp_path / "clips"), "size": 8, "frames": 2, "interval": 1}
    body["condition"] = {"type": "none"}
    body["train"]["workers"] = 0
    file = write(tmp_path / "t.json", body)
    assert main(["run", str(file), "--quiet"]) == 0
    (tmp_path / "out" / "model.safetensors").unlink()
    Image.new("RGB", (8, 8)).save(clip / "9.png")
    assert main(["run", str(file), "--quiet"]) == 2
    assert "trained on other data" in capsys.readouterr().err
