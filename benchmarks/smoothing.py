"""What smoothing gives and what it costs, on clips whose true unflickered style is known.

    python benchmarks/smoothing.py [quality parts speed memory interpolation] [--scenes NAME …] [--side N] [--frames N]
                                   [--clips CLIP …] [--pair GUIDE STYLE]

Prints Markdown tables. `--clips` takes real clips in place of the drawn scenes and styles them with the same known
flicker; `--pair` smooths a clip that some other tool has styled, for which there is no truth.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage import data
from smoothing_scenes import Image, Scene, Styling, photograph, procedural

from diffsynth.frames import FrameStore, FrameWriter
from diffsynth.metrics import Measured, measure
from diffsynth.metrics.flow import flow, visible, warped
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import Frames, Pictures
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig
from diffsynth.smoothers.interpolation import InterpolationConfig
from diffsynth.smoothers.window_smoother import PreparedWindow

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea")
SCENES = ("procedural", *PHOTOGRAPHS)
Way = Callable[[Frames, Frames, Path], Sequence[Image]]


@dataclass(frozen=True)
class Case:
    """A clip, styled with flicker, and styled truly."""

    name: str
    scene: Scene | None
    """What it was drawn from, where that is known."""
    guide: Pictures
    style: Pictures
    truth: Pictures

    @classmethod
    def of(cls, scene: Scene, styling: Styling) -> "Case":
        return cls.styled(scene.name, scene, [scene.frame(t) for t in range(scene.count)], styling)

    @classmethod
    def styled(cls, name: str, scene: Scene | None, guide: list[Image], styling: Styling) -> "Case":
        styled = [styling.styled(t, frame) for t, frame in enumerate(guide)]
        return cls(name, scene, Pictures(guide), Pictures(styled), Pictures([styling.true(frame) for frame in guide]))


@dataclass(frozen=True)
class Setup:
    """What is measured on; each section has its own size where none is given."""

    scenes: Sequence[str] = SCENES
    clips: Sequence[Path] = ()
    """Real clips to use in place of the scenes."""
    side: int | None = None
    frames: int | None = None

    def cases(self, side: int = 256, frames: int = 48) -> Iterator[Case]:
        side, frames = self.side or side, self.frames or frames
        for seed, path in enumerate(self.clips):
            yield Case.styled(path.stem, None, frames_of(path, side, frames), Styling(seed))
        for seed, name in enumerate(SCENES):
            if not self.clips and name in self.scenes:
                scene = photograph(name, getattr(data, name)(), side, frames) if seed else procedural(side, frames)
                yield Case.of(scene, Styling(seed))


def ours(**settings: object) -> Way:
    """FastBlendSmoother with these settings; matches are kept between calls of one scene."""

    def way(guide: Frames, style: Frames, cache: Path) -> Sequence[Image]:
        with tempfile.TemporaryDirectory() as work:
            return list(prepared(guide, cache, **settings).smooth(style, Path(work)))

    return way


def prepared(guide: Frames, cache: Path, **settings: object) -> PreparedWindow:
    tree = {"cache_path": str(cache), **settings}
    return FastBlendSmootherConfig.model_validate(tree).build(Runtime()).prepare(guide)


def flow_mean(guide: Frames, style: Frames, _cache: Path, reach: int = 5) -> Sequence[Image]:
    """The fair simple baseline: neighbours warped by DIS flow of the guide, averaged where flow agrees both ways."""
    smoothed = []
    for t in range(len(guide)):
        total = style[t].astype(np.float32)
        weight = np.ones(total.shape[:2], np.float32)
        for other in range(max(0, t - reach), min(len(guide), t + reach + 1)):
            if other != t:
                motion = flow(guide[t], guide[other])
                seen = visible(motion, flow(guide[other], guide[t])).astype(np.float32)
                total += warped(style[other], motion) * seen[..., None]
                weight += seen
        smoothed.append(np.rint(np.clip(total / weight[..., None], 0, 255)).astype(np.uint8))
    return smoothed


def near_boundaries(case: Case, clip: Frames) -> float:
    """Root mean square error near motion boundaries; nan where nothing moves against anything."""
    errors = []
    for t in range(case.scene.count if case.scene else 0):
        assert case.scene is not None
        near = case.scene.near_motion_boundary(t)
        if near.any():
            errors.append(np.square(clip[t].astype(np.float32) - case.truth[t])[near].mean())
    return float(np.sqrt(np.mean(errors))) if errors else float("nan")


def compare(ways: dict[str, Way], cases: Iterator[Case]) -> None:
    """One table a scene, and the means over all scenes."""
    gains: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for case in cases:
        with tempfile.TemporaryDirectory() as cache:
            made = {name: Pictures(way(case.guide, case.style, Path(cache))) for name, way in ways.items()}
        clips: dict[str, Frames] = {"input": case.style, **made, "truth": case.truth}
        found = measure(case.guide, clips, case.truth)
        print(f"\n### {case.name}, {case.guide.width}², {len(case.guide)} frames\n")
        print("| clip | PSNR | warp error | squared | sharpness | error near motion boundaries |")
        print("|---|---|---|---|---|---|")
        for name, each in found.items():
            print(row(name, each, found["input"], near_boundaries(case, clips[name])))
        for name in ways:
            gains[name].append(
                (
                    number(found[name], "psnr") - number(found["input"], "psnr"),
                    1 - number(found[name], "warp_error") / number(found["input"], "warp_error"),
                    1 - (number(found[name], "warp_error") / number(found["input"], "warp_error")) ** 2,
                    1 - above(found[name], found["truth"]) / above(found["input"], found["truth"]),
                    number(found[name], "sharpness"),
                )
            )
    print("\n### Mean over scenes\n\n| clip | PSNR gain | warp error falls by | squared | above truth's | sharpness |")
    print("|---|---|---|---|---|---|")
    for name, values in gains.items():
        gain, *falls, sharp = np.mean(values, axis=0)
        print(f"| {name} | {gain:+.1f} dB | {' | '.join(f'{fall:.0%}' for fall in falls)} | {sharp:.2f} |")


def above(found: Measured, truth: Measured) -> float:
    """Squared warp error beyond the true clip's, which stems from flow and resampling and not from flicker."""
    return max(number(found, "warp_error") ** 2 - number(truth, "warp_error") ** 2, 0.0)


def row(name: str, found: Measured, reference: Measured, boundary: float) -> str:
    warp, before = number(found, "warp_error"), number(reference, "warp_error")
    falls = f"{warp:.2f} ({warp / before - 1:+.0%})", f"{(warp / before) ** 2 - 1:+.0%}"
    edge = "–" if np.isnan(boundary) else f"{boundary:.2f}"
    sharp = number(found, "sharpness")
    return f"| {name} | {number(found, 'psnr'):.2f} | {falls[0]} | {falls[1]} | {sharp:.3f} | {edge} |"


def number(found: Measured, metric: str) -> float:
    value = found[metric]
    return float("nan") if value is None else value


def quality(setup: Setup) -> None:
    print("\n## Quality")
    compare(
        {
            "plain mean, ±15": ours(mode="balanced", blend="mean"),
            "flow mean, ±5": flow_mean,
            "fast, ±15": ours(mode="fast"),
            "fast, ±30": ours(mode="fast", window_size=30),
            "balanced, ±15": ours(mode="balanced"),
        },
        setup.cases(),
    )


def parts(setup: Setup) -> None:
    print("\n## What each part buys (balanced, ±8)")
    plain = {"mode": "balanced", "window_size": 8}
    compare(
        {
            "all": ours(**plain),
            "no confidence": ours(**plain, tolerance=1e6),
            "no outlier rejection": ours(**plain, outliers=0.0),
            "no restoring": ours(**plain, restore=0.0),
            "no own detail": ours(**plain, own_detail=0.0),
            "style matched too": ours(**plain, match_style=True),
            "accurate": ours(**{**plain, "mode": "accurate"}),
        },
        setup.cases(192, 24),
    )


def speed(setup: Setup) -> None:
    side, count = setup.side or 512, setup.frames or 120
    print(f"\n## Time: {side}², {count} frames, ±15; seconds of one core a frame\n")
    print("| mode | estimations a frame | first style | second style | ratio |\n|---|---|---|---|---|")
    case = Case.of(procedural(side, count), Styling())
    other = Pictures([frame[..., ::-1].copy() for frame in case.style.images])
    for mode in ("fast", "balanced"):
        few = count if mode == "fast" else min(count, 31)
        guide, first, second = (Pictures(each.images[:few]) for each in (case.guide, case.style, other))
        with tempfile.TemporaryDirectory() as folder:
            smoother = prepared(guide, Path(folder) / "cache", mode=mode)
            took = []
            for name, style in (("a", first), ("b", second)):
                begun = time.process_time()
                for _ in smoother.smooth(style, Path(folder) / name):
                    pass
                took.append((time.process_time() - begun) / few)
            found = smoother.matcher.found / few
        note = "" if few == count else f" (the first {few} frames)"
        print(f"| {mode}{note} | {found:.1f} | {took[0]:.3f} | {took[1]:.3f} | {took[1] / took[0]:.0%} |", flush=True)


def memory(setup: Setup) -> None:
    side = setup.side or 96
    print(f"\n## Peak memory, fast, ±15, {side}²\n\n| frames | MB |\n|---|---|")
    for count in (100, setup.frames or 1000):
        done = subprocess.run(
            [sys.executable, __file__, "--resident", str(side), str(count)], capture_output=True, text=True, check=True
        )
        print(f"| {count} | {done.stdout.strip()} |", flush=True)


def resident(side: int, count: int) -> None:
    """Peak memory of one run over stores on disk, in MB."""
    scene, styling = procedural(side, count), Styling()
    with tempfile.TemporaryDirectory() as folder:
        guide, style = (store(Path(folder) / name, scene, styling, styled=name == "s") for name in "gs")
        smoother = prepared(guide, Path(folder) / "cache", mode="fast")
        with FrameWriter(Path(folder) / "out", scene.height, scene.width) as writer:
            for image in smoother.smooth(style, Path(folder) / "work"):
                writer.append(image)
            writer.finish()
    print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def store(path: Path, scene: Scene, styling: Styling, *, styled: bool) -> FrameStore:
    with FrameWriter(path, scene.height, scene.width) as writer:
        for t in range(scene.count):
            frame = scene.frame(t)
            writer.append(styling.styled(t, frame) if styled else frame)
        return writer.finish()


def interpolation(setup: Setup, every: int = 10) -> None:
    print(f"\n## Interpolation, a key frame every {every} frames\n")
    print("| scene | flow-warped nearest key | ours | beside keys | in the middle | step at keys / elsewhere |")
    print("|---|---|---|---|---|---|")
    for case in setup.cases():
        keys = list(range(0, len(case.guide), every))
        painter = InterpolationConfig(cache_gigabytes=0.0).build(Runtime())
        out = list(painter.frames(case.guide, keys, case.truth.__getitem__))
        between = [t for t in range(keys[-1]) if t not in keys]
        warp = [psnr(nearest_key(case, keys, t), case.truth[t]) for t in between]
        own = {t: psnr(out[t], case.truth[t]) for t in between}
        near = [value for t, value in own.items() if min(abs(t - key) for key in keys) == 1]
        middle = [value for t, value in own.items() if min(abs(t - key) for key in keys) == every // 2]
        steps = {t: np.abs(excess(out, case, t)).mean() for t in range(1, keys[-1])}
        at = np.mean([each for t, each in steps.items() if t in keys or t - 1 in keys])
        off = np.mean([each for t, each in steps.items() if t not in keys and t - 1 not in keys])
        means = " | ".join(f"{np.mean(each):.2f}" for each in (warp, list(own.values()), near, middle))
        print(f"| {case.name} | {means} | {at:.2f} / {off:.2f} |", flush=True)


def nearest_key(case: Case, keys: Sequence[int], t: int) -> Image:
    key = min(keys, key=lambda each: abs(each - t))
    moved = warped(case.truth[key], flow(case.guide[t], case.guide[key]))
    return np.rint(np.clip(moved, 0, 255)).astype(np.uint8)


def excess(out: Sequence[Image], case: Case, t: int) -> np.ndarray:
    """How the error changes from one frame to the next: a seam is a step of it."""
    errors = [out[each].astype(np.float32) - case.truth[each] for each in (t - 1, t)]
    return errors[1] - errors[0]


def psnr(one: Image, other: Image) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(np.float64) - other).mean()))


def frames_of(path: Path, side: int, frames: int) -> list[Image]:
    from diffsynth.video.clip import open_clip
    from diffsynth.video.options import Geometry, Selection

    clip = open_clip(path, Selection(maximum_count=frames), Geometry(side, side, "crop"))
    return [frame.rgb for frame in clip.frames()]


def pair(guide: Path, style: Path, setup: Setup) -> None:
    print(f"\n## {style.name}\n\n| clip | warp error | flicker | sharpness | structure |\n|---|---|---|---|---|")
    clips = [Pictures(frames_of(path, setup.side or 256, setup.frames or 48)) for path in (guide, style)]
    with tempfile.TemporaryDirectory() as cache:
        smoothed = Pictures(ours(mode="fast")(clips[0], clips[1], Path(cache)))
    for name, each in measure(clips[0], {"input": clips[1], "fast, ±15": smoothed}).items():
        numbers = (number(each, metric) for metric in ("warp_error", "flicker", "sharpness", "structure"))
        print(f"| {name} | {' | '.join(f'{value:.3f}' for value in numbers)} |")


SECTIONS = {"quality": quality, "parts": parts, "speed": speed, "memory": memory, "interpolation": interpolation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--clips", nargs="+", default=[], type=Path, metavar="CLIP")
    parser.add_argument("--pair", nargs=2, type=Path, metavar=("GUIDE", "STYLE"))
    parser.add_argument("--scenes", nargs="+", default=SCENES, choices=SCENES)
    parser.add_argument("--side", type=int, metavar="PIXELS", help="size of the square frames")
    parser.add_argument("--frames", type=int, metavar="N", help="frames a clip; for memory, of the longer one")
    parser.add_argument("--resident", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    setup = Setup(options.scenes, options.clips, options.side, options.frames)
    if options.resident:
        resident(*options.resident)
    elif options.pair:
        pair(*options.pair, setup)
    else:
        for name in options.sections or SECTIONS:
            SECTIONS[name](setup)


if __name__ == "__main__":
    main()
