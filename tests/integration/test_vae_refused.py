"""What the way by latents refuses: other autoencoders, damaged folders and files, clips that are not there."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_runs import weights, write
from vae_runs import CLIPS, DIGITS, FRAMES, KL, SIDE, latents_tree, latte_tree, refused, run, vae_tree

from diffsynth.cli import main
from diffsynth.training.autoencoders import autoencoder
from diffsynth.training.facts import AUTOENCODER, facts_of


def test_latents_of_another_autoencoder_are_refused(
    tmp_path: Path, vae: Path, latents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = run(vae_tree(tmp_path / "other", seed=5, steps=1, disc_start=None))
    said = refused(latte_tree(tmp_path / "run", other, latents), capsys)
    assert "were made by another autoencoder" in said
    assert str(vae) in said
    assert not (tmp_path / "run").exists()
    moved = tmp_path / "moved"
    shutil.copytree(vae, moved)
    run(latte_tree(tmp_path / "run", moved, latents))  # a copy elsewhere is the same autoencoder


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"size": 32}, "are of frames of 16×16 in grey, but the data set says 32×32 in grey"),
        ({"frame_channels": 3}, "but the data set says 16×16 in colour"),
        ({"set_seed": 4}, "are of other clips"),
        ({"clips": CLIPS + 1}, "are of other clips"),
    ],
)
def test_latents_of_other_clips_are_refused(
    tmp_path: Path, vae: Path, latents: Path, keys: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(latte_tree(tmp_path / "run", vae, latents, **keys), capsys)


def test_missing_captions_are_told(tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "encoder").mkdir()  # captions are looked at before the encoder is
    for name in ("a", "b"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(FRAMES):
            Image.new("L", (SIDE, SIDE), 60 * number).save(tmp_path / "clips" / name / f"{number}.png")
    (tmp_path / "clips" / "a.txt").write_text("the first")
    dataset = {"type": "folder", "path": str(tmp_path / "clips"), "size": SIDE, "frames": FRAMES, "interval": 1,
               "frame_channels": 1, "captions": True}  # fmt: skip
    saved = run(latents_tree(tmp_path / "latents", vae, dataset=dataset))
    body = latte_tree(tmp_path / "run", vae, saved)
    body["dataset"] = {**dataset, "latents": str(saved)}
    body["condition"] = {"type": "text", "encoder": str(tmp_path / "encoder"), "tokens": 8}
    assert "1 of 2 clips have no caption, among them b" in refused(body, capsys)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dataset": {**DIGITS, "size": 15}}, "makes frames smaller by 2"),
        ({"dataset": {**DIGITS, "size": 8}}, "looks at patches of 16 pixels"),
        ({"test": {**DIGITS, "frame_channels": 3}}, 'differ in "size" or "frame_channels"'),
        ({"dataset": {"type": "pictures", "path": "."}}, "holds no picture"),
        ({"autoencoder": {"type": "vqvae"}}, "vqvae"),
    ],
)
def test_what_trains_no_autoencoder_is_said_before_anything_begins(
    tmp_path: Path, change: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(vae_tree(tmp_path / "run") | change, capsys)
    assert not (tmp_path / "run").exists()


def test_a_video_model_is_no_autoencoder_and_the_other_way_round(
    tmp_path: Path, vae: Path, latents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run(latte_tree(tmp_path / "run", vae, latents))
    assert "is of the task `train`; a checkpoint of the task `train_vae` is needed" in refused(
        latents_tree(tmp_path / "a", trained), capsys
    )
    drawn = {"task": "sample", "checkpoint": str(vae), "output_path": str(tmp_path / "b")}
    assert "is of the task `train_vae`" in refused(drawn, capsys)


def broken(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change a folder's weights; their words stay."""
    path = next(folder.glob("*.safetensors"))
    with safe_open(path, "pt") as file:
        words = file.metadata()
    weights = load_file(path)
    change(weights)
    save_file(weights, path, words)


def settings(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def pickled(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()
    torch.save({"weights": Runs(folder / "ran")}, folder / "diffusion_pytorch_model.bin")


@pytest.fixture(scope="module")
def kl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    body = vae_tree(tmp_path_factory.mktemp("kl") / "run", steps=1, disc_start=None) | {"autoencoder": KL}
    return run(body) / "diffusers"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: broken(d, lambda w: w.pop(min(w))), "1 weights of a AutoencoderKL are missing"),
        (lambda d: broken(d, lambda w: w.update({min(w): torch.zeros(5, 5)})), "doesn't load as a AutoencoderKL"),
        (lambda d: (d / "diffusion_pytorch_model.safetensors").write_bytes(b"cut off"), "doesn't load as a"),
        (lambda d: (d / "diffusion_pytorch_model.safetensors").unlink(), "holds no weights"),
        (pickled, "doesn't load as a AutoencoderKL"),
        (lambda d: (d / "config.json").unlink(), "is no autoencoder"),
        (lambda d: (d / "config.json").write_text("{"), "is no JSON"),
        (lambda d: (d / "config.json").write_text("{}"), '"latent_channels": Field required'),
        (lambda d: settings(d, scaling_factor=0), '"scaling_factor": Input should be greater than 0'),
        (lambda d: settings(d, _class_name="VQModel"), "is of the class VQModel; an AutoencoderKL is needed"),
    ],
    ids=["lacks", "shape", "damaged", "none", "code", "unset", "json", "empty", "scale", "class"],
)
@pytest.mark.parametrize("key", ["vae", "pretrained"])
def test_a_bad_folder_of_diffusers_is_told(
    tmp_path: Path, kl: Path, change: Callable[[Path], Any], words: str, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(kl, folder)
    change(folder)
    out = tmp_path / "run"
    train = vae_tree(out, steps=1, disc_start=None) | {"autoencoder": KL, "pretrained": str(folder)}
    said = refused(latents_tree(out, folder) if key == "vae" else train, capsys)
    assert words in said
    assert str(folder) in said
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("key", ["vae", "pretrained"])
def test_a_pickled_file_is_no_autoencoder(tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Runs(tmp_path / "ran"), tmp_path / "vae.pt")
    out = tmp_path / "run"
    body = latents_tree(out, tmp_path / "vae.pt") if key == "vae" else vae_tree(out) | {key: str(tmp_path / "vae.pt")}
    assert "diffsynth import vae.pt" in refused(body, capsys)
    assert not (tmp_path / "ran").exists()


def test_weights_beside_settings_decide_which_autoencoder_it_is(tmp_path: Path, kl: Path) -> None:
    prints = set()
    for seed in range(2):
        folder = tmp_path / str(seed)
        shutil.copytree(kl, folder)
        weights = load_file(folder / "diffusion_pytorch_model.safetensors")
        (folder / "diffusion_pytorch_model.safetensors").unlink()
        torch.save({name: each + seed for name, each in weights.items()}, folder / "diffusion_pytorch_model.bin")
        prints.add(autoencoder(str(folder)).fingerprint)
    assert len(prints) == 2


def test_an_autoencoder_that_says_no_numbers_saves_none(
    tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(vae, tmp_path / "vae")
    broken(tmp_path / "vae", lambda weights: weights["encoder_conv_in.bias"].fill_(float("nan")))
    said = refused(latents_tree(tmp_path / "run", tmp_path / "vae"), capsys)
    assert "its weights are broken" in said
    assert not list((tmp_path / "run" / "latents").iterdir())


def test_a_checkpoint_that_says_more_than_it_holds_is_refused(
    tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a network is made that is as large as it says."""
    facts = facts_of(vae / "model.safetensors", AUTOENCODER)
    huge = facts.model["autoencoder"] | {"down_channels": [2**20, 2**20], "mid_channels": [2**20]}
    told = replace(facts, model=facts.model | {"autoencoder": huge})
    save_file(weights(vae), tmp_path / "vae.safetensors", told.metadata())
    assert "belongs to another network" in refused(latents_tree(tmp_path / "run", tmp_path / "vae.safetensors"), capsys)


def every(folder: Path, change: Callable[[Path], Any]) -> None:
    for path in (folder / "latents").iterdir():
        change(path)


def moments(path: Path, found: torch.Tensor, name: str = "moments") -> None:
    save_file({name: found}, path)


def renamed(folder: Path, file: str) -> None:
    tree = json.loads((folder / "latents.json").read_text())
    tree["clips"][0]["file"] = file
    (folder / "latents.json").write_text(json.dumps(tree))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: shutil.rmtree(d / "latents"), f"{CLIPS} of {CLIPS} files that latents.json lists are not there"),
        (lambda d: (d / "latents" / "000003.safetensors").unlink(), "among them latents/000003.safetensors. Run"),
        (lambda d: (d / "latents.json").unlink(), "holds no latents"),
        (lambda d: (d / "latents.json").write_text("[]"), "is damaged"),
        (lambda d: renamed(d, "../latents/000001.safetensors"), "is damaged"),
        (lambda d: renamed(d, str(d / "latents" / "000001.safetensors")), "is damaged"),
        (lambda d: every(d, lambda f: f.write_bytes(f.read_bytes()[:-9])), "can't be read"),
        (lambda d: every(d, lambda f: f.write_bytes(b"\0" * 99)), "can't be read"),
        (lambda d: every(d, lambda f: moments(f, torch.zeros(4, 6, 8, 8), "other")), "can't be read"),
        (lambda d: every(d, lambda f: moments(f, torch.zeros(4, 6, 4, 4))), "holds (6, 4, 4) F32 a frame"),
        (lambda d: every(d, lambda f: moments(f, torch.zeros(()))), "holds () F32 a frame"),
        (lambda d: every(d, lambda f: moments(f, torch.zeros(4, 6, 8, 8).bfloat16())), "holds (6, 8, 8) BF16 a frame"),
        (lambda d: every(d, lambda f: moments(f, torch.zeros(2, 6, 8, 8))), "can't be read"),
        (lambda d: every(d, lambda f: moments(f, torch.full((4, 6, 8, 8), float("nan")))), "holds NaN"),
    ],
    ids=["none", "gone", "unlisted", "list", "outside", "absolute", "cut", "zeros", "other", "size", "scalar", "kind",
         "short", "nan"],
)  # fmt: skip
def test_bad_latents_are_told(
    tmp_path: Path, vae: Path, latents: Path, change: Callable[[Path], Any], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "latents"
    shutil.copytree(latents, folder)
    change(folder)
    said = refused(latte_tree(tmp_path / "run", vae, folder), capsys)
    assert words in said
    assert str(folder) in said
    assert "again" in said or "save_latents" in said  # what to do
    assert "too short" not in said


def test_one_bad_file_of_latents_is_passed_over(
    tmp_path: Path, vae: Path, latents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "latents"
    shutil.copytree(latents, folder)
    moments(folder / "latents" / "000002.safetensors", torch.full((4, 6, 8, 8), float("inf")))
    moments(folder / "latents" / "000005.safetensors", torch.zeros(4, 4, 8, 8))
    body = latte_tree(tmp_path / "run", vae, folder)
    assert main(["run", str(write(tmp_path / "run.json", body))]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "000002.safetensors: passed over: holds NaN or infinite numbers; delete it" in told
    assert "000005.safetensors: passed over: holds (4, 8, 8) F32 a frame, and not (6, 8, 8)" in told


def video_folder(folder: Path, *names: str) -> dict[str, Any]:
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(FRAMES):
            Image.new("RGB", (40, 20), (60 * number, 90, 30)).save(folder / name / f"{number}.png")
    return {"type": "folder", "path": str(folder), "size": SIDE, "frames": FRAMES, "interval": 1, "frame_channels": 1}


def test_latents_of_cut_frames_are_none_of_stretched_ones(
    tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = video_folder(tmp_path / "clips", "a", "b")
    saved = run(latents_tree(tmp_path / "latents", vae, dataset=dataset))
    body = latte_tree(tmp_path / "run", vae, saved) | {"condition": {"type": "none"}}
    body["dataset"] = dataset | {"latents": str(saved), "centre_square_crop": False}
    assert "of frames that were cut to their size" in refused(body, capsys)
    body["dataset"]["centre_square_crop"] = True
    run(body)


def test_clips_that_are_not_there_are_told(tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = video_folder(tmp_path / "clips", "a", "b")
    (tmp_path / "some.txt").write_text("a\nc.avi 3\n../../d.mp4\n")
    (tmp_path / "none.txt").write_text("\n\n")
    some = dataset | {"filter": [str(tmp_path / "some.txt")]}
    told = '"filter" names 2 clips that are not there: c, d.'
    captured = {"task": "capture_frames", "dataset": some, "share": 1.0, "output_path": str(tmp_path / "frames")}
    for body in (captured, latents_tree(tmp_path / "latents", vae, dataset=some)):
        for command in ("check", "run"):
            assert main([command, str(write(tmp_path / "c.json", body))]) == 0
            assert told in " ".join(capsys.readouterr().out.split())
    assert {each.name[0] for each in (tmp_path / "frames" / "frames").iterdir()} == {"a"}
    body = latte_tree(tmp_path / "run", vae, tmp_path / "latents") | {"condition": {"type": "none"}}
    body["dataset"] = dataset | {"latents": str(tmp_path / "latents")}
    assert main(["run", str(write(tmp_path / "c.json", body))]) == 0
    assert "1 of 2 clips have no saved latents" in " ".join(capsys.readouterr().out.split())
    captured["dataset"] = dataset | {"filter": [str(tmp_path / "none.txt")]}
    captured["output_path"] = str(tmp_path / "other")
    assert "none.txt: names no clip" in refused(captured, capsys)


def test_a_model_of_one_autoencoder_is_none_of_another(
    tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was trained again in the same folder would decode anything to noise."""
    kept, place = tmp_path / "kept", tmp_path / "vae"
    shutil.copytree(vae, place)
    body = latte_tree(tmp_path / "run", place, None)
    body["train"]["checkpoint_every"] = 2
    trained = run(body)
    place.rename(kept)
    run(vae_tree(place, seed=3, steps=1, disc_start=None))
    drawn = {"task": "sample", "checkpoint": str(trained), "num_videos": 1, "steps": 2}
    said = refused(drawn | {"output_path": str(tmp_path / "a")}, capsys)
    assert f"{place}: is another autoencoder" in said
    run(drawn | {"output_path": str(tmp_path / "b"), "vae": str(kept)})
    (trained / "checkpoints" / "00000003.safetensors").unlink()
    (trained / "model.safetensors").unlink()
    assert "learned from latents of another autoencoder" in refused(body, capsys)
