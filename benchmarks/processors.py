"""What the processors cost, and how much stiller the steady ones are.

    python benchmarks/processors.py [--clips CLIP …] [--size 960x512] [--frames 24]

Prints, for a painted clip (whose depth and motion are known) and each of the given ones:
- frames per second of processor time of each processor that needs no weights;
- peak resident memory on a short and on a ten times longer clip, each in a process of its own;
- flicker of depth maps with a random scale put on each frame, before and after steadying.

Flicker is the mean change of a map, in levels of 255, between what a frame and the next one show of the same point.
Exits with 1 if memory grows by 50 MB or more, or if steadying leaves more than half of the injected flicker.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from demo.painter import Scene, paint_clip  # noqa: E402
from diffsynth.frames import FrameStore, FrameWriter, Image  # noqa: E402
from diffsynth.processors import ProcessorConfig, canonical_name  # noqa: E402
from diffsynth.processors.base import Advance, Frames, Processor, as_rgb, to_levels  # noqa: E402
from diffsynth.processors.classic_depth import classic_depth  # noqa: E402
from diffsynth.processors.steady import steady, steady_depth  # noqa: E402
from diffsynth.runtime import Runtime  # noqa: E402
from diffsynth.video.clip import open_clip  # noqa: E402
from diffsynth.video.options import Geometry, Selection  # noqa: E402

WEIGHT_FREE = (
    "tile", "canny", "classic_softedge", "classic_depth", "shuffle", "video_classic_softedge", "video_classic_depth",
)  # fmt: skip
LIMIT_MB = 50
SCALE_NOISE = 0.1

Flow = NDArray[np.float32]


@dataclass(frozen=True)
class Shot:
    """A clip with depth maps of its own and the motion by which they are judged."""

    name: str
    frames: FrameStore
    depths: list[NDArray[np.float32]]
    """0 to 255, near is bright, on one scale."""
    motions: list[tuple[Flow, NDArray[np.bool_]]]
    """To the next frame, and where the next frame shows the point too."""


def main() -> int:
    arguments = parse()
    if arguments.child:
        return measure_child(*arguments.child)
    width, height = (int(each) for each in arguments.size.split("x"))
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shots = [painted(folder / "painted", arguments.frames, (width, height))]
        shots += [given(folder / f"given-{n}", clip, arguments.frames) for n, clip in enumerate(arguments.clips)]
        report_speed(shots[0], folder)
        failures += report_memory(folder)
        for shot in shots:
            failures += report_flicker(shot, folder)
    return int(failures > 0)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="*", default=[], type=Path, help="videos beside the painted one")
    parser.add_argument("--size", default="960x512", help="of the painted clip")
    parser.add_argument("--frames", type=int, default=24, help="of each clip")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def build(name: str) -> Processor:
    settings: Any = TypeAdapter(ProcessorConfig).validate_python({"type": canonical_name(name)})
    processor: Processor = settings.build(Runtime("cpu"))
    return processor


def unheard(count: int) -> None:
    """Nobody watches."""


def stored(folder: Path, frames: Sequence[Image]) -> FrameStore:
    with FrameWriter(folder, *frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.append(frame)
        return writer.finish()


def painted(folder: Path, count: int, size: tuple[int, int]) -> Shot:
    shown = list(paint_clip(Scene.from_seed(7), "photo", "summer", "day", frames=count, size=size))
    depths = [each.depth.astype(np.float32) * 255 for each in shown]
    motions = [
        (each.flow.astype(np.float32), ~each.occlusion)
        for each in shown
        if each.flow is not None and each.occlusion is not None
    ]
    return Shot("painted", stored(folder, [each.picture for each in shown]), depths, motions)


def given(folder: Path, clip: Path, count: int) -> Shot:
    """A clip without known truth: its guessed depth, judged by Farnebäck's motion, which the steadying doesn't use."""
    frames = [each.rgb for each in open_clip(clip, Selection(maximum_count=count), Geometry()).frames()]
    greys = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in frames]
    motions = []
    for here, there in pairwise(greys):
        ahead, back = _farneback(here, there), _farneback(there, here)
        returned = ahead + _fetch(back, ahead)
        motions.append((ahead, np.hypot(returned[..., 0], returned[..., 1]) < 0.5))
    depths = [classic_depth(each).astype(np.float32) for each in frames]
    return Shot(clip.name, stored(folder, frames), depths, motions)


def _farneback(here: Image, there: Image) -> Flow:
    found = cv2.calcOpticalFlowFarneback(here, there, None, 0.5, 5, 21, 3, 7, 1.5, 0)
    return np.asarray(found, dtype=np.float32)


def _fetch(there: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(cv2.remap(there, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def report_speed(shot: Shot, folder: Path) -> None:
    frames = shot.frames
    print(f"\nframes per second of processor time, {frames.width}x{frames.height}, median of 3 runs")
    for name in WEIGHT_FREE:
        rates = []
        for repeat in range(3):
            started = time.process_time()
            build(name).process(frames, folder / f"speed-{name}-{repeat}", unheard)
            rates.append(len(frames) / (time.process_time() - started))
        print(f"  {name:<24} {median(rates):6.1f}")


def report_memory(folder: Path) -> int:
    print("\npeak resident memory, MB, 480x256")
    generator = np.random.Generator(np.random.PCG64(0))
    frame = cv2.GaussianBlur(generator.integers(0, 256, (256, 480, 3), dtype=np.uint8), (0, 0), 3)
    clips = {
        count: stored(folder / f"long-{count}", [np.roll(frame, t, 1) for t in range(count)]).path
        for count in (40, 400)
    }
    failures = 0
    for name in ("classic_softedge", "video_classic_depth"):
        short, long = (peak(name, path, folder / f"memory-{name}-{count}") for count, path in clips.items())
        print(f"  {name:<24} 40 frames {short:6.1f}   400 frames {long:6.1f}   growth {long - short:5.1f}")
        failures += long - short >= LIMIT_MB
    return failures


def peak(name: str, clip: Path, folder: Path) -> float:
    command = [sys.executable, str(Path(__file__).resolve()), "--child", name, str(clip), str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_child(name: str, clip: str, folder: str) -> int:
    build(name).process(FrameStore(clip), Path(folder), unheard)
    # Of this program alone: what the system reports of a child's peak holds that of the parent it was forked from.
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
    return 0


class Given:
    """A processor whose maps are there already."""

    fingerprint: dict[str, Any] = {"processor": "given"}  # noqa: RUF012  it has none
    passes, looks_around = 1, False

    def __init__(self, maps: list[Image]) -> None:
        self._maps = maps

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        return stored(folder / "maps", self._maps)


def report_flicker(shot: Shot, folder: Path) -> int:
    generator = np.random.Generator(np.random.PCG64(1))
    scales = np.exp(generator.normal(0, SCALE_NOISE, len(shot.depths)))
    noisy = [as_rgb(to_levels(depth * scale)) for depth, scale in zip(shot.depths, scales, strict=True)]
    clean = [as_rgb(to_levels(depth)) for depth in shot.depths]
    place = folder / f"flicker-{shot.name}"
    levelled = steady(Given(noisy), steady_depth(0, level=True)).process(shot.frames, place / "0", unheard)
    found = steady(Given(noisy), steady_depth(2, level=True)).process(shot.frames, place / "2", unheard)
    before, after = flicker(noisy, shot), flicker(found, shot)
    print(f"\nflicker of depth, {shot.name}, {len(noisy)} frames, scale noise {SCALE_NOISE:.0%}, levels of 255")
    print(f"  without noise            {flicker(clean, shot):6.2f}")
    print(f"  with noise               {before:6.2f}")
    print(f"  levelled                 {flicker(levelled, shot):6.2f}")
    print(f"  levelled and averaged    {after:6.2f}   {after / before:.2f} of it (limit 0.50)")
    plain, still = (build(name).process(shot.frames, place / name, unheard) for name in
                    ("classic_softedge", "video_classic_softedge"))  # fmt: skip
    edges, steadied = flicker(plain, shot), flicker(still, shot)
    print(f"  soft edges, as they are  {edges:6.2f}   steady {steadied:6.2f}   {steadied / edges:.2f} of it")
    return int(after > before / 2)


def flicker(maps: Sequence[Image] | FrameStore, shot: Shot) -> float:
    return float(np.mean(list(_changes(maps, shot))))


def _changes(maps: Sequence[Image] | FrameStore, shot: Shot) -> Iterator[float]:
    for position, (flow, shown) in enumerate(shot.motions):
        here, there = (maps[each][..., 0].astype(np.float32) for each in (position, position + 1))
        yield float(np.abs(_fetch(there, flow) - here)[shown].mean())


if __name__ == "__main__":
    sys.exit(main())
