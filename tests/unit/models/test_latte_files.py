"""Published checkpoints: what they say of their network, and what is said of those of another."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from diffsynth.errors import DiffSynthError, MissingFileError, ModelError
from diffsynth.models import Condition, LatteConfig, VideoShape
from diffsynth.models.latte import Latte
from diffsynth.models.latte_files import read_latte

SHAPE = VideoShape(4, 4, 8, 8)


def published(condition: Condition, **keys: Any) -> Latte:
    """S/4 but for its depth, so that the file is small."""
    config = LatteConfig(hidden=384, depth=2, heads=6, patch=4, **keys)
    built = config.build(SHAPE, condition, learned_sigma=True)
    for parameter in built.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    return built


@pytest.mark.parametrize(
    "condition", [Condition(), Condition("class", num_classes=101), Condition("text", text_dim=10)]
)
def test_an_official_file_loads_unchanged(tmp_path: Path, condition: Condition) -> None:
    averaged, trained = published(condition), published(condition)
    torch.save({"ema": averaged.state_dict(), "model": trained.state_dict()}, tmp_path / "ucf101.pt")
    found = read_latte(tmp_path / "ucf101.pt")
    assert found.config == LatteConfig(hidden=384, depth=2, heads=6, patch=4)
    assert (found.shape, found.condition, found.learned_sigma) == (SHAPE, condition, True)
    x, t = torch.randn(1, 4, 4, 8, 8), torch.tensor([500.0])
    labels = averaged.null_condition(1)
    assert torch.equal(found.build()(x, t, labels), averaged(x, t, labels))


def test_what_wraps_a_network_leaves_its_names_alone(tmp_path: Path) -> None:
    built = published(Condition())
    wrapped = {f"module.{name}": each for name, each in built.state_dict().items()}
    options = argparse.Namespace(model="Latte-S/4", lr=1e-4)
    torch.save({"model": wrapped, "ema": {}, "opt": {"step": 3}, "args": options}, tmp_path / "wrapped.pt")
    compiled = {f"_orig_mod.{name}": each for name, each in wrapped.items()}
    torch.save({"ema": compiled}, tmp_path / "compiled.pt")
    save_file({name: each.contiguous() for name, each in built.state_dict().items()}, tmp_path / "flat.safetensors")
    for name in ("wrapped.pt", "compiled.pt", "flat.safetensors"):
        weights = read_latte(tmp_path / name).weights
        assert all(torch.equal(weights[key], each) for key, each in built.state_dict().items())


def test_weights_of_half_precision_and_a_table_without_a_row_for_none(tmp_path: Path) -> None:
    """Nothing in a file tells n classes and a null row from n + 1 classes: the last row counts as the null one."""
    built = published(Condition("class", num_classes=5))
    half = {name: each.half() for name, each in built.state_dict().items()}
    torch.save({"model": half}, tmp_path / "half.pt")
    found = read_latte(tmp_path / "half.pt")
    assert {each.dtype for each in found.build().parameters()} == {torch.float32}
    rows = "y_embedder.embedding_table.weight"
    torch.save({"model": {**half, rows: half[rows][:5].clone()}}, tmp_path / "without.pt")
    assert (found.condition.num_classes, read_latte(tmp_path / "without.pt").condition.num_classes) == (5, 4)


def changed(weights: dict[str, Tensor], how: str) -> object:
    if how == "other":
        return {"transformer_blocks.0.attn1.to_q.weight": torch.zeros(4, 4)}
    if how == "lacks":
        del weights["blocks.1.mlp.fc2.bias"]
    if how == "more":
        weights["blocks.0.temp_attn.qkv.weight"] = torch.zeros(3, 3)
    if how == "shape":
        weights["blocks.1.mlp.fc1.weight"] = torch.zeros(10, 384)
    if how == "text":
        return "not weights"
    return {"ema": weights}


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("other", "no Latte checkpoint: it has no x_embedder.proj.weight.*transformer_blocks.0.attn1"),
        ("lacks", r"depth 2, but it lacks blocks.1.mlp.fc2.bias\."),
        ("more", "it has blocks.0.temp_attn.qkv.weight"),
        ("shape", r"blocks.1.mlp.fc1.weight is \(10, 384\) instead of \(1536, 384\)"),
        ("text", "holds no table of weights"),
    ],
)
def test_another_models_file_is_told_apart(tmp_path: Path, how: str, words: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(changed(dict(published(Condition()).state_dict()), how), path)
    with pytest.raises(ModelError, match=words) as raised:
        read_latte(path)
    assert str(path) in str(raised.value)


class Code:
    """What a file must not bring in."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("run",)


def test_no_code_of_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"ema": Code()}, tmp_path / "code.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "code.pt").read_bytes()[:100])
    (tmp_path / "cut.safetensors").write_bytes(b"\0" * 5)
    for name in ("code.pt", "cut.pt", "cut.safetensors"):
        with pytest.raises(ModelError, match="doesn't load as weights"):
            read_latte(tmp_path / name)
    assert capsys.readouterr().out == ""
    with pytest.raises(MissingFileError, match="was not found"):
        read_latte(tmp_path / "none.pt")


def test_heads_that_no_published_size_tells_are_asked_for(tmp_path: Path) -> None:
    built = LatteConfig(hidden=32, depth=1, heads=4, patch=2).build(SHAPE, Condition(), learned_sigma=False)
    torch.save({"ema": built.state_dict()}, tmp_path / "small.pt")
    with pytest.raises(ModelError, match="hidden size is 32"):
        read_latte(tmp_path / "small.pt")
    found = read_latte(tmp_path / "small.pt", heads=4)
    assert (found.config.heads, found.learned_sigma) == (4, False)


def test_a_size_is_its_numbers() -> None:
    config = LatteConfig(size="XL/4")
    assert (config.hidden, config.depth, config.heads, config.patch) == (1152, 28, 16, 4)
    for name in ("latte", "diffusynth", "lavita"):
        read = LatteConfig.model_validate({"type": name, "size": "XL/4"})
        assert read == config
        assert LatteConfig.model_validate(read.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"size": "XL/2", "depth": 3}, "in XL/2, depth is 28, not 3"),
        ({"size": "XXL/2"}, "XL/2"),
        ({"hidden": 24, "heads": 5}, "must divide hidden = 24"),
        ({"hidden": 24, "heads": 8}, "heads of an even size"),
        ({"hidden": 24, "heads": 3, "variant": "split"}, "even number"),
        ({"variant": "fifth"}, "interleaved"),
        ({"layers": 3}, "Extra inputs"),
    ],
)
def test_a_config_that_is_no_network_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LatteConfig.model_validate({"type": "latte", **keys})


@pytest.mark.parametrize(
    ("keys", "shape", "words"),
    [
        ({"patch": 8}, VideoShape(4, 4, 8, 12), "frames of 12×8"),
        ({"patch_embedding": "tube", "tube_length": 3}, VideoShape(4, 4, 8, 8), "doesn't divide 4 frames"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(keys: dict[str, Any], shape: VideoShape, words: str) -> None:
    with pytest.raises(DiffSynthError, match=words):
        LatteConfig(**keys).build(shape, Condition(), learned_sigma=False)


def test_configs_of_networks_and_objectives_need_no_torch() -> None:
    code = (
        "import sys; import diffsynth.models; from diffsynth.diffusion.objective import DiffusionConfig; "
        "DiffusionConfig(); diffsynth.models.LatteConfig(size='XL/2'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
