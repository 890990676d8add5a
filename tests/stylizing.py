"""Small stylizations for tests: a moving clip, tiny checkpoints, and configs on them, run as a user runs them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tiny import save_tiny_controlnet, save_tiny_sd

from diffsynth import config as configs
from diffsynth import runner
from diffsynth.frames import Image
from diffsynth.images import read_image, write_png
from diffsynth.runtime import Runtime
from diffsynth.tasks import DEFAULT_TASK, TASKS
from diffsynth.tasks.stylize import StylizeConfig

GREY_LEVELS = 0.05
"""Two orders of the same float32 sums differ in the last bits; where a value lies between two levels, one flips."""
LEFT = {"frames", "video_output.mp4", "config.json", "run.json", "progress.jsonl", ".lock"}
"""What is there after a run."""
LEFT_OF_PREVIEW = LEFT - {"video_output.mp4"} | {"preview.png"}
LEVELS = 1
"""Networks' last bits hang on what goes through them together; where a value lies between two levels, one flips."""
PROMPT, NEGATIVE = "a snowy lake, white trees", "blurry"


@dataclass(frozen=True)
class Bench:
    """A folder with a clip of pictures, a checkpoint and two ControlNets."""

    folder: Path
    frames: Image
    """(T, H, W, 3)."""

    @classmethod
    def make(cls, folder: Path, count: int = 5, height: int = 48, width: int = 64) -> "Bench":
        frames = moving_clip(count, height, width)
        (folder / "clip").mkdir(parents=True)
        for position, frame in enumerate(frames):
            write_png(folder / "clip" / f"{position:03}.png", frame)
        model = save_tiny_sd(folder / "model")
        save_tiny_controlnet(folder / "plain_net", model, seed=1)
        save_tiny_controlnet(folder / "pooled_net", model, seed=2, global_pool_conditions=True)
        write_png(folder / "reference.png", moving_clip(1, height, width, seed=5)[0])
        return cls(folder, frames)

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def config(self, output: str = "out", **keys: Any) -> StylizeConfig:
        return load_config(self.tree(output, **keys))

    def tree(self, output: str = "out", **keys: Any) -> dict[str, Any]:
        return {
            "model_id": str(self.model),
            "prompt": PROMPT,
            "negative_prompt": NEGATIVE,
            "input_video": str(self.folder / "clip"),
            "output_path": str(self.folder / output),
            "num_inference_steps": 4,
            **keys,
        }


def load_config(tree: Mapping[str, Any]) -> StylizeConfig:
    loaded = configs.validate(tree, TASKS, DEFAULT_TASK, "test")
    assert isinstance(loaded, StylizeConfig)
    return loaded


def run(config: StylizeConfig, threads: int = 1) -> Image:
    """The frames that a run writes, (T, H, W, 3)."""
    request = runner.Request(configs=(), quiet=True)
    runner.run_config(config, Runtime("cpu", threads=threads), Console(file=io.StringIO()), request)
    return written(config.output_path)


def written(output: Path) -> Image:
    return np.stack([read_image(path)[0] for path in sorted((output / "frames").iterdir())])


def moving_clip(count: int, height: int, width: int, seed: int = 0) -> Image:
    """A bright patch that wanders over a smooth ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ground = np.stack([np.sin(x / (7 + k) + y / (9 - k) + rng.random() * 6) for k in range(3)], -1) * 60 + 128
    clip = np.repeat(ground[None], count, 0)
    for position in range(count):
        left, top = (position * 3) % (width - 12), (position * 2) % (height - 12)
        clip[position, top : top + 12, left : left + 12] = [240, (40 + 10 * position) % 200, 90]
    return clip.astype(np.uint8)


def half_mask(folder: Path, height: int, width: int) -> str:
    """A picture that is white on the right."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[:, width // 2 :] = 255
    write_png(folder / "mask.png", mask)
    return str(folder / "mask.png")


def close(one: Image, other: Image) -> bool:
    """Two clips that are the same but for last bits."""
    return bool(np.abs(one.astype(int) - other).max() <= LEVELS)


def psnr(one: Image, other: Image) -> float:
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def plain(bench: Bench, **keys: Any) -> dict[str, Any]:
    """A ControlNet of a config."""
    return {"model_id": str(bench.folder / "plain_net"), "processor": "tile", **keys}
