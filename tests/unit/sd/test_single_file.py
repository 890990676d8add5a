"""Checkpoints of one file: the same networks as from the folder that the file was written from."""

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from original_layout import XL_DENOISER, _under, controlnet_named, original_state, save_original, unet_named, vae_named
from safetensors.torch import save_file
from tiny import save_tiny_controlnet, save_tiny_sd, save_tiny_sd2, save_tiny_sdxl

from diffsynth.errors import MissingFileError, ModelError
from diffsynth.sd import vocabulary
from diffsynth.sd.anatomy import text_settings, unet_settings, vae_settings
from diffsynth.sd.checkpoint import open_checkpoint
from diffsynth.sd.checkpoint_ref import CheckpointRef
from diffsynth.sd.layout import CheckpointLayout
from diffsynth.sd.network_files import control_source, vae_source

MAKERS = {"sd1": save_tiny_sd, "sd2": save_tiny_sd2, "xl": save_tiny_sdxl}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("kind", MAKERS)
def test_all_networks_of_a_file_are_its_folders(
    folders: dict[str, Path], kind: str, suffix: str, tmp_path: Path
) -> None:
    """Tiny networks have widths from which heads and groups can't be told: those come from the folder's settings."""
    folder = folders[kind]
    file = save_original(folder, tmp_path / f"model{suffix}", open_clip=kind == "sd2")
    from_file = open_checkpoint(CheckpointRef(str(file), str(folder)))
    from_folder = open_checkpoint(CheckpointRef(str(folder)))
    assert same(from_file.unet(torch.float32), from_folder.unet(torch.float32))
    assert same(from_file.vae(torch.float32), from_folder.vae(torch.float32))
    for number in range(2 if kind == "xl" else 1):
        ours, theirs = (each.text_encoder(number, torch.float32) for each in (from_file, from_folder))
        assert same(ours, theirs)
        tokens = torch.arange(77)[None] + 7
        assert torch.equal(ours(tokens)[0], theirs(tokens)[0])
        asked = [each.tokenizer(number)("a white tree!", padding="max_length") for each in (from_file, from_folder)]
        assert asked[0].input_ids == asked[1].input_ids
    assert from_file.layout.scheduler == from_folder.layout.scheduler


@pytest.mark.parametrize("kind", MAKERS)
def test_half_precision_is_read(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    file = save_original(folders[kind], tmp_path / "m.safetensors", open_clip=kind == "sd2", dtype=torch.float16)
    unet = open_checkpoint(CheckpointRef(str(file), str(folders[kind]))).unet(torch.float32)
    plain = open_checkpoint(CheckpointRef(str(folders[kind]))).unet(torch.float32)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(unet.state_dict()[name], tensor.half().float()), name


PUBLISHED: dict[str, dict[str, Any]] = {
    "Stable Diffusion 1.x": {"cross_attention_dim": 768, "attention_head_dim": 8},
    "Stable Diffusion 2.x": {
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "Stable Diffusion XL": XL_DENOISER,
}
"""What is published of the denoisers beside the defaults of their class."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_denoisers_are_told_from_shapes(name: str) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**PUBLISHED[name])
        named = _under("model.diffusion_model", unet_named(unet))
    found = unet_settings({key: tuple(each.shape) for key, each in named.items()})
    for key, value in found.items():
        expected = "UNet2DConditionModel" if key == "_class_name" else unet.config[key]
        assert value == (list(expected) if isinstance(expected, tuple) else expected), key
    with torch.device("meta"):
        rebuilt = UNet2DConditionModel.from_config(found)
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {k: v.shape for k, v in unet.state_dict().items()}


def test_autoencoders_and_text_encoders_are_told_from_shapes(folders: dict[str, Path]) -> None:
    shapes = {key: tuple(each.shape) for key, each in original_state(folders["xl"]).items()}
    ref = open_checkpoint(CheckpointRef(str(folders["xl"]))).layout
    told = vae_settings(shapes, xl=True)
    for key in ("latent_channels", "block_out_channels", "layers_per_block", "scaling_factor", "down_block_types"):
        assert told[key] == ref.vae[key], key
    for prefix, expected in zip(
        ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."), ref.text_encoders, strict=True
    ):
        told = text_settings(shapes, prefix)
        for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "projection_dim"):
            assert told[key] == expected[key], key
        for key in ("bos_token_id", "eos_token_id", "pad_token_id", "max_position_embeddings"):
            assert told[key] == expected[key], key


def test_what_the_second_generation_predicts_must_be_said(folders: dict[str, Path], tmp_path: Path) -> None:
    state = original_state(folders["sd2"], open_clip=True)
    file = tmp_path / "two.safetensors"
    save_file(state, file)
    settings = tmp_path / "settings"
    for part in ("unet", "vae", "text_encoder"):
        (settings / part).mkdir(parents=True)
        (settings / part / "config.json").write_bytes((folders["sd2"] / part / "config.json").read_bytes())
    with pytest.raises(ModelError, match='Set "prediction_type" to "v_prediction"'):
        open_checkpoint(CheckpointRef(str(file), str(settings)))
    assert open_checkpoint(CheckpointRef(str(file), str(settings), "epsilon")).layout.scheduler
    file.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    told = open_checkpoint(CheckpointRef(str(file), str(settings))).layout.scheduler
    assert told["prediction_type"] == "v_prediction"
    file.with_suffix(".yaml").unlink()
    save_file({**state, "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, file)
    told = open_checkpoint(CheckpointRef(str(file), str(settings))).layout.scheduler
    assert (told["prediction_type"], told["rescale_betas_zero_snr"]) == ("v_prediction", True)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_strange_files(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = original_state(folders["sd1"])

    def said(name: str, content: bytes | dict[str, Any]) -> str:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".safetensors":
            save_file(content, path)
        else:
            torch.save(content, path)
        with pytest.raises(ModelError) as caught:
            open_checkpoint(CheckpointRef(str(path), str(folders["sd1"]))).unet(torch.float32)
        assert str(path) in str(caught.value)
        return str(caught.value)

    assert "none of it is run" in said("bomb.ckpt", {"state_dict": {**state, "x": Bomb()}})
    assert "none of it is run" in said("old.ckpt", pickle.dumps({"state_dict": Bomb()}))
    assert not (tmp_path / "exploded").exists()
    whole = tmp_path / "whole.safetensors"
    save_file(state, whole)
    assert "is cut short" in said("cut.safetensors", whole.read_bytes()[:-1000])
    assert "no safetensors file" in said("page.safetensors", b"<html>404</html>" * 40)
    assert "is no file of weights" in said("page.ckpt", b"PK" + b"<html>404</html>" * 40)
    assert "is one part of a checkpoint" in said("unet.safetensors", {"down_blocks.0.x": torch.zeros(1)})
    assert 'Name it under "lora"' in said("lora.safetensors", {"lora_unet_x.lora_down.weight": torch.zeros(1)})
    assert "another family" in said("flux.safetensors", {"double_blocks.0.x": torch.zeros(1)})
    assert "no text encoder" in said("bare.safetensors", {k: v for k, v in state.items() if "cond_stage" not in k})
    assert "refiner" in said(
        "refiner.safetensors",
        {k.replace("cond_stage_model.transformer", "conditioner.embedders.0.model"): v for k, v in state.items()},
    )
    assert "another scale of noise" in said("edm.safetensors", {**state, "edm_mean": torch.zeros(4)})
    inpaint = {**state, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}
    assert "missing or have another shape" in said("inpaint.safetensors", inpaint)
    gap = {k: v for k, v in state.items() if "middle_block.0" not in k}
    assert 'name as "model_settings"' in said("gap.safetensors", gap)


def test_where_the_vocabulary_is_looked_for(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    file = save_original(folders["xl"], tmp_path / "model.safetensors")
    tokenizer = folders["xl"] / "tokenizer"
    with pytest.raises(MissingFileError, match='Put a folder "tokenizer" with vocab'):
        vocabulary.vocabulary(file)
    snapshot = tmp_path / "hub" / f"models--{vocabulary.PUBLISHED.replace('/', '--')}" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        (snapshot / name).write_bytes((tokenizer / name).read_bytes())
    assert vocabulary.vocabulary(file) == snapshot
    (tmp_path / "tokenizer").mkdir()
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "tokenizer" / name).write_bytes((tokenizer / name).read_bytes())
    assert vocabulary.vocabulary(file) == tmp_path / "tokenizer"
    settings = tmp_path / "settings"
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        (settings / part).mkdir(parents=True)
        (settings / part / "config.json").write_bytes((folders["xl"] / part / "config.json").read_bytes())
    bare, whole = (open_checkpoint(CheckpointRef(str(file), str(each))) for each in (settings, folders["xl"]))
    for number in range(2):
        asked = [each.tokenizer(number)("a tree", padding="max_length").input_ids for each in (bare, whole)]
        assert asked[0] == asked[1], "a vocabulary alone is told each encoder's padding and length"


# Single networks


def layout_of(folder: Path) -> CheckpointLayout:
    return open_checkpoint(CheckpointRef(str(folder))).layout


@pytest.mark.parametrize("names", ["original", "original, whole checkpoint's", "diffusers"])
def test_an_autoencoder_of_a_file(folders: dict[str, Path], names: str, tmp_path: Path) -> None:
    vae = AutoencoderKL.from_pretrained(folders["xl"], subfolder="vae")
    state = dict(vae.state_dict() if names == "diffusers" else vae_named(vae))
    if "whole" in names:
        state = {f"first_stage_model.{name}": each for name, each in state.items()} | {"model.x": torch.zeros(1)}
    save_file({name: each.contiguous() for name, each in state.items()}, tmp_path / "vae.safetensors")
    source = vae_source(str(tmp_path / "vae.safetensors"), layout_of(folders["xl"]), None)
    assert same(source.load(torch.float32), vae)


@pytest.mark.parametrize("names", ["original", "original, in a checkpoint", "diffusers"])
@pytest.mark.parametrize("kind", ["sd1", "xl"])
def test_a_controlnet_of_a_file(folders: dict[str, Path], kind: str, names: str, tmp_path: Path) -> None:
    if (kind, names[:8]) == ("xl", "original"):
        names = "diffusers"  # XL's nets were never published in the other layout
    net = ControlNetModel.from_pretrained(save_tiny_controlnet(tmp_path / "net", folders[kind]))
    state = dict(net.state_dict() if names == "diffusers" else controlnet_named(net))
    if "in a" in names:
        state = {f"control_model.{name}": each for name, each in state.items()}
    file = tmp_path / "control_shuffle.pth"
    torch.save(state, file)
    source = control_source(str(file), layout_of(folders[kind]), None)
    loaded = source.load(torch.float32)
    assert same(loaded, net)
    assert loaded.config.global_pool_conditions, "as its name says"
    other = "sd2" if kind == "sd1" else "sd1"
    with pytest.raises(ModelError, match="this ControlNet is for a checkpoint of text width"):
        control_source(str(file), layout_of(folders[other]), None)


def test_files_of_other_networks(folders: dict[str, Path], tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    layout = layout_of(folders["sd1"])
    with pytest.raises(ModelError, match="is no ControlNet"):
        control_source(str(tmp_path / "x.safetensors"), layout, None)
    with pytest.raises(ModelError, match="is no autoencoder"):
        vae_source(str(tmp_path / "x.safetensors"), layout, None)
    save_file({"lora_unet_x.alpha": torch.zeros(1)}, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match='Name it under "lora"'):
        control_source(str(tmp_path / "lora.safetensors"), layout, None)
    inside = folders["sd1"] / "vae" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(ModelError, match="must be a folder then"):
        vae_source(str(inside), layout, None)


def test_a_trainers_class_in_a_checkpoint_does_no_harm(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first published checkpoints name one as the key of their callbacks."""
    module = ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    kind = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = kind  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
            patch.setitem(sys.modules, name, ModuleType(name))
        patch.setitem(sys.modules, module.__name__, module)
        state = original_state(folders["sd1"])
        torch.save({"state_dict": state, "callbacks": {kind: {"best": 1.0}}}, tmp_path / "old.ckpt")
    found = open_checkpoint(CheckpointRef(str(tmp_path / "old.ckpt"), str(folders["sd1"])))
    assert same(found.unet(torch.float32), open_checkpoint(CheckpointRef(str(folders["sd1"]))).unet(torch.float32))
