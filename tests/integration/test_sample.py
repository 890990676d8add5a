"""Videos from a trained model: keyed by index, resumable, and refused where what is asked makes no sense."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_runs import torchrun, tree, write

from diffsynth.cli import main
from diffsynth.images import read_image
from diffsynth.training.pictures import frames_of

LEVELS = 2
"""Batches of another size sum in another order: the last bits of float32, seldom more than a level of 255."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose answers are not all nothing, as those of a network are that was just begun."""
    folder = tmp_path_factory.mktemp("trained")
    file = write(folder / "t.json", tree(folder / "run", steps=30, lr=0.01))
    assert main(["run", str(file), "--quiet"]) == 0
    return folder / "run"


def body(trained: Path, output: Path, **keys: Any) -> dict[str, Any]:
    base = {"task": "sample", "checkpoint": str(trained), "num_videos": 6, "steps": 4, "cfg_scale": 2.0, "batch": 2}
    return {**base, "formats": ["png"], "output_path": str(output), **keys}


def sample(trained: Path, folder: Path, name: str, **keys: Any) -> Path:
    file = write(folder / f"{name}.json", body(trained, folder / name, **keys))
    assert main(["run", str(file), "--quiet"]) == 0
    return folder / name


def videos(output: Path) -> np.ndarray:
    listing = json.loads((output / "samples.json").read_text())
    return np.stack(
        [frames_of(read_image(output / each["strip"])[0], listing["frames"], 1) for each in listing["videos"]]
    )


@pytest.fixture(scope="module")
def drawn(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample(trained, tmp_path_factory.mktemp("drawn"), "six")


def test_a_run_holds_what_was_asked_for(trained: Path, tmp_path: Path) -> None:
    output = sample(trained, tmp_path, "all", num_videos=2, formats=["mp4", "gif", "png"], save_trajectory=True)
    assert {each.name for each in output.iterdir()} >= {"grid.png", "samples.json", "strips", "trajectories", "videos"}
    assert sorted(each.name for each in (output / "videos").iterdir()) == [
        *("00000.gif", "00000.mp4", "00001.gif", "00001.mp4"),
    ]
    steps = sorted(each.name for each in (output / "trajectories" / "00001").iterdir())
    assert steps == [f"{step:03}.mp4" for step in range(4)]
    assert videos(output).shape == (2, 3, 8, 8, 1)
    listing = json.loads((output / "samples.json").read_text())
    assert [each["class"] for each in listing["videos"]] == ["zero", "one"]


def test_a_video_hangs_neither_on_its_batch_nor_on_how_many_there_are(
    trained: Path, drawn: Path, tmp_path: Path
) -> None:
    for name, keys in {"few": {"num_videos": 3}, "alone": {"batch": 1}, "together": {"batch": 6}}.items():
        found = videos(sample(trained, tmp_path, name, **keys)).astype(int)
        assert np.abs(found - videos(drawn)[: len(found)]).max() <= LEVELS
    other = videos(sample(trained, tmp_path, "other", seed=1)).astype(int)
    assert np.abs(other - videos(drawn)).max() > 20 * LEVELS


def test_stochastic_steps_are_keyed_too(trained: Path, tmp_path: Path) -> None:
    """The model predicts a flow, which has no ancestral steps of its own; another objective draws from nothing here."""
    base = tree(tmp_path / "run", steps=2)
    base["diffusion"] = {"objective": "epsilon"}
    assert main(["run", str(write(tmp_path / "t.json", base)), "--quiet"]) == 0
    one = sample(tmp_path / "run", tmp_path, "one", solver="ddpm", batch=1)
    two = sample(tmp_path / "run", tmp_path, "two", solver="ddpm", batch=3)
    assert np.abs(videos(one).astype(int) - videos(two)).max() <= LEVELS


def test_finished_videos_are_kept_and_the_others_come_out_the_same(trained: Path, drawn: Path, tmp_path: Path) -> None:
    output = sample(trained, tmp_path, "cut")
    expected = {each.name: each.read_bytes() for each in (output / "strips").iterdir()}
    kept = output / "strips" / "00002.png"
    before = kept.stat().st_mtime_ns
    for number in (1, 3, 4):
        (output / "strips" / f"{number:05}.png").unlink()
    assert main(["run", str(tmp_path / "cut.json"), "--quiet"]) == 0
    assert {each.name: each.read_bytes() for each in (output / "strips").iterdir()} == expected
    assert kept.stat().st_mtime_ns == before


@pytest.mark.slow
def test_two_processes_draw_the_same_bytes(trained: Path, drawn: Path, tmp_path: Path) -> None:
    done = torchrun(write(tmp_path / "two.json", body(trained, tmp_path / "two")), 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.array_equal(videos(tmp_path / "two"), videos(drawn))


def test_labels_are_numbers_names_or_all(trained: Path, tmp_path: Path) -> None:
    output = sample(trained, tmp_path, "named", labels=["seven", 2], num_videos=3)
    assert [each["label"] for each in json.loads((output / "samples.json").read_text())["videos"]] == [7, 2, 7]
    output = sample(trained, tmp_path, "one", labels="three", num_videos=2)
    assert [each["label"] for each in json.loads((output / "samples.json").read_text())["videos"]] == [3, 3]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"labels": [12]}, "no class 12: the network knows the classes 0 to 9"),
        ({"labels": "ten"}, 'no class "ten". Known: zero, one'),
        ({"prompts": ["a fox"]}, 'the model is told classes. Use "labels"'),
        ({"labels": "all", "prompts": ["x"]}, "both given"),
        ({"checkpoint": "nowhere/at/all"}, "was not found"),
        ({"pipeline": {"frames": 1}}, "for a LattePipeline of diffusers only"),
        ({"solver": "plms"}, 'solver "plms" is unknown'),
    ],
)
def test_what_makes_no_sense_is_said_by_check(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], words: str
) -> None:
    file = write(tmp_path / "s.json", body(trained, tmp_path / "out", **keys))
    assert main(["check", str(file)]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_checkpoints_of_other_models_and_damaged_ones_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save_file

    save_file({"lonely": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "torn.safetensors").write_bytes((trained / "model.safetensors").read_bytes()[:5000])
    (tmp_path / "empty").mkdir()
    for name, words in {
        "foreign.safetensors": "is no Latte checkpoint",
        "torn.safetensors": "torn.safetensors",
        "empty": "holds no weights",
    }.items():
        file = write(tmp_path / "s.json", body(tmp_path / name, tmp_path / f"out-{name}"))
        assert main(["run", str(file), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "Traceback" not in said


def test_a_published_latte_is_drawn_from(tmp_path: Path) -> None:
    """A file as its authors save it: `ema` and `model`, no config; here on pixels of 3 channels."""
    from diffsynth.models import Condition, LatteConfig, VideoShape

    torch.manual_seed(0)
    network = LatteConfig(hidden=384, depth=2, heads=6, patch=4).build(
        VideoShape(4, 3, 16, 16), Condition("class", num_classes=5), learned_sigma=True
    )
    weights = network.state_dict()
    torch.save({"ema": weights, "model": weights}, tmp_path / "latte.pt")
    output = sample(tmp_path / "latte.pt", tmp_path, "out", num_videos=2, solver="ddpm", steps=3)
    listing = json.loads((output / "samples.json").read_text())
    assert listing["frames"] == 4
    assert [each["label"] for each in listing["videos"]] == [0, 1]


def test_evaluate_measures_a_run_and_says_what_does_not_fit(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = {
        "task": "evaluate",
        "samples": str(drawn),
        "dataset": {"type": "moving_digits", "size": 8, "frames": 3},
        "metrics": ["digit_accuracy", "frechet_random_conv3d", "motion_histogram", "nearest_clip"],
        "num_reference": 20,
        "output_path": str(tmp_path / "out"),
    }
    assert main(["run", str(write(tmp_path / "e.json", base)), "--quiet"]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["samples"] == 6
    assert 0 <= found["digit_accuracy"]["value"] <= 1
    assert found["frechet_random_conv3d"]["value"] > 0
    wrong = {
        '"dataset.frames" is 4': {"dataset": {**base["dataset"], "frames": 4}},  # type: ignore[dict-item]
        '"dataset.size" is 16×16': {"dataset": {**base["dataset"], "size": 16}},  # type: ignore[dict-item]
        '"i3d" names no network': {"metrics": ["fvd"]},
        'is for "dataset": "moving_digits" only': {"dataset": {"type": "moving_shapes"}},
    }
    for words, keys in wrong.items():
        file = write(tmp_path / "w.json", {**base, "output_path": str(tmp_path / "wrong"), **keys})
        assert main(["run", str(file), "--quiet", "--fresh"]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "wrong" / "evaluation.json").exists()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_drawn_clip_is_the_input_of_another_task(
    trained: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same frames as the task `sample` gives for that seed and class; drawn once."""
    clip = {"sample": str(trained), "seed": 3, "label": "four", "steps": 4, "cfg_scale": 2.0}
    base = {"task": "transcode", "input_video": clip, "output_path": str(tmp_path / "out")}
    file = write(tmp_path / "t.json", base)
    assert main(["check", str(file)]) == 0
    assert "frames     3, 8×8" in capsys.readouterr().out
    assert not list(cache.glob("*/frames"))
    assert main(["run", str(file), "--quiet"]) == 0
    drawn = [read_image(path)[0][..., :1] for path in sorted((tmp_path / "out" / "frames").iterdir())]
    one = sample(trained, tmp_path, "one", num_videos=1, labels=4, seed=3, batch=1)
    assert np.array_equal(np.stack(drawn), videos(one)[0])
    (made,) = cache.glob("*/frames")
    before = made.stat().st_mtime_ns
    assert main(["run", str(file), "--quiet", "--fresh"]) == 0
    assert made.stat().st_mtime_ns == before
    assert json.loads((tmp_path / "out" / "config.json").read_text())["input_video"] == clip


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"seed": -1}, '"seed" is -1; it must be at least 0'),
        ({"sample": "nowhere"}, '"nowhere" was not found'),
        ({"sed": 1}, 'Did you mean "seed"?'),
        ({"label": 10}, "There is no class 10: the network knows the classes 0 to 9"),
        ({"label": "ten"}, 'no class "ten". Known: zero, one'),
        ({"prompt": "a fox"}, "the model is not told texts"),
    ],
)
def test_a_clip_that_cannot_be_drawn_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], words: str
) -> None:
    clip = {"sample": str(trained), **keys}
    file = write(tmp_path / "t.json", {"task": "transcode", "input_video": clip, "output_path": str(tmp_path / "out")})
    assert main(["check", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_pipeline_draws_from_prompts_and_goes_on(tmp_path: Path) -> None:
    """diffusers' LattePipeline through the same task: a folder, prompts, strips; finished videos are kept."""
    from tiny_latte import FRAMES, SIDE, save_tiny_latte

    folder = save_tiny_latte(tmp_path / "latte")
    settings = {"frames": FRAMES, "size": SIDE, "scheduler": "ddim"}
    keys = {"prompts": ["a fox", "a lake"], "num_videos": 3, "steps": 2, "pipeline": settings, "cfg_scale": 3.0}
    output = sample(folder, tmp_path, "out", **keys)
    listing = json.loads((output / "samples.json").read_text())
    assert listing["frames"] == FRAMES
    assert [each["prompt"] for each in listing["videos"]] == ["a fox", "a lake", "a fox"]
    expected = {each.name: each.read_bytes() for each in (output / "strips").iterdir()}
    assert len(set(expected.values())) == 3
    (output / "strips" / "00001.png").unlink()
    assert main(["run", str(tmp_path / "out.json"), "--quiet"]) == 0
    assert {each.name: each.read_bytes() for each in (output / "strips").iterdir()} == expected
    picture = sample(folder, tmp_path, "picture", **{**keys, "num_videos": 1, "pipeline": {**settings, "frames": 1}})
    assert read_image(picture / "strips" / "00000.png")[0].shape == (SIDE, SIDE, 3)
