"""The way of an autoencoder: frames captured, trained, latents saved, a video model on them, its trajectory decoded."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_runs import ROOT, same, torchrun, weights, write

from diffsynth.cli import main
from diffsynth.images import read_image
from diffsynth.runtime import Runtime
from diffsynth.training.autoencoders import autoencoder
from diffsynth.training.data.latents import read_index
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.facts import AUTOENCODER, facts_of
from diffsynth.training.space import SavedLatents, load_latent_space

SIDE, FRAMES, CLIPS = 16, 4, 12
DIGITS = {"type": "moving_digits", "size": SIDE, "frames": FRAMES, "clips": CLIPS}
TINY = {
    "type": "video_vae",
    "z_channels": 3,
    "down_channels": [8, 8],
    "mid_channels": [8],
    "down_sample": [True],
    "attn_down": [False],
    "norm_channels": 4,
    "num_heads": 1,
}
KL = {"type": "autoencoder_kl", "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4}


def vae_tree(output: Path, **train: Any) -> dict[str, Any]:
    settings = {"global_batch": 4, "lr": 0.003, "steps": 6, "ema": 0.9, "log_every": 1, "tensorboard": False}
    return {
        "task": "train_vae",
        "dataset": DIGITS,
        "test_frames": 8,
        "autoencoder": TINY,
        "train": {**settings, "disc_start": 3, "disc_channels": [8], **train},
        "output_path": str(output),
    }


def latents_tree(output: Path, vae: Path, **keys: Any) -> dict[str, Any]:
    return {"task": "save_latents", "dataset": DIGITS, "vae": str(vae), "output_path": str(output), **keys}


def latte_tree(output: Path, vae: Path, latents: Path | None, **dataset: Any) -> dict[str, Any]:
    cached = {} if latents is None else {"latents": str(latents)}
    return {
        "task": "train",
        "dataset": {**DIGITS, **cached, **dataset},
        "space": "latent",
        "vae": str(vae),
        "backbone": {"type": "latte", "hidden": 16, "depth": 2, "heads": 2, "patch": 2},
        "condition": {"type": "class", "num_classes": 10, "dropout": 0.2},
        "diffusion": {"objective": "flow"},
        "train": {"global_batch": 4, "lr": 0.003, "steps": 3, "log_every": 1, "tensorboard": False},
        "output_path": str(output),
    }


def run(body: dict[str, Any], *options: str) -> Path:
    output = Path(body["output_path"])
    assert main(["run", str(write(output.with_suffix(".json"), body)), "--quiet", *options]) == 0
    return output


def refused(body: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["run", str(write(Path(body["output_path"]).with_suffix(".json"), body)), "--quiet"]) == 2
    return " ".join(capsys.readouterr().err.split())


def entries(output: Path, *names: str) -> list[list[float]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [[line[name] for name in names if name in line] for line in lines]


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(vae_tree(tmp_path_factory.mktemp("vae") / "run", show_every=3, show_frames=2))


@pytest.fixture(scope="module")
def latents(vae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(latents_tree(tmp_path_factory.mktemp("latents") / "run", vae))


def test_a_run_leaves_weights_pictures_and_what_it_measured(vae: Path) -> None:
    record = json.loads((vae / "run.json").read_text())
    assert record["steps"] == 6
    assert record["psnr"] > 0
    found = autoencoder(str(vae))
    assert found.scale == pytest.approx(1 / record["latent_spread"], rel=1e-4)  # the record is rounded
    assert (found.factor, found.channels, found.frame_channels) == (2, 3, 1)
    grid = np.array(Image.open(vae / "reconstructions" / "00000006.png"))
    assert grid.ndim == 3
    terms = entries(vae, "adversarial", "critic")
    assert [len(each) for each in terms] == [0, 0, 0, 2, 2, 2]  # the critic comes in at its step


def test_parts_of_a_batch_give_the_same_curve(tmp_path: Path, vae: Path) -> None:
    parts = run(vae_tree(tmp_path / "parts", micro_batch=3))
    for one, other in zip(entries(vae, "loss", "critic"), entries(parts, "loss", "critic"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)  # the same sums in another order
    other_seed = run(vae_tree(tmp_path / "seed", seed=1))
    assert entries(other_seed, "loss")[0] != pytest.approx(entries(vae, "loss")[0], abs=1e-3)


@pytest.mark.parametrize("kept", [2, 4], ids=["before the critic", "with the critic"])
def test_a_run_goes_on_to_the_same_bits(tmp_path: Path, vae: Path, kept: int) -> None:
    body = vae_tree(tmp_path / "run", show_every=3, show_frames=2, checkpoint_every=kept, keep=10)
    output = run(body)
    for path in (output / "checkpoints").iterdir():
        if path.stem != f"{kept:08}":
            path.unlink()
    (output / "model.safetensors").unlink()
    run(body)
    assert same(weights(output), weights(vae))
    assert entries(output, "loss") == entries(vae, "loss")


@pytest.mark.parametrize("keys", [{"ema_from": 4}, {"ema_every": 4}], ids=["from", "every"])
def test_the_average_follows_as_it_is_told(tmp_path: Path, vae: Path, keys: dict[str, Any]) -> None:
    told = run(vae_tree(tmp_path / "run", **keys))
    assert entries(told, "loss") == entries(vae, "loss")
    assert not same(weights(told), weights(vae))


def test_what_came_apart_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = vae_tree(tmp_path / "run", lr=1e30, clip=None, steps=9, log_every=100, checkpoint_every=3)
    assert "training has come apart" in refused(body, capsys)
    for path in (tmp_path / "run").glob("checkpoints/*"):
        assert all(bool(each.isfinite().all()) for each in load_file(path).values())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns(tmp_path: Path, vae: Path, precision: str) -> None:
    half = run(vae_tree(tmp_path / "run", precision=precision, steps=12, disc_start=9))
    losses = [each[0] for each in entries(half, "loss")]
    assert losses[0] == pytest.approx(entries(vae, "loss")[0][0], rel=0.02)  # 8 bits through a dozen layers
    assert losses[8] < 0.9 * losses[0]  # fp16 leaves steps out until it has found its scale
    assert all(each.dtype == torch.float32 for each in weights(half).values())


def test_the_scale_of_half_precision_is_in_the_checkpoint(tmp_path: Path) -> None:
    whole = run(vae_tree(tmp_path / "whole", precision="fp16"))
    body = vae_tree(tmp_path / "run", precision="fp16", checkpoint_every=4, keep=10)
    output = run(body)
    (output / "checkpoints" / "00000006.safetensors").unlink()
    (output / "model.safetensors").unlink()
    path = output / "checkpoints" / "00000004.safetensors"
    assert facts_of(path, AUTOENCODER).run["scaler"]["scale"] > 1
    run(body)
    assert same(weights(output), weights(whole))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of what torch.compile itself imports
def test_a_compiled_one_has_the_same_names_and_curve(tmp_path: Path, vae: Path) -> None:
    compiled = run(vae_tree(tmp_path / "run", compile=True, show_every=3, show_frames=2))
    assert weights(compiled).keys() == weights(vae).keys()
    for one, other in zip(entries(vae, "loss"), entries(compiled, "loss"), strict=True):
        assert one == pytest.approx(other, abs=1e-4)  # fused kernels round otherwise


@pytest.mark.slow
def test_two_processes_give_the_same_curve(tmp_path: Path, vae: Path) -> None:
    body = vae_tree(tmp_path / "two")
    done = torchrun(write(tmp_path / "two.json", body), 2)
    assert done.returncode == 0, done.stderr
    for one, other in zip(entries(vae, "loss"), entries(tmp_path / "two", "loss"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.slow
def test_two_processes_save_the_same_latents(tmp_path: Path, vae: Path, latents: Path) -> None:
    done = torchrun(write(tmp_path / "two.json", latents_tree(tmp_path / "two", vae)), 2)
    assert done.returncode == 0, done.stderr
    assert read_index(tmp_path / "two").clips == read_index(latents).clips
    for each in read_index(latents).clips:
        one, other = (load_file(folder / each.file)["moments"] for folder in (tmp_path / "two", latents))
        assert torch.allclose(one, other, atol=1e-5)  # another number of threads may sum in another order


def test_an_autoencoder_kl_is_written_for_diffusers(tmp_path: Path) -> None:
    body = vae_tree(tmp_path / "kl", steps=2, disc_start=None)
    body["autoencoder"] = KL
    output = run(body)
    ours, theirs = autoencoder(str(output)), autoencoder(str(output / "diffusers"))
    assert theirs.trained is None
    assert (ours.scale, ours.factor, ours.channels) == (theirs.scale, theirs.factor, theirs.channels)
    spaces = [load_latent_space(each, 1, 1, SIDE, SIDE, Runtime("cpu")) for each in (ours.reference, theirs.reference)]
    pixels = torch.randint(0, 256, (1, 2, SIDE, SIDE, 1), dtype=torch.uint8)
    one, other = (each.encode(pixels, None) for each in spaces)
    assert torch.equal(one, other)
    assert torch.equal(*(each.decode(one) for each in spaces))
    again = vae_tree(tmp_path / "again", steps=1, disc_start=None) | {"autoencoder": KL}
    run(again | {"pretrained": str(output / "diffusers")})


def test_saved_latents_are_what_the_encoder_says(vae: Path, latents: Path) -> None:
    index = read_index(latents)
    assert (len(index.clips), index.size, index.vae_sha256) == (CLIPS, (SIDE, SIDE), autoencoder(str(vae)).fingerprint)
    assert [each.label for each in index.clips] == [number % 10 for number in range(CLIPS)]
    space = load_latent_space(str(vae), FRAMES, 1, SIDE, SIDE, Runtime("cpu"))
    clip = MovingDigitsConfig(size=(SIDE, SIDE), frames=FRAMES, clips=CLIPS).build().clip(7, np.random.default_rng())
    pixels = torch.from_numpy(clip.pixels)[None]
    with safe_open(latents / index.clips[7].file, "pt") as file:  # the library's own reader takes our header
        moments = file.get_tensor("moments")
        assert file.metadata()["vae_sha256"] == index.vae_sha256
    assert torch.equal(moments, space.moments(pixels)[0])
    drawn = torch.randn(1, FRAMES, 3, 8, 8)
    assert torch.equal(SavedLatents(space).encode(moments[None], drawn), space.encode(pixels, drawn))


def test_learning_from_saved_latents_is_learning_from_frames(tmp_path: Path, vae: Path, latents: Path) -> None:
    """Latents are drawn anew each time from what was saved, by the same numbers as from frames."""
    saved = run(latte_tree(tmp_path / "saved", vae, latents))
    read = run(latte_tree(tmp_path / "read", vae, None))
    # A batch's frames are encoded together there, one clip's here: sums in another order.
    assert [each[0] for each in entries(saved, "loss")] == pytest.approx(
        [each[0] for each in entries(read, "loss")], abs=1e-5
    )


def test_half_precision_takes_half_the_disk(tmp_path: Path, vae: Path, latents: Path) -> None:
    half = run(latents_tree(tmp_path / "half", vae, precision="float16"))
    for one, other in zip(read_index(half).clips, read_index(latents).clips, strict=True):
        small, large = (load_file(folder / each.file)["moments"] for folder, each in ((half, one), (latents, other)))
        assert small.dtype == torch.float16
        assert torch.allclose(small.float(), large, atol=2e-3, rtol=2e-3)  # ten bits
    assert len(entries(run(latte_tree(tmp_path / "run", vae, half)), "loss")) == 3


def test_saving_goes_on_where_it_stopped(tmp_path: Path, vae: Path, latents: Path) -> None:
    body = latents_tree(tmp_path / "run", vae)
    output = run(body)
    names = sorted(each.name for each in (output / "latents").iterdir())
    assert names == sorted(each.name for each in (latents / "latents").iterdir())
    marked = output / "latents" / names[0]
    before = marked.stat().st_mtime_ns
    (output / "latents" / names[5]).unlink()
    run(body)
    assert marked.stat().st_mtime_ns == before
    assert all((output / "latents" / name).read_bytes() == (latents / "latents" / name).read_bytes() for name in names)


def test_the_whole_trajectory_is_decoded(tmp_path: Path, vae: Path, latents: Path) -> None:
    trained = run(latte_tree(tmp_path / "run", vae, latents))
    drawn = {
        "task": "sample",
        "checkpoint": str(trained),
        "num_videos": 2,
        "steps": 3,
        "save_trajectory": True,
        "output_path": str(tmp_path / "drawn"),
    }
    output = run(drawn)
    for number in range(2):
        videos = sorted((output / "trajectories" / f"{number:05}").iterdir())
        assert [each.name for each in videos] == ["000.mp4", "001.mp4", "002.mp4"]
        strip, _ = read_image(output / "strips" / f"{number:05}.png")
        assert strip.shape == (SIDE, FRAMES * SIDE, 3)


def test_captured_frames_are_those_of_the_seed(tmp_path: Path) -> None:
    def captured(name: str, **keys: Any) -> dict[str, bytes]:
        body = {
            "task": "capture_frames",
            "dataset": DIGITS | {"clips": 60},
            "output_path": str(tmp_path / name),
            **keys,
        }
        return {each.name: each.read_bytes() for each in (run(body) / "frames").iterdir()}

    tenth = captured("tenth")
    # 240 frames: four deviations around a tenth.
    assert 24 - 4 * 4.65 <= len(tenth) <= 24 + 4 * 4.65
    assert captured("again") == tenth
    assert captured("seed", seed=1).keys() != tenth.keys()
    assert tenth.items() <= captured("all", share=1.0).items()
    clips = MovingDigitsConfig(size=(SIDE, SIDE), frames=FRAMES, clips=60).build()
    name = min(tenth)
    number, frame = map(int, Path(name).stem.split("_"))
    pixels = clips.clip(number, np.random.default_rng()).pixels[frame]
    assert np.array_equal(read_image(tmp_path / "tenth" / "frames" / name)[0], np.repeat(pixels, 3, -1))


def test_an_autoencoder_learns_from_captured_frames_of_listed_clips(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40, 20), (60 * number, 90, 30)).save(tmp_path / "clips" / name / f"{number}.png")
    (tmp_path / "list.txt").write_text("one\nthree\n")
    frames = run(
        {
            "task": "capture_frames",
            "dataset": {"type": "folder", "path": str(tmp_path / "clips"), "size": SIDE,
                        "filter": [str(tmp_path / "list.txt")]},
            "share": 1.0,
            "output_path": str(tmp_path / "frames"),
        }
    )  # fmt: skip
    names = sorted(each.name for each in (frames / "frames").iterdir())
    assert names == [f"{name}_{number:06}.png" for name in ("one", "three") for number in range(3)]
    body = vae_tree(tmp_path / "vae", steps=1, disc_start=None, workers=0)
    body["dataset"] = {"type": "pictures", "path": str(frames), "size": SIDE}
    assert autoencoder(str(run(body))).frame_channels == 3


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


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_perceptual_distance_that_is_named_takes_part(tmp_path: Path) -> None:
    class Apart(torch.nn.Module):
        def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
            return (one - other).abs().mean([1, 2, 3])

    torch.jit.script(Apart()).save(str(tmp_path / "apart.pt"))
    keys = {"steps": 1, "disc_start": None, "precision": "bf16", "perceptual_weight": 2.0}
    output = run(vae_tree(tmp_path / "run", lpips=[str(tmp_path / "apart.pt")], **keys))
    (found,) = entries(output, "perceptual", "reconstruction", "adversarial")
    assert len(found) == 2
    assert all(each > 0 for each in found)


def test_an_imported_autoencoder_serves_as_one(tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(weights(vae), tmp_path / "vae_autoencoder_ckpt.pth")
    command = ["import", str(tmp_path / "vae_autoencoder_ckpt.pth"), "--set", "autoencoder.norm_channels=4"]
    assert main([*command, "--output", str(tmp_path / "vae.safetensors")]) == 0
    assert "latents of 3 channels" in " ".join(capsys.readouterr().out.split())
    own, theirs = (autoencoder(str(each)) for each in (vae, tmp_path / "vae.safetensors"))
    assert own.fingerprint != theirs.fingerprint  # its scale is another
    assert (theirs.scale, theirs.factor) == (1.0, own.factor)
    pretrained = vae_tree(tmp_path / "on", steps=1) | {"pretrained": str(tmp_path / "vae.safetensors")}
    run(pretrained)


def test_configs_of_the_page_are_valid() -> None:
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "config" / "schema.json").read_text()))
    page = (ROOT / "docs" / "video_vae.md").read_text(encoding="utf-8")
    found = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert [each["task"] for each in found] == ["capture_frames", "train_vae", "save_latents", "train"]
    for tree in found:
        assert not list(schema.iter_errors(tree)), tree["task"]
    for path in re.findall(r"run_DiffSynth\.py (\S+)", page):
        assert not list(schema.iter_errors(json.loads((ROOT / path).read_text()))), path


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
