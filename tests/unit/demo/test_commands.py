"""The commands around the painter and the training."""

import json
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from demo import train
from demo.painter import Scene, paint_clip
from demo.painter.__main__ import main as paint_command


def test_a_clip_on_disk_is_the_clip_painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["painter", str(tmp_path), "--seed", "3", "--frames", "3", "--width", "64", "--height", "48", "--truth"]
    monkeypatch.setattr(sys, "argv", command)
    paint_command()
    expected = list(paint_clip(Scene.from_seed(3), "photo", "summer", "day", frames=3, size=(64, 48)))
    for number, frame in enumerate(expected):
        stored = cv2.imread(str(tmp_path / "frames" / f"{number:05d}.png"))[..., ::-1]
        assert np.array_equal(stored, frame.picture)
    assert np.array_equal(np.load(tmp_path / "flow" / "00001.npy"), expected[1].flow)
    assert len(list((tmp_path / "flow").iterdir())) == 2
    with av.open(str(tmp_path / "clip.mp4")) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 3
    # 4:2:0 chroma and crf 14 cost small toys some of their colour.
    assert np.abs(decoded[0].astype(float) - expected[0].picture).mean() < 4


def plan_for(work: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> dict[str, int]:
    monkeypatch.setattr(sys, "argv", ["train", "--work", str(work), *options])
    train.chosen_plan(train.parse())
    return json.loads((work / "plan.json").read_text(encoding="utf-8"))


def test_minutes_only_choose_the_steps_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan_for(tmp_path, monkeypatch, "--budget-minutes", "60")
    assert first["steps"] > 500
    assert plan_for(tmp_path, monkeypatch, "--budget-minutes", "5") == first
    assert plan_for(tmp_path, monkeypatch) == first


def test_more_steps_lengthen_the_plan_and_change_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan_for(tmp_path, monkeypatch, "--steps", "100", "--vae-steps", "40")
    longer = plan_for(tmp_path, monkeypatch, "--steps", "900", "--vae-steps", "70", "--seed", "5")
    assert longer == {**first, "steps": 900}
