"""Latte's own checkpoints: imported, they draw what they drew."""

from pathlib import Path

import pytest
import torch

from diffsynth.config import Override
from diffsynth.errors import DiffSynthError, ModelError
from diffsynth.imports import import_file
from diffsynth.models import Condition, LatteConfig, VideoShape
from diffsynth.runtime import Runtime
from diffsynth.training.loading_model import load_model
from diffsynth.training.sampling import SamplePlan, draw
from diffsynth.training.wishes import Wish


def saved(path: Path, channels: int) -> Path:
    torch.manual_seed(0)
    network = LatteConfig(hidden=384, depth=2, heads=6, patch=4).build(
        VideoShape(2, channels, 8, 8), Condition("class", num_classes=3), learned_sigma=True
    )
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    torch.save({"ema": network.state_dict(), "model": {}}, path)
    return path


def test_an_official_file_draws_the_same_when_imported(tmp_path: Path) -> None:
    path = saved(tmp_path / "ucf101.pt", 3)
    found = import_file(path)
    assert found.path == tmp_path / "ucf101.safetensors"
    assert "hidden 384, depth 2, 6 heads, patch 4, 3 classes" in found.words[0]
    models = [load_model(each, Runtime("cpu")) for each in (path, found.path)]
    assert models[0].config == models[1].config
    one, other = (draw(each, [Wish(0, 2)], SamplePlan(2, 0, 2.0, "ddpm")) for each in models)
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("name", "weight", "sentence"),
    [
        ("pos_embed", torch.zeros(()), r"odd\.pt: its pos_embed is of the shape \(\)"),
        ("final_layer.linear.weight", torch.zeros(0), r"final_layer\.linear\.weight is of the shape \(0,\)"),
        ("y_embedder.embedding_table.weight", torch.zeros(()), r"embedding_table\.weight is of the shape \(\)"),
        ("blocks.x.y", torch.zeros(4), "it has blocks.x.y"),
        ("blocks.9999999.y", torch.zeros(4), "depth 3, but it lacks"),  # and no such depth is built
    ],
)
def test_weights_of_no_network_are_told(tmp_path: Path, name: str, weight: torch.Tensor, sentence: str) -> None:
    weights = torch.load(saved(tmp_path / "ucf101.pt", 3), weights_only=True)["ema"]
    torch.save(weights | {name: weight}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match=sentence):
        import_file(tmp_path / "odd.pt")


def test_an_autoencoder_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "ucf101.pt", 4)
    with pytest.raises(DiffSynthError, match="Name the autoencoder"):
        import_file(path)
    assert not (tmp_path / "ucf101.safetensors").exists()
    with pytest.raises(DiffSynthError, match="no autoencoder"):
        import_file(path, None, [Override.parse(f"vae={tmp_path}")])
