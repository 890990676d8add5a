"""Small runs of the way by latents: an autoencoder, what it says of clips, a video model on that."""

import json
from pathlib import Path
from typing import Any

import pytest
from training_runs import write

from diffsynth.cli import main

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
