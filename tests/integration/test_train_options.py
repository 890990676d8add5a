"""What a training config may ask for beside the plain case: spaces, conditions, pictures, precision, other weights."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny import save_tiny_sd
from training_runs import losses, tree, weights, write

from diffsynth.cli import main
from diffsynth.tasks import DEFAULT_TASK, TASKS

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "config" / "train").glob("*.json"))


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("sd"))


def frames(folder: Path, count: int, side: int = 32) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (side, side), (200, 20 * number, 90)).save(folder / f"{number}.png")


def run(folder: Path, body: dict[str, Any]) -> Path:
    assert main(["run", str(write(folder / "t.json", body)), "--quiet", "--device", "cpu"]) == 0
    return Path(body["output_path"])


@pytest.mark.parametrize(
    "train",
    [
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"gradient_checkpointing": True},
        {"clip": None, "weight_decay": 0.01, "decay": "linear", "warm_up": 2},
        {"tensorboard": True, "sample_every": 2, "sample_videos": 2, "sample_steps": 2},
    ],
    ids=["bf16", "fp16", "checkpointing", "course", "shown"],
)
def test_options_train(tmp_path: Path, train: dict[str, Any]) -> None:
    output = run(tmp_path, tree(tmp_path / "out", steps=3, **train))
    assert len(losses(output)) == 3
    if "sample_every" in train:
        assert (output / "grids" / "00000002.png").is_file()
        assert list((output / "tensorboard").iterdir())


def test_gradient_checkpointing_changes_nothing_but_memory(tmp_path: Path) -> None:
    plain = run(tmp_path, tree(tmp_path / "plain"))
    frugal = run(tmp_path, tree(tmp_path / "frugal", gradient_checkpointing=True))
    assert losses(plain) == pytest.approx(losses(frugal), abs=1e-6)  # the same sums, at times in another order


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of what torch.compile itself imports
def test_compiling_keeps_the_names_and_the_curve(tmp_path: Path) -> None:
    plain = run(tmp_path, tree(tmp_path / "plain", steps=3))
    compiled = run(tmp_path, tree(tmp_path / "compiled", steps=3, compile=True))
    assert weights(compiled).keys() == weights(plain).keys()
    assert losses(plain) == pytest.approx(losses(compiled), abs=1e-4)  # fused kernels round otherwise


def test_pictures_are_learned_beside_clips_with_their_own_classes(tmp_path: Path) -> None:
    body = tree(tmp_path / "out", steps=3)
    body["dataset"]["images"] = 2
    joint = run(tmp_path, body)
    assert weights(joint).keys() == weights(run(tmp_path, tree(tmp_path / "alone", steps=3))).keys()
    assert losses(joint) != losses(tmp_path / "alone")


def test_latents_and_captions_train_and_draw(tmp_path: Path, sd: Path) -> None:
    for name in ("a", "b"):
        frames(tmp_path / "clips" / name, 4)
        (tmp_path / "clips" / f"{name}.txt").write_text(f"the thing {name}")
    encoder = tmp_path / "encoder"
    shutil.copytree(sd / "text_encoder", encoder)
    for file in (sd / "tokenizer").iterdir():
        shutil.copy(file, encoder)
    body = tree(tmp_path / "out", steps=2)
    body |= {
        "dataset": {"type": "folder", "path": str(tmp_path / "clips"), "size": 32, "frames": 2, "interval": 1,
                    "captions": True},
        "space": "latent",
        "vae": str(sd),
        "backbone": {"type": "latte", "hidden": 16, "depth": 2, "heads": 2, "patch": 2},
        "condition": {"type": "text", "encoder": str(encoder), "tokens": 8},
        "diffusion": {"objective": "epsilon", "variance": "learned_range"},
    }  # fmt: skip
    body["train"] |= {"workers": 0, "sample_every": 2, "sample_videos": 1, "sample_steps": 2}
    output = run(tmp_path, body)
    drawn = {
        "task": "sample",
        "checkpoint": str(output),
        "captions": str(tmp_path / "clips"),
        "num_videos": 2,
        "steps": 2,
        "cfg_scale": 3.0,
        "formats": ["mp4"],
        "output_path": str(tmp_path / "drawn"),
    }
    assert main(["run", str(write(tmp_path / "s.json", drawn)), "--quiet"]) == 0
    listing = json.loads((tmp_path / "drawn" / "samples.json").read_text())
    assert [each["prompt"] for each in listing["videos"]] == ["the thing a", "the thing b"]


def test_weights_of_another_model_are_taken_where_they_fit_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(tmp_path, tree(tmp_path / "first"))
    body = tree(tmp_path / "second", steps=1, lr=1e-9)
    body["condition"] = {"type": "class", "num_classes": 12}
    body["pretrained"] = str(first)
    assert main(["run", str(write(tmp_path / "t.json", body))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "weights are taken over" in said
    assert "not used: y_embedder.embedding_table.weight." in said
    assert "begun anew: y_embedder.embedding_table.weight." in said
    one, two = weights(first), weights(tmp_path / "second")
    assert torch.allclose(one["blocks.0.attn.qkv.weight"], two["blocks.0.attn.qkv.weight"], atol=1e-6)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"condition": {"type": "class", "num_classes": 4}}, '"condition.num_classes" is 4, but the clips have 10'),
        ({"space": "latent"}, '"space": "latent" needs "vae"'),
        ({"train": {"precision": "fp16", "sharding": "full"}}, 'use "bf16"'),
        ({"dataset": {"type": "folder", "path": "nowhere"}}, '"nowhere" was not found'),
        ({"dataset": {"type": "moving_digit"}}, 'Did you mean "moving_digits"?'),
        ({"condition": {"num_classes": 3}}, '"condition.type" is required'),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], words: str
) -> None:
    file = write(tmp_path / "t.json", {**tree(tmp_path / "out"), **keys})
    assert main(["check", str(file)]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_set_and_one_without_classes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clips").mkdir()
    body = tree(tmp_path / "out")
    body["dataset"] = {"type": "folder", "path": str(tmp_path / "clips"), "size": 8, "frames": 2}
    file = write(tmp_path / "t.json", body)
    assert main(["check", str(file)]) == 2
    assert "holds no clip" in capsys.readouterr().err
    frames(tmp_path / "clips" / "a", 3)
    assert main(["check", str(file)]) == 2
    assert '"folder" has no classes' in capsys.readouterr().err


def test_input_is_refused_where_a_task_reads_no_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "t.json", tree(tmp_path / "out"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["run", str(file), "--input", str(tmp_path / "a.png")]) == 2
    assert "reads no clip" in capsys.readouterr().err


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A copy of the templates with the folders that they name."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    frames(tmp_path / "data" / "faceforensics" / "a", 2)
    frames(tmp_path / "data" / "clips" / "a", 2)
    frames(tmp_path / "data" / "sky_timelapse" / "sky_train" / "a", 2)
    frames(tmp_path / "data" / "taichi" / "train" / "a", 2)
    frames(tmp_path / "data" / "UCF101" / "v_Archery_g01_c01", 2)
    return tmp_path


def test_every_template_is_valid(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import jsonschema

    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "config" / "schema.json").read_text()))
    names = [each.stem for each in TEMPLATES]
    for kind in ("faceforensics", "sky_timelapse", "ucf101", "taichi"):
        assert {kind, f"{kind}_images"} <= set(names)
    for path in sorted(workplace.glob("config/train/*.json")):
        assert main(["check", str(path)]) == 0, path.name
        assert not list(schema.iter_errors(json.loads(path.read_text()))), path.name
    (workplace / "runs").mkdir()
    trained = run(workplace, tree(workplace / "runs" / "any", steps=1))
    plain = tree(workplace / "runs" / "untold", steps=1)
    plain["condition"] = {"type": "none"}
    untold = run(workplace, plain)
    for path in sorted(workplace.glob("config/sample/*.json")):
        told = "labels" in path.read_text() or path.stem in ("digits", "ucf101_images")
        link = workplace / "runs" / path.stem
        if not link.exists():
            link.symlink_to(trained if told else untold)
        assert main(["check", str(path)]) == 0, path.name
        assert not list(schema.iter_errors(json.loads(path.read_text()))), path.name
    capsys.readouterr()


def test_every_config_of_the_page_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the run that they speak of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    run(tmp_path, tree(tmp_path / "runs" / "digits", steps=1))
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    found = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert len(found) == 3
    for text in found:
        assert main(["check", str(write(tmp_path / "page.json", json.loads(text)))]) == 0, text


def test_templates_hold_the_published_settings() -> None:
    from diffsynth.config import layers

    for kind in ("faceforensics", "sky_timelapse", "ucf101", "taichi"):
        train = layers.read(ROOT / "config" / "train" / f"{kind}_images.json")
        drawn = layers.read(ROOT / "config" / "sample" / f"{kind}_images.json")
        assert (train["dataset"]["size"], train["dataset"]["frames"], train["dataset"]["interval"]) == (256, 16, 3)
        assert train["dataset"]["images"] == 8
        assert train["backbone"]["size"] == "XL/2"
        assert (train["train"]["lr"], train["train"]["ema"]) == (1e-4, 0.9999)
        assert train["diffusion"]["variance"] == "learned_range"
        assert (drawn["steps"], drawn["solver"]) == (250, "ddpm")
        assert drawn.get("cfg_scale") == (7.0 if kind == "ucf101" else None)


def test_tasks_of_models_are_known() -> None:
    assert {"train", "sample", "evaluate"} <= set(TASKS)
    assert DEFAULT_TASK == "stylize"
