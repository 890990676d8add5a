"""The way of an autoencoder: frames captured, trained, latents saved, a video model on them, its trajectory decoded."""

import json
import re
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
from vae_runs import CLIPS, DIGITS, FRAMES, KL, SIDE, entries, latents_tree, latte_tree, refused, run, vae_tree

from diffsynth.cli import main
from diffsynth.images import read_image
from diffsynth.models.patch_critic import PatchCritic
from diffsynth.runtime import Runtime
from diffsynth.training.autoencoders import autoencoder
from diffsynth.training.data.latents import read_index
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.facts import AUTOENCODER, CRITIC, Facts, facts_of
from diffsynth.training.space import SavedLatents, load_latent_space


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


def test_an_imported_critic_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = PatchCritic(1, (8, 16), settled=True).state_dict()
    save_file(weights, tmp_path / "critic.safetensors", Facts({}, 0, {}, CRITIC).metadata())
    keys = {"disc_channels": [8, 16], "disc_pretrained": str(tmp_path / "critic.safetensors"), "steps": 4}
    body = vae_tree(tmp_path / "run", checkpoint_every=3, keep=9, **keys)
    output = run(body)
    begun = load_file(output / "checkpoints" / "00000003.safetensors")
    for name, each in weights.items():
        assert torch.equal(begun[f"model.critic.{name}"], each)  # it comes in only then
    done = load_file(output / "checkpoints" / "00000004.safetensors")
    assert not torch.equal(done["model.critic.layers.0.weight"], weights["layers.0.weight"])
    assert torch.equal(done["model.critic.layers.3.mean"], weights["layers.3.mean"])
    (output / "checkpoints" / "00000004.safetensors").unlink()
    (output / "model.safetensors").unlink()
    run(body)
    assert same(load_file(output / "checkpoints" / "00000004.safetensors"), done)
    other = vae_tree(tmp_path / "other", **keys | {"disc_channels": [8, 8]})
    assert 'doesn\'t fit "disc_channels" [8, 8]' in refused(other, capsys)
    assert "doesn't say when it comes in" in refused(vae_tree(tmp_path / "no", **keys, disc_start=None), capsys)
    odd = vae_tree(tmp_path / "odd", **keys | {"disc_pretrained": str(output / "model.safetensors")})
    assert "an imported discriminator is needed here" in refused(odd, capsys)


def test_configs_of_the_page_are_valid() -> None:
    schema = jsonschema.Draft202012Validator(json.loads((ROOT / "config" / "schema.json").read_text()))
    page = (ROOT / "docs" / "video_vae.md").read_text(encoding="utf-8")
    found = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert [each["task"] for each in found] == ["capture_frames", "train_vae", "save_latents", "train"]
    for tree in found:
        assert not list(schema.iter_errors(tree)), tree["task"]
    for path in re.findall(r"run_DiffSynth\.py (\S+)", page):
        assert not list(schema.iter_errors(json.loads((ROOT / path).read_text()))), path
