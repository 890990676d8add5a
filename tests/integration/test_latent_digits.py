"""The shown way by latents in short: an autoencoder, latents, Latte on them, videos, held to weaker bars.

The whole of it is run by hand; benchmarks/RESULTS.md has its figures.
"""

import json
from pathlib import Path

import pytest

from diffsynth.cli import main

ROOT = Path(__file__).parents[2]
VAE_STEPS, STEPS = 400, 150
"""A minute and a half of one core."""


@pytest.mark.slow
def test_digits_come_back_and_are_drawn_by_way_of_latents(tmp_path: Path) -> None:
    def run(config: str, output: str, *keys: str) -> None:
        overrides = [part for key in keys for part in ("--set", key)]
        path = str(ROOT / "config" / config)
        assert main(["run", path, "--quiet", "--output", str(tmp_path / output), *overrides]) == 0

    short = ("train.warm_up=20", "train.tensorboard=false")
    run(
        "train/vae_digits.json",
        "vae",
        f"train.steps={VAE_STEPS}",
        "train.disc_start=340",
        "train.global_batch=16",
        *short,
    )
    # Half of the steps on half of the frames each; 28.5 was measured, and 33 of the whole training, whose bar it is.
    assert json.loads((tmp_path / "vae" / "run.json").read_text())["psnr"] >= 25
    run("vae_digits/2_save_latents.json", "latents", f"vae={tmp_path / 'vae'}", "dataset.clips=100")
    keys = (f"vae={tmp_path / 'vae'}", f"dataset.latents={tmp_path / 'latents'}", "dataset.clips=100")
    run("vae_digits/3_train.json", "run", *keys, f"train.steps={STEPS}", "train.sample_every=0", *short)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.75 * losses[0]
    run("vae_digits/4_sample.json", "drawn", f"checkpoint={tmp_path / 'run'}", "num_videos=20", "steps=10")
    run("vae_digits/5_evaluate.json", "measured", f"samples={tmp_path / 'drawn'}", "num_reference=100")
    frechet = json.loads((tmp_path / "measured" / "evaluation.json").read_text())["frechet_random_conv3d"]
    assert frechet["value"] < frechet["of_noise"] / 2
