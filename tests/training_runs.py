"""Small trainings for tests: in this process, in processes of torchrun, and in one that is killed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from diffsynth.config import layers, validate
from diffsynth.tasks import DEFAULT_TASK, TASKS
from diffsynth.tasks.train import TrainConfig

ROOT = Path(__file__).parents[1]


def tree(output: Path, **train: Any) -> dict[str, Any]:
    """A config whose training takes a few seconds."""
    settings = {"global_batch": 4, "lr": 0.003, "steps": 6, "ema": 0.9, "log_every": 1, "tensorboard": False}
    return {
        "task": "train",
        "dataset": {"type": "moving_digits", "size": 8, "frames": 3, "clips": 50},
        "backbone": {"type": "latte", "hidden": 16, "depth": 2, "heads": 2, "patch": 4},
        "condition": {"type": "class", "num_classes": 10, "dropout": 0.2},
        "diffusion": {"objective": "flow"},
        "train": {**settings, **train},
        "output_path": str(output),
    }


def config(body: dict[str, Any]) -> TrainConfig:
    found = validate(layers.source(body, Path.cwd()), TASKS, DEFAULT_TASK, "test")
    assert isinstance(found, TrainConfig)
    return found


def write(path: Path, body: dict[str, Any]) -> Path:
    path.write_text(json.dumps(body))
    return path


def environment(threads: int = 1) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def torchrun(config_file: Path, processes: int) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"),
        *("--master_addr=127.0.0.1", f"--master_port={free_port()}"),
        *("run_DiffSynth.py", str(config_file), "--device", "cpu"),
    ]
    return subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


def losses(run: Path) -> list[float]:
    """By step."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
