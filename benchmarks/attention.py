"""What chunks and the attention's mode cost in quality, on the demo model and the demo's clip.

    python benchmarks/attention.py [--frames 12] [--steps 8]

Nothing is smoothed: what is measured is the networks' own. Prints how chunks of 4 and 8 frames agree with the whole
clip, the energy of change where chunks meet against that inside, and flicker and edges of `shared` and of `window`.
"""

import argparse
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from diffsynth import config as configs
from diffsynth import runner
from diffsynth.config import Override
from diffsynth.frames import Image
from diffsynth.images import read_image
from diffsynth.metrics import measure
from diffsynth.processors.base import Stills
from diffsynth.runtime import Runtime
from diffsynth.tasks import DEFAULT_TASK, TASKS
from diffsynth.tasks.measure import table

CONFIG = Path(__file__).parents[1] / "config" / "demo.json"
PROMPTS = ("watercolor painting of a winter landscape at day", "cartoon of an autumn landscape at sunset")
BARE = {"smoother": "null", "post_smoother": "null", "combine_pattern": "seed"}


def rendered(folder: Path, prompt: str, keys: dict[str, Any]) -> list[Image]:
    overrides = [Override((key,), str(value)) for key, value in {**BARE, **keys}.items()]
    overrides += [Override.of("prompt", prompt), Override.of("output_path", str(folder))]
    loaded = configs.load(CONFIG, TASKS, DEFAULT_TASK, overrides)
    request = runner.Request(configs=(), quiet=True)
    runner.run_config(loaded, Runtime("cpu", threads=1), Console(file=io.StringIO()), request)
    return [read_image(path)[0] for path in sorted((folder / "frames").iterdir())]


def psnr(some: list[Image], others: list[Image]) -> float:
    square = np.mean([np.square(one.astype(float) - other).mean() for one, other in zip(some, others, strict=True)])
    return float(10 * np.log10(255**2 / max(square, 1e-9)))


def change(frames: list[Image], positions: Iterable[int]) -> float:
    return float(np.mean([np.square(frames[at].astype(float) - frames[at - 1]).mean() for at in positions]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    args = parser.parse_args()
    common = {"frame_maximum_count": args.frames, "num_inference_steps": args.steps}
    clip = sorted((CONFIG.parents[1] / "demo/work/clip/frames").iterdir())[: args.frames]
    source = Stills([read_image(path)[0] for path in clip])
    with tempfile.TemporaryDirectory() as name:
        for number, prompt in enumerate(PROMPTS):
            folder = Path(name) / str(number)
            whole = rendered(folder / "whole", prompt, {**common, "chunk_size": 64})
            print(prompt, flush=True)
            for size in (4, 8):
                parts = rendered(folder / str(size), prompt, {**common, "chunk_size": size})
                borders = range(size, args.frames, size)
                inside = [at for at in range(1, args.frames) if at not in borders]
                jump = change(parts, borders) / change(whole, borders)
                jump /= change(parts, inside) / change(whole, inside)
                print(
                    f"  chunks of {size}: {psnr(parts, whole):.1f} dB, change at borders {jump:.3f} of inside",
                    flush=True,
                )
            window = rendered(folder / "window", prompt, {**common, "attention_mode": '"window"'})
            print(*table(measure(source, {"window": Stills(window), "shared": Stills(whole)})), sep="\n", flush=True)


if __name__ == "__main__":
    main()
