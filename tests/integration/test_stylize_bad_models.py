"""What a stylization says to models that are missing, damaged or of another kind: exit code 2 and no traceback."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from refusals import Case, replace, resettle
from safetensors.torch import load_file, save_file
from stylizing import Bench, written

WEIGHTS = "diffusion_pytorch_model.safetensors"
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), count=4, height=32, width=32)


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
