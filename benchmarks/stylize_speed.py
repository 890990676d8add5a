"""What each way to save time saves and costs, and what each kind of noise does, on the demo model, in one run.

    python benchmarks/stylize_speed.py [--frames 24] [--only plain compile …]

A painted clip is stylized by the demo model with its edge net, without smoothing. Prints for each option the processor
time of a whole run against the plain run's, the change along the source's motion (warp error, grey levels), the
correlation of edges with the source's, and how far the frames are from the plain run's. The kinds of noise are compared
on a camera that pans over a painted still; for frames that stand still the clip holds each picture twice.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from demo.painter import paint_clip  # noqa: E402
from demo.painter.scene import Scene  # noqa: E402
from diffsynth.cli import main as diffsynth  # noqa: E402
from diffsynth.frames import Image  # noqa: E402
from diffsynth.images import read_image, write_png  # noqa: E402
from diffsynth.metrics.measure import measure  # noqa: E402
from diffsynth.smoothers.base import Pictures  # noqa: E402

SIDES = 256, 256
STEPS = 12
SPEEDS = 2, 8, 16
"""Pixels a frame; a latent is 8 of them wide."""
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "feature_cache 2": {"feature_cache": 2},
    "feature_cache 3": {"feature_cache": 3},
    "feature_cache 4": {"feature_cache": 4},
    "token_merging 0.25": {"token_merging": 0.25},
    "token_merging 0.5": {"token_merging": 0.5},
    "feature_cache 2 + token_merging 0.25": {"feature_cache": 2, "token_merging": 0.25},
}
NOISES: dict[str, dict[str, Any]] = {
    "noise shared": {},
    "noise warped": {"noise": "warped"},
    "noise per_frame": {"noise": "per_frame"},
}
COMPILED = {"compile": {"compile": True}}
HELD = {"plain, on twos": {}, "skip_still, on twos": {"skip_still": 0}}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--only", nargs="*", choices=[*OPTIONS, *COMPILED], help="some of the options, and no noises")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    painted = paint_clip(Scene.from_seed(2), "photo", "summer", "day", frames=options.frames, size=SIDES)
    frames = np.stack([each.picture for each in painted])
    with tempfile.TemporaryDirectory(prefix="diffsynth-") as name:
        os.environ["DIFFSYNTH_CACHE"] = str(Path(name) / "cache")
        bench = Bench(Path(name))
        bench.run("warm-up", frames[:2], {})
        if options.only:
            table(bench, frames, {name: (OPTIONS | COMPILED)[name] for name in options.only})
            return
        table(bench, frames, OPTIONS)
        for speed in SPEEDS:
            print(f"a camera that pans by {speed} pixels a frame")
            table(bench, panned(options.frames, speed), NOISES)
        held = frames[np.arange(options.frames) // 2]
        table(bench, held, HELD)


def panned(count: int, speed: int) -> Image:
    """A painted still, of which each frame shows a part further to the right."""
    height, width = SIDES
    size = (width + count * speed, height)
    still = next(iter(paint_clip(Scene.from_seed(2), "photo", "summer", "day", frames=1, size=size))).picture
    return np.stack([still[:, place : place + width] for place in range(0, count * speed, speed)])


def table(bench: "Bench", frames: Image, options: dict[str, dict[str, Any]]) -> None:
    """The first option is what the others are compared with."""
    runs = {name: bench.run(name, frames, keys) for name, keys in options.items()}
    measured = measure(Pictures(frames), {name: Pictures(found) for name, (_, found) in runs.items()})
    plain_time, plain = next(iter(runs.values()))
    print(f"{'':38} {'CPU s':>7} {'times':>6} {'warp':>6} {'edges':>6} {'dB':>6}")
    for name, (seconds, found) in runs.items():
        error = float(np.square(found.astype(np.float32) - plain).mean())
        decibel = 10 * np.log10(255**2 / error) if error else float("inf")
        clip = measured[name]
        times = plain_time / seconds
        print(
            f"{name:38} {seconds:7.1f} {times:6.2f} {clip['warp_error']:6.2f} {clip['structure']:6.3f} {decibel:6.1f}"
        )
    print(flush=True)


class Bench:
    """Clips and runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0

    def run(self, name: str, frames: Sequence[Image] | Image, keys: dict[str, Any]) -> tuple[float, Image]:
        """Processor seconds, and the frames."""
        self.number += 1
        place = self.folder / f"{self.number}"
        (place / "clip").mkdir(parents=True)
        for number, frame in enumerate(frames):
            write_png(place / "clip" / f"{number:04}.png", frame)
        model = ROOT / "demo" / "model"
        nets = [{"model_id": str(model / "controlnet_edges"), "processor": "classic_softedge"}]
        tree = {
            "model_id": str(model),
            "prompt": "watercolor painting of a winter landscape at day",
            "controlnets": nets,
            "input_video": str(place / "clip"),
            "output_path": str(place / "out"),
            "num_inference_steps": STEPS,
            "guidance_scale": 2.5,
            **keys,
        }
        (place / "config.json").write_text(json.dumps(tree))
        start = time.process_time()
        if diffsynth(["run", str(place / "config.json"), "--quiet"]) != 0:
            raise SystemExit(f"{name}: the run failed")
        seconds = time.process_time() - start
        pictures = sorted((place / "out" / "frames").iterdir())
        return seconds, np.stack([read_image(each)[0] for each in pictures])


if __name__ == "__main__":
    main()
