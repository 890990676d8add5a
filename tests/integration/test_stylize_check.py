"""What `check` tells of models, with no torch: what fits together, what is fetched, and how much memory it takes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ip_files import save_tiny_ip_adapter, save_tiny_vision
from lora_files import kohya_state, random_deltas
from original_layout import save_original
from safetensors.torch import save_file
from stylizing import Bench
from tiny import save_tiny_controlnet, save_tiny_sdxl, save_tiny_t2i_adapter

from diffsynth.cli import main


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Beside a first-generation checkpoint and its net, in `xl…` what is for XL."""
    bench = Bench.make(tmp_path_factory.mktemp("bench"), count=2, height=32, width=32)
    folder = bench.folder
    xl = save_tiny_sdxl(folder / "xl")
    save_tiny_controlnet(folder / "xl_net", xl)
    save_tiny_t2i_adapter(folder / "t2i")
    save_tiny_t2i_adapter(folder / "xl_t2i", xl=True)
    save_tiny_vision(folder / "image_encoder")
    for name in ("model", "xl"):
        save_file(kohya_state(random_deltas(folder / name)), folder / f"{name}_lora.safetensors")
        save_tiny_ip_adapter(folder / name, folder / f"{name}_ip.safetensors")
        save_original(folder / name, folder / f"{name}.safetensors")
    save_file({"emb_params": torch.zeros(2, 32)}, folder / "model_word.safetensors")
    save_file({"clip_l": torch.zeros(2, 24), "clip_g": torch.zeros(2, 32)}, folder / "xl_word.safetensors")
    return bench


Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checked(bench: Bench, tmp_path: Path) -> Check:
    """`diffsynth check` in a process that must not import torch."""

    def check(**keys: Any) -> subprocess.CompletedProcess[str]:
        (tmp_path / "my.json").write_text(json.dumps(bench.tree(str(tmp_path / "out"), **keys)))
        code = (
            "import sys; from diffsynth.cli import main; "
            f"code = main(['check', {str(tmp_path / 'my.json')!r}, '--json']); "
            "assert 'torch' not in sys.modules; sys.exit(code)"
        )
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    return check


def everything(bench: Bench, kind: str) -> dict[str, Any]:
    folder, mark = bench.folder, "xl_" if kind == "xl" else ""
    net = folder / ("xl_net" if mark else "plain_net")
    return {
        "model_id": str(folder / kind),
        "controlnets": [{"model_id": str(each), "processor": "tile"} for each in (net, folder / f"{mark}t2i")],
        "lora": [{"path": str(folder / f"{kind}_lora.safetensors")}],
        "textual_inversion": [{"path": str(folder / f"{kind}_word.safetensors")}],
        "ip_adapter": [
            {"path": str(folder / f"{kind}_ip.safetensors"), "image": str(folder / "reference.png"), "scale": 0.5}
        ],
    }


@pytest.mark.parametrize("kind", ["model", "xl"])
def test_all_that_fits(bench: Bench, checked: Check, kind: str) -> None:
    done = checked(**everything(bench, kind))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["prediction"]
    assert told["downloads"] == []
    file = {"model_id": str(bench.folder / f"{kind}.safetensors"), "model_settings": str(bench.folder / kind)}
    done = checked(**{**everything(bench, kind), **file})
    assert done.returncode == 0, done.stderr
    assert abs(json.loads(done.stdout)["prediction"]["memory_bytes"] / told["memory_bytes"] - 1) < 0.02, "of one file"


CASES = [
    ("controlnets", "this ControlNet is for Stable Diffusion XL, but model is"),
    ("lora", "this LoRA is for a checkpoint of text width 56, but model is a checkpoint of text width 32"),
    ("textual_inversion", "its vectors are of width 24 and 32, but model reads 32"),
    ("ip_adapter", "this IP-Adapter is for a checkpoint of text width 56, but model is"),
]


@pytest.mark.parametrize(("key", "words"), CASES)
def test_what_is_for_xl_beside_the_first_generation(bench: Bench, checked: Check, key: str, words: str) -> None:
    done = checked(**{**everything(bench, "model"), key: everything(bench, "xl")[key]})
    assert done.returncode == 2
    assert words in done.stderr
    assert "made for that checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("model", ["model", "model.safetensors"])
def test_more_layers_left_out_than_there_are(bench: Bench, checked: Check, model: str) -> None:
    done = checked(model_id=str(bench.folder / model), clip_skip=2)
    assert done.returncode == 2
    assert '"clip_skip" is 2, but the text encoder has 2 layers; at most 1 can be left out' in done.stderr


def test_a_t2i_adapter_and_an_autoencoder_of_another_family(bench: Bench, checked: Check, tmp_path: Path) -> None:
    nets = [{"model_id": str(bench.folder / "xl_t2i"), "processor": "tile"}]
    assert "another denoiser" in checked(controlnets=nets).stderr
    (tmp_path / "vae").mkdir()
    settings = json.loads((bench.model / "vae" / "config.json").read_text())
    (tmp_path / "vae" / "config.json").write_text(json.dumps({**settings, "latent_channels": 16}))
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    assert "makes 16 channels" in checked(vae=str(tmp_path / "vae")).stderr


def test_a_damaged_lora(bench: Bench, checked: Check, tmp_path: Path) -> None:
    whole = (bench.folder / "model_lora.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-5])
    done = checked(lora=[{"path": str(tmp_path / "cut.safetensors")}])
    assert done.returncode == 2
    assert "is cut short" in done.stderr
    done = checked(model_id=str(bench.folder / "model_lora.safetensors"))
    assert 'Name it under "lora"' in done.stderr


def test_what_a_single_file_fetches(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the tiny widths don't matter: nothing is loaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    shutil.copy(bench.folder / "model.safetensors", tmp_path / "away.safetensors")  # from the folder of its name
    tree = bench.tree(str(tmp_path / "out"), model_id=str(tmp_path / "away.safetensors"))
    (tmp_path / "my.json").write_text(json.dumps(tree))
    assert main(["check", str(tmp_path / "my.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prediction"]["downloads"] == ["openai/clip-vit-large-patch14"]
    tree["model_settings"] = str(bench.model)
    (tmp_path / "my.json").write_text(json.dumps(tree))
    assert main(["check", str(tmp_path / "my.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prediction"]["downloads"] == []
