"""The shown training in short: `config/train/digits.json` with a seventh of its steps, held to a weaker bar.

The whole of it is run by hand; benchmarks/RESULTS.md has its figures.
"""

import json
from pathlib import Path

import pytest

from diffsynth.cli import main

ROOT = Path(__file__).parents[2]
STEPS = 400
"""About a minute on two cores."""


@pytest.mark.slow
def test_a_minute_of_training_draws_what_is_no_noise_any_more(tmp_path: Path) -> None:
    def run(config: str, output: str, *keys: str) -> None:
        overrides = [part for key in keys for part in ("--set", key)]
        assert (
            main(["run", str(ROOT / "config" / config), "--quiet", "--output", str(tmp_path / output), *overrides]) == 0
        )

    run("train/digits.json", "run", f"train.steps={STEPS}", "train.sample_every=0", "train.tensorboard=false")
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.3 < losses[0]
    run("sample/digits.json", "drawn", f"checkpoint={tmp_path / 'run'}", "num_videos=40", 'formats=["png"]', "steps=20")
    run("evaluate/digits.json", "measured", f"samples={tmp_path / 'drawn'}", "num_reference=200")
    found = json.loads((tmp_path / "measured" / "evaluation.json").read_text())
    # Guessing is right one time in ten; a digit is hard to read yet.
    assert found["digit_accuracy"]["value"] >= 0.3
    frechet = found["frechet_random_conv3d"]
    assert frechet["value"] < frechet["of_noise"] / 3
