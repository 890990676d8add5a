"""Checkpoints of the published package become ours: what they say, what they don't, and what they answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_bert import save_tiny_bert
from torch import Tensor
from unet_oracle import RestatedUnet

from diffsynth.cli import main
from diffsynth.config import Override
from diffsynth.errors import ConfigError, DiffSynthError, MissingFileError, ModelError, RunFolderError
from diffsynth.imports import import_file
from diffsynth.models.unet3d import Unet3D
from diffsynth.runtime import Runtime
from diffsynth.training.facts import facts_of
from diffsynth.training.loading_model import load_model

SMALL: dict[str, Any] = {"dim": 8, "dim_mults": (1, 2), "attn_heads": 2, "attn_dim_head": 8}
SHAPE = [Override.parse(each) for each in ("size=8", "frames=3")]


def network(**keys: Any) -> Unet3D:
    torch.manual_seed(int(keys.pop("seed", 0)))
    made = Unet3D(**{**SMALL, **keys})
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return made


def file_of(path: Path, averaged: Unet3D, trained: Unet3D, timesteps: int = 50) -> Path:
    """As the published Trainer writes it."""

    def named(each: Unet3D) -> dict[str, Tensor]:
        schedule = {"betas": torch.zeros(timesteps), "posterior_variance": torch.zeros(timesteps)}
        return {**schedule, **{f"denoise_fn.{name}": weight for name, weight in each.state_dict().items()}}

    scaler = {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 0}
    torch.save({"step": 7000, "model": named(trained), "ema": named(averaged), "scaler": scaler}, path)
    return path


@pytest.mark.parametrize(
    ("keys", "given", "oracle"),
    [
        ({}, [], RestatedUnet(2)),
        (
            {"resnet_groups": 4, "skip_from": "convolution", "init_dim": 4, "use_sparse_linear_attn": False},
            ["backbone.resnet_groups=4", "backbone.skip_from=convolution"],
            RestatedUnet(2, groups=4, early_skip=True),
        ),
    ],
)
def test_what_is_imported_answers_as_the_restatement_does(
    tmp_path: Path, keys: dict[str, Any], given: list[str], oracle: RestatedUnet
) -> None:
    averaged = network(**keys)
    path = file_of(tmp_path / "model-7.pt", averaged, network(**keys, seed=1))
    made = import_file(path, None, [*SHAPE, *map(Override.parse, given)])
    assert made.path == tmp_path / "model-7.safetensors"
    assert facts_of(made.path).step == 7000
    model = load_model(made.path, Runtime("cpu"))
    assert model.config.diffusion.train_steps == 50
    x = torch.randn(1, 3, 3, 8, 8)
    with torch.no_grad():
        # Of 1000 on the house's clock it is 40 on the network's, which counts to 50.
        said = model.network.double()(x.double(), torch.tensor([800.0]).double())
    weights = {name: each.double().numpy() for name, each in averaged.state_dict().items()}
    expected = oracle.answer(weights, np.moveaxis(x[0].double().numpy(), 0, 1), 40.0)
    # The angles' rates are float32 in the file, and so on both sides; all else is float64.
    np.testing.assert_allclose(said[0].transpose(0, 1).numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_bare_and_wrapped_weights_are_read_too(tmp_path: Path) -> None:
    made = network()
    torch.save(made.state_dict(), tmp_path / "bare.pt")
    torch.save({"model": {f"module.{name}": each for name, each in made.state_dict().items()}}, tmp_path / "ddp.pt")
    for name in ("bare", "ddp"):
        found = load_model(import_file(tmp_path / f"{name}.pt", None, SHAPE).path, Runtime("cpu"))
        weights = found.network.state_dict()
        assert all(torch.equal(each, weights[f"denoise_fn.{key}"]) for key, each in made.state_dict().items())


def test_text_needs_the_encoder_that_it_was_told_by(tmp_path: Path) -> None:
    path = file_of(tmp_path / "told.pt", network(cond_dim=16), network(cond_dim=16))
    with pytest.raises(ConfigError, match=r"vectors of 16 numbers.*condition\.encoder"):
        import_file(path, None, SHAPE)
    bert = save_tiny_bert(tmp_path / "bert", 16)
    made = import_file(path, tmp_path / "ours.safetensors", [*SHAPE, Override.parse(f"condition.encoder={bert}")])
    assert "told a vector of 16" in made.words[0]
    model = load_model(made.path, Runtime("cpu"))
    assert model.conditioner.condition.kind == "text"


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path / "model-7.pt", network(), network())
    assert main(["import", str(path)]) == 2
    assert '"size". Add --set size=…' in capsys.readouterr().err
    assert main(["import", str(path), "--set", "size=8", "--set", "frames=3"]) == 0
    assert "dim 8, levels [1, 2]" in capsys.readouterr().out
    with pytest.raises(RunFolderError, match="is there already"):
        import_file(path, None, SHAPE)


def with_weight(name: str, weight: Tensor) -> dict[str, Tensor]:
    return network().state_dict() | {name: weight}


@pytest.mark.parametrize(
    ("weights", "given", "sentence"),
    [
        ({}, ["size=9"], "sides are multiples of 2; they are 9×9"),
        ({}, ["frames=abc"], 'it\\.pt: "frames" is "abc"; it must be a whole number'),
        ({}, ["sise=8"], 'it\\.pt: "sise" is not a known key. Did you mean "size"'),
        ({}, ["backbone.dim=16"], "is not of the network that is described: "),
        ({}, ["backbone.skip_from=foo"], 'skip_from "foo" is unknown'),
        (with_weight("init_conv.weight", torch.zeros(8)), [], r"init_conv\.weight is of the shape \(8,\)"),
        (with_weight("time_mlp.1.weight", torch.zeros(())), [], r"time_mlp\.1\.weight is of the shape \(\)"),
        (with_weight("time_rel_pos_bias.relative_attention_bias.weight", torch.zeros(32, 0)), [], r"shape \(32, 0\)"),
        (with_weight("null_cond_emb", torch.zeros(4)), [], r"null_cond_emb is of the shape \(4,\)"),
        (with_weight("betas", torch.zeros(())), [], r"betas is of the shape \(\)"),
        (network(out_dim=5).state_dict(), [], r"final_conv\.1\.weight is \(5, "),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_written(
    tmp_path: Path, weights: dict[str, Tensor], given: list[str], sentence: str
) -> None:
    torch.save(weights or network().state_dict(), tmp_path / "it.pt")
    with pytest.raises(DiffSynthError, match=sentence):
        import_file(tmp_path / "it.pt", None, [*SHAPE, *map(Override.parse, given)])
    assert not (tmp_path / "it.safetensors").exists()


def test_a_learned_variance_and_files_of_old_versions_are_read(tmp_path: Path) -> None:
    weights = network(out_dim=6).state_dict()
    torch.save({"model": weights, "ema": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    model = load_model(import_file(tmp_path / "old.pt", None, SHAPE).path, Runtime("cpu"))
    assert model.config.diffusion.learned_sigma


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_code_in_a_file_is_refused_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"ema": network().state_dict(), "extra": Code()}, tmp_path / "code.pt")
    with pytest.raises(ModelError, match=r"Doesn't load as weights: .* such as code, which is never run"):
        import_file(tmp_path / "code.pt", None, SHAPE)
    assert not (tmp_path / "ran").exists()


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="was not found"):
        import_file(tmp_path / "none.pt")
    torch.save({"x_embedder.proj.weight": torch.zeros(2)}, tmp_path / "other.pt")
    (tmp_path / "words.pt").write_text("no weights")
    for name in ("other.pt", "words.pt"):
        with pytest.raises(ModelError, match="of no kind that can be imported"):
            import_file(tmp_path / name)
    weights = network().state_dict()
    del weights["mid_block1.mlp.1.bias"]
    torch.save(weights, tmp_path / "cut.pt")
    with pytest.raises(DiffSynthError, match=r"levels \[1, 2\], but it lacks mid_block1\.mlp\.1\.bias"):
        import_file(tmp_path / "cut.pt", None, SHAPE)
