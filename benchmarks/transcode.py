"""Memory of a transcode: does it grow with the clip?

    python benchmarks/transcode.py [--frames 100 3000] [--size 1920x1080]

Draws one clip with sound by ffmpeg and runs the task `transcode` on its first frames, each length in a process of its
own. Prints each run's peak resident memory and the growth between the first and the last; exits with 1 if that is 50 MB
or more.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg

LIMIT_MB = 50
ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    arguments = parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        draw(clip, max(arguments.frames), arguments.size)
        peaks = [peak(folder, clip, frames) for frames in arguments.frames]
    growth = peaks[-1] - peaks[0]
    print(f"growth from {arguments.frames[0]} to {arguments.frames[-1]} frames: {growth:.1f} MB (limit {LIMIT_MB} MB)")
    return int(growth >= LIMIT_MB)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 3000], help="lengths to compare")
    parser.add_argument("--size", default="1920x1080", help="of the clip")
    return parser.parse_args()


def draw(path: Path, frames: int, size: str) -> None:
    """A moving test picture with some noise, so that it compresses like a real clip, and a tone."""
    pictures = f"testsrc2=size={size}:rate=25,noise=alls=6:allf=t"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-f", "lavfi", "-i", pictures]
    command += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-frames:v", str(frames), "-shortest"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)


def peak(folder: Path, clip: Path, frames: int) -> float:
    """Megabytes that `run_DiffSynth.py` holds at its largest."""
    config = folder / f"{frames}.json"
    tree = {"task": "transcode", "input_video": str(clip), "output_path": f"out-{frames}", "save_frames": False}
    config.write_text(json.dumps(tree | {"frame_maximum_count": frames}))
    process = subprocess.Popen([sys.executable, str(ROOT / "run_DiffSynth.py"), str(config), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the run on {frames} frames failed")
    record = json.loads((folder / f"out-{frames}" / "run.json").read_text())
    megabytes = usage.ru_maxrss / 1024
    print(f"{record['frames']:6d} frames: peak {megabytes:.1f} MB, seconds a stage {record['seconds']}", flush=True)
    return megabytes


if __name__ == "__main__":
    sys.exit(main())
