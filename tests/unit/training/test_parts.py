"""The optimizer's course, the average of the weights, shares of a batch, the journal, a stop."""

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.errors import ModelError
from diffsynth.training.course import Shares
from diffsynth.training.facts import FORMAT, Facts, facts_of, weights_file
from diffsynth.training.journal import Journal
from diffsynth.training.optimizer import Average, learning_rate
from diffsynth.training.settings import TrainSettings
from diffsynth.training.stopping import stoppable
from diffsynth.world import World


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 12), st.integers(0, 5))
def test_shares_cover_each_batch_once(batch: int, size: int, at_once: int, step: int) -> None:
    size = min(size, batch)
    settings = TrainSettings(global_batch=batch, micro_batch=at_once, steps=9)
    parts = [part for rank in range(size) for part in Shares(settings, World(rank, size), 0).parts(step)]
    assert sorted(each for part in parts for each in part) == list(range(step * batch, (step + 1) * batch))
    assert all(0 < len(part) <= at_once for part in parts)
    assert all(Shares(settings, World(rank, size), 0).parts(step) for rank in range(size))


def test_the_learning_rate_rises_and_falls() -> None:
    settings = TrainSettings(lr=0.1, warm_up=10, steps=110, decay="cosine")
    rates = [learning_rate(settings, step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert rates[60] == pytest.approx(0.05)
    assert all(after < before for before, after in pairwise(rates[10:]))
    assert learning_rate(TrainSettings(lr=0.1), 99_999) == 0.1


def test_the_average_follows_by_its_closed_form() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = Average(layer)
    mean = average.mean["weight"].double().clone()
    for step in range(200):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        average.follow(step, 0.9)
        keep = min(0.9, (1 + step) / (10 + step))
        mean = keep * mean + (1 - keep) * step
    assert average.mean["weight"].double() == pytest.approx(mean, rel=1e-5)
    average.swap()
    assert layer.weight.item() == pytest.approx(float(mean), rel=1e-5)
    average.swap()
    assert layer.weight.item() == 199


def test_the_journal_drops_what_comes_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0, board=False)
    for step in (10, 20, 30):
        journal.enter(step, loss=step / 10)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a line
    Journal(tmp_path, 20, board=False).enter(30, loss=9.0)
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert entries == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.0}, {"step": 30, "loss": 9.0}]


def test_a_signal_waits_for_the_step_and_a_second_one_does_not() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stoppable() as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_facts_are_read_without_torch_and_damage_is_said(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    facts = Facts({"size": [8, 8]}, 7, {"data": "x"})
    save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors", metadata=facts.metadata())
    assert facts_of(tmp_path / "a.safetensors") == facts
    save_file({"w": torch.zeros(2)}, tmp_path / "b.safetensors", metadata={FORMAT: "{"})
    with pytest.raises(ModelError, match="is damaged"):
        facts_of(tmp_path / "b.safetensors")
    for name, data in {"empty": b"", "noise": b"\xff" * 64, "short": b"\x10\0\0\0\0\0\0\0{"}.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(ModelError, match="is no whole safetensors file"):
            facts_of(path)


def test_the_weights_of_a_run_are_the_finished_ones_else_the_last(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        weights_file(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for step in (2, 10):
        (tmp_path / "checkpoints" / f"{step:08}.safetensors").touch()
    assert weights_file(tmp_path).name == "00000010.safetensors"
    (tmp_path / "model.safetensors").touch()
    assert weights_file(tmp_path).name == "model.safetensors"
