"""What trainers, samplers and evaluations are asked for, and can't do: said by a check, or in one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from training_runs import tree, write

from diffsynth.cli import main

Said = pytest.CaptureFixture[str]


def said_by_check(folder: Path, body: dict[str, Any], capsys: Said) -> str:
    """What a check says against a config. Nothing may come of it."""
    assert main(["check", str(write(folder / "c.json", body))]) == 2
    assert not Path(body["output_path"]).exists()
    return capsys.readouterr().err


def ran(folder: Path, name: str, body: dict[str, Any]) -> Path:
    output = folder / name
    assert main(["run", str(write(folder / f"{name}.json", {**body, "output_path": str(output)})), "--quiet"]) == 0
    return output


def frames(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (8, 8), (number * 40, 90, 200)).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty noise levels; one model that is told classes, one whose condition was never left out, one told nothing."""
    folder = tmp_path_factory.mktemp("trained")
    body = tree(folder, steps=1) | {"diffusion": {"train_steps": 20}}
    ran(folder, "class", body)
    ran(folder, "always", {**body, "condition": {"type": "class", "num_classes": 10, "dropout": 0.0}})
    ran(folder, "nothing", {**body, "condition": {"type": "none"}})
    return folder


def sampled(checkpoint: Path, output: Path, **keys: Any) -> dict[str, Any]:
    base = {"task": "sample", "checkpoint": str(checkpoint), "num_videos": 2, "steps": 2, "formats": ["png"]}
    return {**base, "output_path": str(output), **keys}


@pytest.mark.parametrize(
    ("model", "keys", "words"),
    [
        ("class", {"labels": []}, '"labels" is []; it must be "all", a class by its number or name'),
        ("class", {"labels": -1}, '"labels" is -1; it must be "all"'),
        ("class", {"labels": True}, '"labels" is true; it must be "all"'),
        ("class", {"labels": [3, 2.5]}, 'it must be "all"'),
        ("class", {"num_videos": 0}, '"num_videos" is 0; it must be at least 1'),
        ("class", {"steps": 21}, '"steps" is 21, but the network was trained on 20'),
        ("nothing", {"cfg_scale": 1.5}, '"cfg_scale" is 1.5, but the model is told nothing'),
        ("always", {"cfg_scale": 1.5}, 'trained with "condition.dropout" 0'),
    ],
)
def test_samples_that_make_no_sense(
    trained: Path, tmp_path: Path, capsys: Said, model: str, keys: dict[str, Any], words: str
) -> None:
    assert words in said_by_check(tmp_path, sampled(trained / model, tmp_path / "out", **keys), capsys)


def test_a_run_that_was_never_trained_is_no_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    """`runs/digits` could be an id of the hub."""
    monkeypatch.chdir(tmp_path)
    body = {"task": "sample", "checkpoint": "runs/digits", "output_path": str(tmp_path / "out")}
    said = said_by_check(tmp_path, body, capsys)
    assert 'there is no folder "runs/digits" here' in said
    assert "train it first" in said


@pytest.mark.parametrize("solver", ["dpmpp_2m", "unipc", "heun", "ddim", "ddpm", "euler"])
def test_every_solver_takes_as_many_steps_as_were_trained(trained: Path, tmp_path: Path, solver: str) -> None:
    output = ran(tmp_path, solver, sampled(trained / "class", tmp_path, steps=20, solver=solver))
    assert len(list((output / "strips").iterdir())) == 2


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"diffusion": {"train_steps": 20}, "train": {"sample_every": 1}}, '"train.sample_steps" is 40, but'),
        ({"condition": {"type": "text", "encoder": "ENCODER"}}, "the data set says no captions"),
        ({"dataset": {"type": "moving_digits", "size": 10, "frames": 3}}, '"backbone.patch" is 4, which doesn\'t'),
    ],
)
def test_trainings_that_make_no_sense(tmp_path: Path, capsys: Said, keys: dict[str, Any], words: str) -> None:
    (tmp_path / "ENCODER").mkdir()
    assert words in said_by_check(tmp_path, {**tree(tmp_path / "out"), **keys}, capsys)


def test_pictures_beside_clips_need_the_clips_classes(tmp_path: Path, capsys: Said) -> None:
    """By a check, and not when a picture's turn comes; where nothing is told, a picture's folder says nothing."""
    for kind in ("cat", "dog"):
        frames(tmp_path / "clips" / kind / "a", 4)
    frames(tmp_path / "pictures" / "fox", 1)
    sets = {"type": "class_folders", "path": str(tmp_path / "clips"), "size": 8, "frames": 3, "interval": 1}
    beside = {**sets, "images": 1, "image_list": str(tmp_path / "pictures")}
    body = tree(tmp_path / "out", steps=1, workers=0) | {"dataset": beside}
    assert 'this picture has the class "fox", which no clip has' in said_by_check(tmp_path, body, capsys)
    (tmp_path / "list.txt").write_text("pictures/fox/0.png\n")
    listed = body | {"dataset": {**beside, "image_list": str(tmp_path / "list.txt")}}
    assert "this picture has no class" in said_by_check(tmp_path, listed, capsys)
    ran(tmp_path, "untold", body | {"condition": {"type": "none"}, "dataset": {**beside, "type": "folder"}})


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_of_which_nothing_can_be_used_is_one_sentence(tmp_path: Path, capsys: Said, workers: int) -> None:
    """From a worker process too: there the loader would send a traceback."""
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"")
    body = tree(tmp_path / "out", workers=workers) | {"condition": {"type": "none"}}
    body["dataset"] = {"type": "folder", "path": str(tmp_path / "clips"), "size": 8, "frames": 2}
    assert main(["run", str(write(tmp_path / "t.json", body)), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("None of 1 clips in a row can be used; the first:\n")
    assert "Traceback" not in said


def test_a_network_that_came_apart_is_not_kept(tmp_path: Path, capsys: Said) -> None:
    """Entries of the journal are rarer than checkpoints here: the last good ones must stay."""
    body = tree(tmp_path / "out", steps=40, lr=1e30, clip=None, checkpoint_every=1, keep=1, log_every=40)
    assert main(["run", str(write(tmp_path / "t.json", body)), "--quiet"]) == 2
    assert "training has come apart" in capsys.readouterr().err
    from safetensors.torch import load_file

    (kept,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert all(bool(torch.isfinite(each).all()) for each in load_file(kept).values())


def test_evaluations_that_make_no_sense(trained: Path, tmp_path: Path, capsys: Said) -> None:
    one = ran(tmp_path, "one", sampled(trained / "class", tmp_path, num_videos=1))
    half = ran(tmp_path, "half", sampled(trained / "class", tmp_path))
    (half / "samples.json").unlink()
    base = {"task": "evaluate", "dataset": {"type": "moving_digits", "size": 8, "frames": 3}, "num_reference": 4}
    base["output_path"] = str(tmp_path / "out")
    for words, keys in {
        '"frechet_random_conv3d" needs two at least': {"samples": str(one)},
        "a run of `sample` that isn't finished": {"samples": str(half)},
        '"motion_histogram" needs videos of 2 frames': {
            "samples": str(one),
            "dataset": {"type": "moving_digits", "size": 8, "frames": 1},
        },
    }.items():
        assert words in said_by_check(tmp_path, {**base, **keys}, capsys)
    found = ran(tmp_path, "few", {**base, "samples": str(one), "metrics": ["digit_accuracy", "nearest_clip"]})
    assert json.loads((found / "evaluation.json").read_text())["samples"] == 1


def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path, capsys: Said) -> None:
    """Nothing is drawn from an older one unasked; with it deleted, the run goes on from the one before."""
    body = tree(tmp_path, steps=3, checkpoint_every=1, keep=3)
    whole, cut = ran(tmp_path, "whole", body), tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "model.safetensors").unlink()
    (cut / "config.json").write_text((whole / "config.json").read_text().replace(str(whole), str(cut)))
    last = cut / "checkpoints" / "00000003.safetensors"
    last.write_bytes(last.read_bytes()[:400])
    file = write(tmp_path / "cut.json", {**body, "output_path": str(cut)})
    assert main(["run", str(file), "--quiet"]) == 2
    assert "delete it: a run goes on from its checkpoint before that" in capsys.readouterr().err
    last.unlink()
    assert main(["run", str(file), "--quiet"]) == 0
    assert (cut / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_checks_need_no_torch_and_tell_what_is_fetched(trained: Path, tmp_path: Path) -> None:
    samples = ran(tmp_path, "samples", sampled(trained / "class", tmp_path))
    clip = {"sample": str(trained / "class"), "seed": 3}
    bodies = [
        {**tree(tmp_path / "a"), "pretrained": str(trained / "class")},
        {**tree(tmp_path / "b"), "space": "latent", "vae": "nobody/autoencoder"},
        sampled(trained / "class", tmp_path / "c", labels="seven"),
        {"task": "evaluate", "samples": str(samples), "dataset": tree(tmp_path)["dataset"]},
        {"task": "transcode", "input_video": clip},
    ]
    files = [
        str(write(tmp_path / f"{number}.json", {"output_path": str(tmp_path / "out"), **body}))
        for number, body in enumerate(bodies)
    ]
    code = (
        "import sys; from diffsynth.cli import main\n"
        f"for each in {files!r}: assert main(['check', each]) == 0, each\n"
        "assert not {'torch', 'av', 'cv2'} & sys.modules.keys()"
    )
    environment = {**os.environ, "DIFFSYNTH_CACHE": str(tmp_path / "cache"), "HF_HUB_CACHE": str(tmp_path / "hub")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "downloads  nobody/autoencoder" in done.stdout
