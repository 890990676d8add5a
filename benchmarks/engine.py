"""Time and energy of the patch-matching engine, alone or side by side with another `ebsynth`.

    python benchmarks/engine.py                                    our figures
    python benchmarks/engine.py --reference PATH                   and their ratios to another binary, on the same files
    python benchmarks/engine.py --examples DIR --clips A.mp4 B.mp4     with your own pictures as well

`--reference` names an `ebsynth_nnf`: a build of the published command line that writes its NNF as text. It runs as its
own process on one core (OMP_NUM_THREADS=1), between two halves of our runs; with `--all-cores` then on all. Ours runs
in this process, from decoded pixels to the NNF and the painted image, with the reference's default uniformity. Times
are CPU seconds on one core (the median of our runs), wall seconds on all; energies: engine_energy.py. `--keep FOLDER`
keeps what the reference found and took, and does not run it again.

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
from engine_scenes import Example, Image, clip_pairs, generic_examples, more_examples, video_pairs
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
    settings = Settings(preset="video", patch=patch, weights=(weight,), uniformity=UNIFORMITY)
    height, width = example.style.shape[:2]
    return Task(f"{example.name} {width}x{height}, patch {patch}, weight {weight:g}", example, settings)


def generic_task(example: Example) -> Task:
    weights = tuple(w for *_, w in example.guides)
    return Task(
        f"{example.name}, patch 5", example, Settings(preset="generic", patch=5, weights=weights, uniformity=UNIFORMITY)
    )


def run_ours(task: Task, threads: int) -> Matches:
    frames = [Frame([g[i] for g in task.guides]) for i in (0, 1)]
    settings = Settings(**{**vars(task.settings), "threads": threads})
    return estimate([(0, 1)], frames, [task.example.style], settings=settings)


def times_of(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> list[float]:
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return times


def cpu_times(work: Callable[[], object], repeats: int) -> list[float]:
    return times_of(work, repeats, time.process_time)


def timed(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """The median of `repeats` runs."""
    return statistics.median(times_of(work, repeats, clock))


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


def reference_on_one_core(program: Path, task: Task, keep: Path | None) -> tuple[np.ndarray, float]:
    """NNF and CPU seconds, from `keep` if they are there."""
    kept = keep / f"{task.name}.npz".replace(" ", "_") if keep else None
    if kept is not None and kept.exists():
        with np.load(kept) as saved:
            return saved["nnf_yx"], float(saved["cpu"])
    with tempfile.TemporaryDirectory() as folder:
        nnf_yx, cpu, _ = run_reference(program, task, Path(folder), 1)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(kept, nnf_yx=nnf_yx.astype(np.int16), cpu=cpu)
    return nnf_yx, cpu


def energy(task: Task, nnf_yx: np.ndarray) -> Energy:
    return evaluate(nnf_yx, task.example.style, task.guides, task.settings.patch, UNIFORMITY)


@dataclass(frozen=True)
class Against:
    """What a task is compared with, and how thoroughly."""

    reference: Path | None
    keep: Path | None
    repeats: int
    all_cores: bool


def compare(task: Task, against: Against) -> None:
    """One line: our time and energy, and how the reference's compare with them."""
    run_ours(task, 1)  # warm
    times = cpu_times(lambda: run_ours(task, 1), against.repeats)
    line = ""
    ours = energy(task, run_ours(task, 1).nnf_yx[0])
    if against.reference is not None:
        nnf_yx, cpu = reference_on_one_core(against.reference, task, against.keep)
        times += cpu_times(lambda: run_ours(task, 1), against.repeats)
        other = energy(task, nnf_yx)
        line += f" | {cpu / statistics.median(times):5.1f}x faster than {cpu:.1f} s on one core"
        line += f" | guide {ours.guide / other.guide:5.3f}, total {ours.total / other.total:5.3f} of the reference's"
    line = (
        f" | guide {ours.guide:10.4g} style {ours.style:8.4g} use {ours.uniformity:6.0f} total {ours.total:10.4g}"
        + line
    )
    if against.all_cores:
        cores = len(os.sched_getaffinity(0))
        every = timed(lambda: run_ours(task, cores), against.repeats, time.perf_counter)
        line += f" | {cores} cores {1e3 * every:6.0f} ms"
        if against.reference is not None:
            with tempfile.TemporaryDirectory() as folder:
                _, _, wall = run_reference(against.reference, task, Path(folder), None)
            line += f", {wall / every:5.1f}x faster"
    print(f"{task.name:42} {1e3 * statistics.median(times):7.0f} ms{line}", flush=True)


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
        # The best of several: on a machine that others share, the least disturbed run.
        spread = []
        for threads in sorted({1, 2, cores // 2, cores} - {0}):
            if threads > cores:
                continue
            wall = min(
                times_of(
                    lambda t=threads, p=patch: estimate([(0, 1)], frames, patch=p, threads=t),
                    2 * repeats,
                    time.perf_counter,
                )
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
    parser.add_argument("--keep", type=Path, help="folder for what the reference found, so that it runs once")
    parser.add_argument("--patches", type=int, nargs="*", default=[5, 11, 21], help="of the video pairs")
    parser.add_argument("--all-cores", action="store_true", help="run both on all cores, too")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["parts", "video", "generic", "more"], help="one section")
    options = parser.parse_args()
    print(f"instruction set {instruction_set()}, {len(os.sched_getaffinity(0))} cores, median of {options.repeats}")
    against = Against(options.reference, options.keep, options.repeats, options.all_cores)
    small, wide = video_pairs(512, 512), video_pairs(512, 960)
    if options.only in {None, "parts"}:
        for example in (small[0], wide[1]):
            show_parts(example, options.repeats)
    if options.only in {None, "video"}:
        pairs = [*small, *(pair for clip in options.clips for pair in clip_pairs(clip)), *wide]
        for patch, weight in ((5, 1.0), (11, 10.0), (21, 100.0)):
            if patch not in options.patches:
                continue
            for example in pairs:
                compare(video_task(example, patch, weight), against)
    if options.only in {None, "generic"}:
        for example in load_examples(options.examples) if options.examples else generic_examples():
            compare(generic_task(example), against)
    if options.only == "more":
        for example in more_examples():
            compare(generic_task(example), against)


if __name__ == "__main__":
    sys.exit(main())
