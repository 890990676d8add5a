"""Makes the README's strip: `python -m demo.strip docs/demo.png [--frames 24]`.

Runs the demo's config in three styles, and again frame by frame (each from its own noise, seeing itself alone, nothing
smoothed), measures both, and lays frames of all of them out under what was measured.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont
from rich.console import Console

from diffsynth import config as configs
from diffsynth import runner
from diffsynth.config import Override
from diffsynth.frames import Image
from diffsynth.images import read_image, write_png
from diffsynth.metrics import measure
from diffsynth.processors.base import Stills
from diffsynth.runtime import Runtime
from diffsynth.tasks import DEFAULT_TASK, TASKS
from diffsynth.tasks.measure import table

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "demo.json"
STYLES = {
    "watercolor, winter": "watercolor painting of a winter landscape at day",
    "oil, autumn sunset": "oil painting of an autumn landscape at sunset",
    "neon": "neon lights of a summer landscape at night",
}
ALONE = {"combine_pattern": "self", "noise": "per_frame", "smoother": "null", "post_smoother": "null"}
LINE, MARGIN = 18, 4


def rendered(output: Path, frames: int, prompt: str, keys: dict[str, str]) -> list[Image]:
    """The frames of one run of the demo's config."""
    overrides = [Override((key,), value) for key, value in keys.items()]
    overrides += [Override.of("prompt", prompt), Override.of("output_path", str(output))]
    overrides.append(Override(("frame_maximum_count",), str(frames)))
    loaded = configs.load(CONFIG, TASKS, DEFAULT_TASK, overrides)
    runner.run_config(loaded, Runtime("cpu"), Console(file=io.StringIO()), runner.Request(configs=(), quiet=True))
    return [read_image(path)[0] for path in sorted((output / "frames").iterdir())]


def row(title: str, frames: list[Image], shown: list[int]) -> Image:
    """Frames side by side under a title."""
    picture = np.concatenate([frames[position] for position in shown], axis=1)
    canvas = Pictures.new("RGB", (picture.shape[1], picture.shape[0] + LINE), (24, 24, 24))
    canvas.paste(Pictures.fromarray(picture), (0, LINE))
    ImageDraw.Draw(canvas).text((MARGIN, 2), title, (255, 255, 255), ImageFont.load_default(LINE - 5))
    return np.array(canvas)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.strip", description=__doc__)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--work", type=Path, default=ROOT / "output" / "strip", help="folder of the runs; continued")
    args = parser.parse_args()
    source = [read_image(path)[0] for path in sorted((ROOT / "demo/work/clip/frames").iterdir())][: args.frames]
    shown = [0, args.frames // 2, args.frames - 1]
    blank = [np.full_like(each, 24) for each in source]
    rows = [np.concatenate([row("source", source, shown), row("", blank, shown)], axis=1)]
    for number, (style, prompt) in enumerate(STYLES.items()):
        ours = rendered(args.work / f"{number}-ours", args.frames, prompt, {})
        alone = rendered(args.work / f"{number}-alone", args.frames, prompt, ALONE)
        found = measure(Stills(source), {"alone": Stills(alone), "ours": Stills(ours)})
        flicker = {name: each["warp_error"] for name, each in found.items()}
        print(style, *table(found), sep="\n", flush=True)
        left = row(f"{style}: ours, warp error {flicker['ours']:.1f}", ours, shown)
        right = row(f"frame by frame, warp error {flicker['alone']:.1f}", alone, shown)
        rows.append(np.concatenate([left, right], axis=1))
    write_png(args.picture, np.concatenate(rows))


if __name__ == "__main__":
    main()
