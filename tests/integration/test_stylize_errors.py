"""What a stylization says to bad settings, and where memory or a device is missing; exit code 2 and no traceback."""

import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from refusals import Case, replace, resettle
from safetensors.torch import load_file, save_file
from stylizing import Bench, moving_clip, written

from diffsynth.images import write_png

WEIGHTS = "diffusion_pytorch_model.safetensors"
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), count=4, height=32, width=32)


def limited(most: int, calls: int = 100) -> Callable[..., Any]:
    """The denoiser on a device with room for so many rows; after so many calls somebody stops it."""
    forward, answered = UNet2DConditionModel.forward, []

    def checked(self: UNet2DConditionModel, sample: torch.Tensor, *values: Any, **keys: Any) -> Any:
        if len(sample) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        answered.append(len(sample))
        if len(answered) > calls:
            raise KeyboardInterrupt
        return forward(self, sample, *values, **keys)

    return checked


def test_a_chunk_that_does_not_fit_is_halved(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[str, Any] = {"combine_pattern": [0], "chunk_size": 4}
    monkeypatch.setattr(UNet2DConditionModel, "forward", limited(4))
    assert case.run(**keys) == 0
    assert json.loads((case.output / "run.json").read_text())["plan"]["chunks"] == [0, 2, 4]
    halved = written(case.output)
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    shutil.rmtree(case.output)
    assert case.run(**{**keys, "chunk_size": 2}) == 0
    assert np.array_equal(written(case.output), halved)


def test_halving_is_kept_by_the_next_session(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: dict[str, Any] = {"combine_pattern": [0], "chunk_size": 4, "num_inference_steps": 2}
    with monkeypatch.context() as patch:
        patch.setattr(UNet2DConditionModel, "forward", limited(4, calls=2))
        assert case.run(**keys) == 130
    rows: list[int] = []
    forward = UNet2DConditionModel.forward

    def heard(self: UNet2DConditionModel, sample: torch.Tensor, *values: Any, **named: Any) -> Any:
        rows.append(len(sample))
        return forward(self, sample, *values, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", heard)
    assert case.run(**keys) == 0
    assert rows == [4, 4], "two frames on both sides"


def interrupted(*values: Any, **keys: Any) -> Any:
    raise KeyboardInterrupt


def test_not_even_one_frame_fits(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UNet2DConditionModel, "forward", limited(0))
    said = case.refused()
    assert "not even one frame" in said
    assert '"memory": "low"' in said


def test_a_decoder_without_room(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: AutoencoderKL, *values: Any, **keys: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(AutoencoderKL, "decode", full)
    assert "Use smaller frames" in case.refused()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"combine_pattern": [-1, 1]}, "must contain 0, the frame itself"),
        ({"combine_pattern": ["reference_0", 0]}, "frames_reference is empty"),
        ({"combine_pattern": "sliding(99)"}, "names no pattern"),
        ({"combine_pattern": []}, "must be a list of frame offsets"),
        ({"frames_reference": ["nowhere.png"]}, "nowhere.png"),
        ({"style_image": "nowhere.png"}, "nowhere.png"),
        ({"controlnets": [{"model_id": "nowhere", "processor": "tile"}]}, "nowhere"),
        ({"attention_backend": "flash"}, "attention_backend"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"img2img_strength": 1.5}, "img2img_strength"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"smoother": "EbsynthSmother"}, "EbsynthSmoother"),
        ({"extra_deflickering_range": 2, "post_smoother": "FastBlendSmoother"}, "Keep one of them"),
    ],
    ids=str,
)
def test_what_a_config_can_get_wrong(case: Case, keys: dict[str, Any], words: str) -> None:
    assert words in case.refused(**keys)
    assert not case.output.exists(), "before anything is done"


def test_a_missing_style_image_for_shuffle(case: Case) -> None:
    net = [{"model_id": str(case.bench.folder / "plain_net"), "processor": "shuffle"}]
    assert '"style_image", which is not given' in case.refused(controlnets=net)


def test_frames_too_small_for_a_latent(case: Case) -> None:
    (case.folder / "clip").mkdir()
    write_png(case.folder / "clip" / "0.png", moving_clip(1, 32, 32)[0][:6, :20])
    said = case.refused(input_video=str(case.folder / "clip"))
    assert "6 pixels" in said
    assert "at least 8" in said
    assert '"frame_height"' in said


@pytest.mark.parametrize("frames", [2, 3, 9])
def test_a_condition_of_another_length(case: Case, frames: int) -> None:
    (case.folder / "depth").mkdir()
    for position, frame in enumerate(moving_clip(frames, 32, 32)):
        write_png(case.folder / "depth" / f"{position}.png", frame)
    net = {"model_id": str(case.bench.folder / "plain_net"), "condition": str(case.folder / "depth")}
    said = case.refused(controlnets=[net])
    assert str(case.folder / "depth") in said
    assert f"has {frames} pictures where the clip has 4 frames" in said


def test_a_condition_clip_of_which_one_picture_is_left(case: Case) -> None:
    (case.folder / "depth").mkdir()
    for position, frame in enumerate(moving_clip(2, 32, 32)):
        write_png(case.folder / "depth" / f"{position}.png", frame)
    net = {"model_id": str(case.bench.folder / "plain_net"), "condition": str(case.folder / "depth")}
    assert "has 1 pictures where the clip has 2 frames" in case.refused(controlnets=[net], frame_interval=2)


def test_xformers_that_is_not_installed(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xformers", None)
    said = case.refused(attention_backend="xformers")
    assert 'pip install "diffsynth[xformers]"' in said
    assert '"sdpa"' in said


def test_a_device_that_is_not_here(case: Case) -> None:
    said = case.refused("--device", "cuda")
    assert '"device" is "cuda"' in said
    assert '"auto"' in said


def test_another_device_between_two_sessions(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderKL, "decode", interrupted)
        assert case.run() == 130
    record = json.loads((case.output / "run.json").read_text())
    record["plan"]["device"] = "cuda"
    (case.output / "run.json").write_text(json.dumps(record))
    said = case.refused()
    assert "begun with device cuda, and would go on with cpu" in said
    assert "--fresh" in said


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (f"model/unet/{WEIGHTS}", "model_id"),
        ("model/text_encoder/model.safetensors", "model_id"),
        (f"model/vae/{WEIGHTS}", "vae"),
        (f"plain_net/{WEIGHTS}", "controlnets[0].model_id"),
    ],
)
def test_other_weights_between_two_sessions(case: Case, monkeypatch: pytest.MonkeyPatch, file: str, key: str) -> None:
    folders = {each: case.copied(each) for each in ("model", "plain_net")}
    keys = {"model_id": str(folders["model"]), "controlnets": case.net(folders["plain_net"])}
    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderKL, "decode", interrupted)
        assert case.run(**keys) == 130
    path = case.folder / file
    first = path.read_bytes()
    weights = {name: each * 1.01 if each.is_floating_point() else each for name, each in load_file(path).items()}
    path.unlink()
    save_file(weights, path, {"format": "pt"})
    assert path.stat().st_size == len(first)
    said = case.refused(**keys)
    assert f"begun with other weights or settings under {key}; its" in said
    assert "--fresh" in said
    replace(path, first)
    assert case.run(**keys) == 0, "the file's time says nothing"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"prediction_type": "flow_prediction"}, "prediction_type"),
        ({"beta_schedule": "exotic"}, "scheduler_config.json"),
        ({"timestep_spacing": "exotic"}, "scheduler_config.json"),
        ({"num_train_timesteps": 3, "timestep_spacing": "trailing"}, "scheduler_config.json"),
        ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, "pure noise"),
    ],
    ids=str,
)
def test_a_scheduler_that_nobody_knows(case: Case, keys: dict[str, Any], words: str) -> None:
    folder = case.copied("model")
    resettle(folder / "scheduler" / "scheduler_config.json", **keys)
    said = case.refused(model_id=str(folder), num_inference_steps=5)
    assert str(folder / "scheduler") in said
    assert words in said


def test_a_velocity_network_under_the_seeds_schedule(case: Case) -> None:
    folder = case.copied("model")
    resettle(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    said = case.refused(model_id=str(folder), scheduler="seed_ddim")
    assert 'Use "scheduler": "auto"' in said
