"""How much memory a whole stylization takes at its widest, for clips of different length.

    python benchmarks/stylize_memory.py [--frames 16 512]

Each clip is stylized in a process of its own, by random networks of tiny size: two ControlNets, smoothing in the first
step and afterwards, 48×64 pixels. Prints the peak of the resident memory in MB; what grows with the clip would show.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from stylizing import Bench  # noqa: E402

from diffsynth.cli import main as diffsynth  # noqa: E402

MEGABYTE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 512])
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone is not None:
        print(alone(options.alone))
        return
    with tempfile.TemporaryDirectory(prefix="diffsynth-") as folder:
        peaks = {count: peak(Path(folder) / str(count), count) for count in options.frames}
    for count, found in peaks.items():
        print(f"{count:6} frames   {found / MEGABYTE:7.1f} MB")
    print(f"difference      {(max(peaks.values()) - min(peaks.values())) / MEGABYTE:7.1f} MB")


def peak(folder: Path, count: int) -> int:
    """Bytes, of a process that stylizes `count` frames."""
    bench = Bench.make(folder / "bench", count)
    nets = [
        {"model_id": str(bench.folder / "plain_net"), "processor": "canny"},
        {"model_id": str(bench.folder / "pooled_net"), "condition": str(bench.folder / "reference.png")},
    ]
    smoother = {"smoother": "FastBlendSmoother", "smoother_interval": 2, "post_smoother": "FastBlendSmoother"}
    keys = {"controlnets": nets, "chunk_size": 8, "num_inference_steps": 3, "img2img_strength": 0.7, **smoother}
    path = folder / "config.json"
    path.write_text(json.dumps(bench.tree(**keys)))
    environment = {**os.environ, "DIFFSYNTH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--alone", str(path)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return int(done.stdout)


def alone(config: str) -> int:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    assert diffsynth(["run", config, "--quiet"]) == 0
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
