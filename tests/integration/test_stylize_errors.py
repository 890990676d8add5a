"""What a stylization says to bad input: where, what was found, what to do; exit code 2 and no traceback."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from stylizing import Bench, moving_clip, written

from diffsynth.cli import main
from diffsynth.images import write_png

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), count=4, height=32, width=32)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # threads that wait for a busy core take long


class Case:
    """One config in a folder of its own, on copies of the bench's models."""

    def __init__(self, bench: Bench, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bench, self.folder, self.capsys = bench, folder, capsys

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def copied(self, name: str) -> Path:
        """A model's folder; its files are links until they are replaced."""
        shutil.copytree(self.bench.folder / name, self.folder / name, copy_function=os.link)
        return self.folder / name

    def run(self, *arguments: str, **keys: Any) -> int:
        path = self.folder / "my.json"
        tree = self.bench.tree(**{"num_inference_steps": 1, **keys})
        path.write_text(json.dumps({**tree, "output_path": str(self.output)}))
        return main(["run", str(path), "--quiet", *arguments])

    def refused(self, *arguments: str, **keys: Any) -> str:
        assert self.run(*arguments, **keys) == 2
        words = self.capsys.readouterr().err
        assert "Traceback" not in words
        assert not (self.output / "frames").exists()
        return words

    def net(self, folder: Path, **keys: Any) -> list[dict[str, Any]]:
        return [{"model_id": str(folder), "processor": "tile", **keys}]


@pytest.fixture
def case(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Case:
    return Case(bench, tmp_path, capsys)


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def resettle(path: Path, **keys: Any) -> None:
    """Change keys of a JSON file that is a link to another folder's."""
    replace(path, json.dumps({**json.loads(path.read_text()), **keys}).encode())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"cross_attention_dim": 2048, "addition_embed_type": "text_time"}, "is for Stable Diffusion XL"),
        ({"cross_attention_dim": 1024}, "is for Stable Diffusion 2.x"),
        ({"block_out_channels": [16, 16, 16]}, "block_out_channels is [16, 16, 16] there and [32, 32, 32] here"),
    ],
)
def test_a_controlnet_of_another_checkpoint(case: Case, keys: dict[str, Any], words: str) -> None:
    folder = case.copied("plain_net")
    resettle(folder / "config.json", **keys)
    said = case.refused(controlnets=case.net(folder))
    assert str(folder) in said
    assert words in said
    assert "Use a ControlNet made for that checkpoint" in said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"addition_embed_type": "text_time"}, "text_encoder_2/config.json: is missing"),
        ({"in_channels": 9}, "inpainting or depth checkpoint"),
        ({"cross_attention_dim": 64}, "unet/ reads words of width 64, but text_encoder/ writes 32"),
        ({"_class_name": "SD3Transformer2DModel"}, "SD3Transformer2DModel"),
        ({"block_out_channels": [16, 16, 16]}, "weights"),
    ],
)
def test_a_checkpoint_of_another_kind(case: Case, keys: dict[str, Any], words: str) -> None:
    folder = case.copied("model")
    resettle(folder / "unet" / "config.json", **keys)
    said = case.refused(model_id=str(folder))
    assert str(folder) in said
    assert words in said


def test_an_autoencoder_of_another_kind(case: Case) -> None:
    shutil.copytree(case.bench.model / "vae", case.folder / "vae", copy_function=os.link)
    resettle(case.folder / "vae" / "config.json", latent_channels=16)
    said = case.refused(vae=str(case.folder / "vae"))
    assert "16 channels" in said
    assert "Use one of the same family" in said


@pytest.mark.parametrize("key", ["model_id", "controlnet", "vae"])
def test_a_hub_id_without_a_connection(case: Case, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(case.folder / "hub"))
    keys = {"controlnets": [{"model_id": "owner/thing", "processor": "tile"}]} if key == "controlnet" else None
    said = case.refused(**(keys or {key: "owner/thing"}))
    assert "owner/thing: is not on this machine and can't be fetched" in said
    assert "a local folder, or run once with a connection to the hub" in said
    if key == "model_id":
        shutil.rmtree(case.output)
        said = case.refused(model_id="runwayml/stable-diffusion-v1-5")
        assert "use stable-diffusion-v1-5/stable-diffusion-v1-5" in said


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        f"unet/{WEIGHTS}",
        "unet/config.json",
        f"vae/{WEIGHTS}",
        "vae/config.json",
        "text_encoder/model.safetensors",
        "text_encoder/config.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_file(case: Case, name: str) -> None:
    folder = case.copied("model")
    (folder / name).unlink()
    said = case.refused(model_id=str(folder))
    assert str((folder / name).parent) in said
    assert Path(name).name in said


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_missing_file_of_a_controlnet(case: Case, name: str) -> None:
    folder = case.copied("plain_net")
    (folder / name).unlink()
    said = case.refused(controlnets=case.net(folder))
    assert str(folder) in said
    assert name in said


def test_a_single_file_is_no_folder(case: Case) -> None:
    said = case.refused(model_id=str(case.bench.model / "unet" / WEIGHTS))
    assert "is one part of a checkpoint in diffusers' layout. Give the folder" in said
    shutil.rmtree(case.output)
    said = case.refused(controlnets=case.net(case.bench.folder / "plain_net" / WEIGHTS))
    assert "must be a folder" in said


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def garbled(data: bytes) -> bytes:
    return b"<html>404 Not Found</html>" * 40


@pytest.mark.parametrize("harm", [cut, garbled], ids=["truncated", "a web page"])
@pytest.mark.parametrize(
    "name",
    [
        f"model/unet/{WEIGHTS}",
        f"model/vae/{WEIGHTS}",
        "model/text_encoder/model.safetensors",
        "model/tokenizer/vocab.json",
        "model/scheduler/scheduler_config.json",
        "model/unet/config.json",
        f"plain_net/{WEIGHTS}",
        "plain_net/config.json",
    ],
)
def test_a_damaged_file(case: Case, name: str, harm: Callable[[bytes], bytes]) -> None:
    folders = {each: case.copied(each) for each in ("model", "plain_net")}
    path = case.folder / name
    replace(path, harm(path.read_bytes()))
    said = case.refused(model_id=str(folders["model"]), controlnets=case.net(folders["plain_net"]))
    assert str(path.parent) in said
    assert "ownload" in said, "what to do"


class Trap:
    """Runs code where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "name",
    [
        "model/unet/diffusion_pytorch_model.bin",
        "model/vae/diffusion_pytorch_model.bin",
        "model/text_encoder/pytorch_model.bin",
        "plain_net/diffusion_pytorch_model.bin",
    ],
)
def test_code_in_weights_is_not_run(case: Case, name: str) -> None:
    folders = {each: case.copied(each) for each in ("model", "plain_net")}
    path = case.folder / name
    next(path.parent.glob("*.safetensors")).unlink()
    path.write_bytes(pickle.dumps({"weight": Trap(case.folder / "sprung")}))
    said = case.refused(model_id=str(folders["model"]), controlnets=case.net(folders["plain_net"]))
    assert str(path.parent) in said
    assert not (case.folder / "sprung").exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - shows that the trap works
    assert (case.folder / "sprung").exists(), "else this is no test"


def test_plain_torch_files_are_read(case: Case) -> None:
    folder = case.copied("model")
    weights = load_file(folder / "unet" / WEIGHTS)
    (folder / "unet" / WEIGHTS).unlink()
    torch.save(weights, folder / "unet" / "diffusion_pytorch_model.bin")
    assert case.run(model_id=str(folder)) == 0


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_folders_of_half_precision_alone(case: Case, suffix: str) -> None:
    """As `save_pretrained(variant="fp16")` names its files."""
    folders = {each: case.copied(each) for each in ("model", "plain_net")}
    keys = {"model_id": str(folders["model"]), "controlnets": case.net(folders["plain_net"])}
    files = list(case.folder.rglob("*.safetensors"))
    assert len(files) == 4
    for file in files:
        weights = load_file(file)
        file.unlink()
        stem = "pytorch_model" if suffix == "bin" and file.stem == "model" else file.stem
        half = {name: each.half() if each.is_floating_point() else each for name, each in weights.items()}
        if suffix == "bin":
            torch.save(half, file.with_name(f"{stem}.fp16.bin"))
        else:
            save_file(half, file.with_name(f"{stem}.fp16.safetensors"), {"format": "pt"})
    assert case.run(**keys) == 0
    assert written(case.output).shape == (4, 32, 32, 3)


@pytest.mark.parametrize(
    ("part", "key", "where"),
    [
        ("unet", "conv_out.weight", "in step 1/1"),
        ("vae", "decoder.conv_out.weight", "in the autoencoder's decoder"),
        ("vae", "encoder.conv_in.weight", "in the autoencoder's encoder"),
        ("text_encoder", "final_layer_norm.weight", "in step 1/1"),
    ],
)
def test_numbers_that_overflow(case: Case, part: str, key: str, where: str) -> None:
    folder = case.copied("model")
    path = next((folder / part).glob("*.safetensors"))
    weights = load_file(path)
    name = next(each for each in weights if each.endswith(key))
    weights[name] = torch.full_like(weights[name], float("nan"))
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})
    said = case.refused(model_id=str(folder), img2img_strength=0.5, num_inference_steps=2)
    assert where in said
    assert '"dtype"' in said
    assert '"vae"' in said


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
