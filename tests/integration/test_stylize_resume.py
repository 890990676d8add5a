"""A stylization that dies at any moment goes on, and ends in the same bytes as one that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crashing import Blow, clear, operations, results, run, server
from stylizing import Bench

from diffsynth.images import write_png

ROOT = Path(__file__).parents[2]
KILLS = 10


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    return server()


def twice(bench: Bench) -> str:
    """A mask for a clip that stands still in one place, which is laid beside it."""
    shutil.copytree(bench.folder / "clip", bench.folder / "twice")
    shutil.copy(bench.folder / "twice" / "000.png", bench.folder / "twice" / "001.png")
    mask = np.zeros((50, 67, 3), np.uint8)
    mask[:, 30:] = 255
    (bench.folder / "masks").mkdir()
    for position in range(len(bench.frames)):
        write_png(bench.folder / "masks" / f"{position}.png", np.roll(mask, position, 1))
    return str(bench.folder / "masks")


class Job:
    """A config in a folder of its own, with what it gives when nothing disturbs it."""

    def __init__(self, bench: Bench, context: ForkServerContext, name: str, **keys: Any) -> None:
        self.context = context
        self.output, self.cache = bench.folder / name, bench.folder / f"{name}-cache"
        self.config = bench.folder / f"{name}.json"
        nets = [
            {"model_id": str(bench.folder / "plain_net"), "processor": "canny", "scale": 0.8},
            {"model_id": str(bench.folder / "pooled_net"), "condition": str(bench.folder / "reference.png")},
        ]
        if name == "kept":
            keys |= {"mask": twice(bench), "keyframes": {"2": str(bench.folder / "reference.png")}}
            keys |= {"input_video": str(bench.folder / "twice")}
        every = {
            "controlnets": nets,
            "combine_pattern": ["reference_0", -1, 0, 1],
            "frames_reference": [str(bench.folder / "reference.png")],
            "smoother": "FastBlendSmoother",
            "smoother_interval": 2,
            "post_smoother": "PySynthSmoother",
            "chunk_size": 2,
            "halo": 1,
        }
        self.config.write_text(json.dumps(bench.tree(name, **{**every, **keys})))
        assert self.run() == 0
        self.expected = results(self.output)
        self.reset()

    def run(self, blow: Blow | None = None) -> int:
        return run(self.context, [str(self.config)], self.cache, blow)

    def limited(self, largest: int) -> tuple[int, str]:
        """The exit code and what was said where no file may grow beyond `largest` bytes."""
        said = self.output.with_name("said")
        code = run(self.context, [str(self.config)], self.cache, largest=largest, said=said)
        return code, said.read_text()

    def reset(self) -> None:
        clear(self.output, self.cache)

    def continued(self) -> None:
        """Run to the end, and compare."""
        assert self.run() == 0
        assert results(self.output) == self.expected
        self.reset()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), count=5, height=50, width=67)


class Jobs:
    """Made when first asked for."""

    def __init__(self, bench: Bench, context: ForkServerContext) -> None:
        self.made: dict[str, Job] = {}
        self.bench, self.context = bench, context

    def __getitem__(self, name: str) -> Job:
        if name not in self.made:
            self.made[name] = Job(self.bench, self.context, name, **KEYS[name])
        return self.made[name]


KEYS: dict[str, dict[str, Any]] = {
    "noise": {},
    "still": {"img2img_strength": 0.6, "num_inference_steps": 5, "attention_mode": "window"},
    "kept": {
        "noise": "warped",
        "feature_cache": 2,
        "skip_still": 0,
        "guidance_scale": {"0": 2.0, "4": 9.0},
        "frame_height": 48,
        "frame_width": 61,
    },
}


@pytest.fixture(scope="module")
def jobs(bench: Bench, context: ForkServerContext) -> Jobs:
    return Jobs(bench, context)


ORDINARY = [
    ("noise", r"/embedded-0/", 6),
    ("noise", r"/latents/001/", 6),
    ("noise", r"/edit-002/smoothed/append", 3),
    ("noise", r"/rendered/append", 3),
    ("kept", r"/features/00", 3),
    ("kept", r"/restored/append", 2),
]
MORE = [
    ("noise", r"/sized/", 4),
    ("noise", r"/latents/000/", 3),
    ("noise", r"/edit-000/styled/append", 4),
    ("noise", r"/latents/003/.*commit", 1),
    ("noise", r"/latents/00[0-3]$", 5),
    ("noise", r"/finished/append", 2),
    ("still", r"-cache/.*/latents/", 5),
    ("still", r"/latents/002/", 4),
    ("kept", r"/mask/append", 3),
    ("kept", r"shown\.json", 1),
    ("kept", r"/differing/append", 2),
    ("kept", r"/differing-sized/append", 2),
    ("kept", r"/noise/.*commit", 3),
    ("kept", r"/painted/.*commit", 1),
    ("kept", r"-cache/.*/latents/", 5),
    ("kept", r"/features/00", 9),
    ("kept", r"/repeated/append", 3),
]


@pytest.mark.parametrize(("name", "pattern", "number"), ORDINARY)
def test_killed_in_a_stage(jobs: Jobs, name: str, pattern: str, number: int) -> None:
    assert jobs[name].run(Blow(pattern, number)) == -signal.SIGKILL
    jobs[name].continued()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pattern", "number"), MORE)
def test_killed_in_any_other_stage(jobs: Jobs, name: str, pattern: str, number: int) -> None:
    assert jobs[name].run(Blow(pattern, number)) == -signal.SIGKILL
    jobs[name].continued()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noise", "still", "kept"])
def test_killed_at_ten_random_moments_of_one_run(jobs: Jobs, name: str) -> None:
    job, chance = jobs[name], random.Random(7)
    count = operations(job.context, [str(job.config)], job.cache, f"/{name}")
    job.reset()
    fallen = 0
    while fallen < KILLS:
        code = job.run(Blow(f"/{name}", chance.randrange(20, count // 3)))
        assert code in (0, -signal.SIGKILL)
        if code == 0:
            assert results(job.output) == job.expected
            job.reset()
        fallen += code != 0
    job.continued()


def started(config: Path, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "run_DiffSynth.py", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIFFSYNTH_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # the other runs have one core too: more threads would round differently
    try:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_signals_stop_the_program_itself(jobs: Jobs, kind: signal.Signals, code: int) -> None:
    job = jobs["noise"]
    process = started(job.config, job.cache)
    while not (job.output / ".work" / "latents" / "001").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(kind)
    _, words = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in words
    if kind != signal.SIGKILL:
        assert "the same command continues" in words
        assert json.loads((job.output / "run.json").read_text())["state"] == "stopped"
    job.continued()


def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(jobs: Jobs) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses the write in the same way."""
    job = jobs["noise"]
    latents = 5 * 4 * 6 * 8 * 4
    code, words = job.limited(latents - 100)
    assert code == 2
    assert "cannot be written" in words
    assert "free space" in words
    assert "Traceback" not in words
    job.continued()
