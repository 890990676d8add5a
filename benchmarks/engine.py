"""Time and energy of the patch-matching engine, alone or side by side with another `ebsynth`.

    python benchmarks/engine.py                                    our figures
    python benchmarks/engine.py --reference PATH                   and their ratios to another binary, on the same files
    python benchmarks/engine.py --examples DIR --clips A.mp4 B.mp4     with your own pictures as well

`--reference` names an `ebsynth_nnf`: a build of the published command line that writes its NNF as text. The reference
runs as its own process on one core (OMP_NUM_THREADS=1), then on all; ours runs in this process, from decoded pixels to
the NNF and the painted image. Times are CPU seconds on one core, wall seconds on all; energies: engine_energy.py.

A folder for `--examples` holds one folder for each example: style.png, and for each guide name_source.png,
name_target.png and, in weights.txt, a line "name weight".
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from engine_energy import Energy, evaluate
from engine_scenes import Example, Image, clip_pairs, generic_examples, video_pairs
from PIL import Image as Pillow

from diffsynth.engines.base import Matches
from diffsynth.engines.native import Frame, Settings, estimate, instruction_set, vote

UNIFORMITY = 3500.0


@dataclass(frozen=True)
class Task:
    name: str
    example: Example
    settings: Settings

    @property
    def guides(self) -> list[tuple[Image, Image, float]]:
        weights = self.settings.weights or tuple(w for *_, w in self.example.guides)
        return [(s, t, w) for (s, t, _), w in zip(self.example.guides, weights, strict=True)]


def video_task(example: Example, patch: int, weight: float) -> Task:
    settings = Settings(preset="video", patch=patch, weights=(weight,))
    height, width = example.style.shape[:2]
    return Task(f"{example.name} {width}x{height}, patch {patch}, weight {weight:g}", example, settings)


def generic_task(example: Example) -> Task:
    weights = tuple(w for *_, w in example.guides)
    return Task(f"{example.name}, patch 5", example, Settings(preset="generic", patch=5, weights=weights))


def run_ours(task: Task, threads: int) -> Matches:
    frames = [Frame([g[i] for g in task.guides]) for i in (0, 1)]
    settings = Settings(**{**vars(task.settings), "threads": threads})
    return estimate([(0, 1)], frames, [task.example.style], settings=settings)


def timed(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """The median of `repeats` runs."""
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return statistics.median(times)


def children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_reference(program: Path, task: Task, folder: Path, cores: int | None) -> tuple[np.ndarray, float, float]:
    """NNF, CPU seconds and wall seconds of one run on `cores` cores (None: as many as it likes)."""
    style, result = folder / "style.png", folder / "nnf.txt"
    Pillow.fromarray(task.example.style).save(style)
    command = [str(program), "-style", str(style)]
    for index, (source, target, weight) in enumerate(task.guides):
        paths = [folder / f"{index}_{side}.png" for side in ("source", "target")]
        for path, image in zip(paths, (source, target), strict=True):
            Pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path)
        command += ["-guide", *map(str, paths), "-weight", str(weight)]
    command += ["-patchsize", str(task.settings.patch), "-uniformity", str(UNIFORMITY), "-backend", "cpu"]
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)
    if cores is not None:
        environment["OMP_NUM_THREADS"] = str(cores)
    cpu, wall = children_cpu(), time.perf_counter()
    subprocess.run([*command, "-output", str(result)], check=True, env=environment, stdout=subprocess.DEVNULL)
    cpu, wall = children_cpu() - cpu, time.perf_counter() - wall
    height, width = task.guides[0][1].shape[:2]
    nnf_xy = np.loadtxt(result, dtype=np.int32).reshape(height, width, 2)
    return nnf_xy[..., ::-1], cpu, wall


def energy(task: Task, nnf_yx: np.ndarray) -> Energy:
    return evaluate(nnf_yx, task.example.style, task.guides, task.settings.patch, UNIFORMITY)


def compare(task: Task, reference: Path | None, repeats: int) -> None:
    """One line: our time and energy, and how the reference's compare with them."""
    cores = len(os.sched_getaffinity(0))
    found = run_ours(task, 1)
    one = timed(lambda: run_ours(task, 1), repeats, time.process_time)
    every = timed(lambda: run_ours(task, cores), repeats, time.perf_counter)
    ours = energy(task, found.nnf_yx[0])
    line = f"{task.name:42} {1e3 * one:7.0f} ms, {cores} cores {1e3 * every:6.0f} ms"
    line += f" | guide {ours.guide:10.4g} style {ours.style:8.4g} use {ours.uniformity:6.0f} total {ours.total:10.4g}"
    if reference is not None:
        with tempfile.TemporaryDirectory() as name:
            nnf_yx, cpu, _ = run_reference(reference, task, Path(name), 1)
            _, _, wall = run_reference(reference, task, Path(name), None)
        other = energy(task, nnf_yx)
        line += f" | {cpu / one:5.1f}x faster on one core, {wall / every:5.1f}x on all"
        line += f" | guide {ours.guide / other.guide:5.3f}, total {ours.total / other.total:5.3f} of the reference's"
    print(line, flush=True)


def show_parts(example: Example, repeats: int) -> None:
    """A pair of frames matched by its guides alone, then painted: what a smoother pays first, and every time after."""
    cores = len(os.sched_getaffinity(0))
    source, target, _ = example.guides[0]
    frames = [Frame(source), Frame(target)]
    height, width = source.shape[:2]
    for patch in (5, 11, 21):
        first = timed(lambda p=patch: estimate([(0, 1)], frames, patch=p, threads=1), repeats, time.process_time)
        nnf = estimate([(0, 1)], frames, patch=patch).nnf_yx[0]
        again = timed(lambda n=nnf, p=patch: vote(n, example.style, patch=p, threads=1), repeats, time.process_time)
        spread = []
        for threads in sorted({1, 2, cores // 2, cores} - {0}):
            if threads > cores:
                continue
            wall = timed(
                lambda t=threads, p=patch: estimate([(0, 1)] * 2, frames, patch=p, threads=t), 3, time.perf_counter
            )
            spread.append((threads, wall))
        scaling = ", ".join(f"{t} threads {100 * spread[0][1] / wall / t:.0f} %" for t, wall in spread[1:])
        print(
            f"{example.name} {width}x{height}, patch {patch:2}: estimate {1e3 * first:6.1f} ms,"
            f" vote {1e3 * again:5.1f} ms ({first / again:.0f}x less), efficiency of {scaling or 'one thread only'}",
            flush=True,
        )


def load_examples(folder: Path) -> Iterable[Example]:
    def read(path: Path) -> Image:
        with Pillow.open(path) as image:
            pixels = np.asarray(image)
        return pixels[..., None] if pixels.ndim == 2 else pixels

    for place in sorted(p for p in folder.iterdir() if p.is_dir()):
        lines = [line.split() for line in (place / "weights.txt").read_text().splitlines() if line.strip()]
        guides = tuple(
            (read(place / f"{name}_source.png"), read(place / f"{name}_target.png"), float(weight))
            for name, weight in lines
        )
        yield Example(place.name, read(place / "style.png"), guides)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="an ebsynth_nnf to compare with")
    parser.add_argument("--examples", type=Path, help="folder of examples, instead of the drawn ones")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="videos of which two frames are matched")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["parts", "video", "generic"], help="one section")
    options = parser.parse_args()
    print(f"instruction set {instruction_set()}, {len(os.sched_getaffinity(0))} cores, median of {options.repeats}")
    small = video_pairs(512, 512)
    if options.only in {None, "parts"}:
        for example in (small[0], video_pairs(512, 960)[1]):
            show_parts(example, options.repeats)
    if options.only in {None, "video"}:
        for example in [*small, *(pair for clip in options.clips for pair in clip_pairs(clip))]:
            for patch, weight in ((5, 1.0), (21, 100.0)):
                compare(video_task(example, patch, weight), options.reference, options.repeats)
        compare(video_task(small[1], 5, 100.0), options.reference, options.repeats)
        compare(video_task(small[1], 11, 10.0), options.reference, options.repeats)
    if options.only in {None, "generic"}:
        for example in load_examples(options.examples) if options.examples else generic_examples():
            compare(generic_task(example), options.reference, options.repeats)


if __name__ == "__main__":
    sys.exit(main())
