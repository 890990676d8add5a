"""Memory of a transcode: does it grow with the clip?

    python benchmarks/transcode.py [--frames 100 3000] [--size 1920x1080]

Draws a clip with sound by ffmpeg, then reads it into a frame store and writes it as H.264, each length in a process of
its own. Prints each run's peak resident memory and the growth between the first and the last; exits with 1 if that is
50 MB or more.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg

LIMIT_MB = 50


def main() -> None:
    arguments = parse()
    if arguments.run is not None:
        run(Path(arguments.run), arguments.frames[0], Path(arguments.work))
        return
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        draw(clip, max(arguments.frames), arguments.size)
        peaks = []
        for frames in arguments.frames:
            command = [
                sys.executable,
                __file__,
                "--run",
                str(clip),
                "--frames",
                str(frames),
                "--work",
                str(folder / "work"),
            ]
            result = subprocess.run(
                command, check=True, capture_output=True, text=True, cwd=root, env=environment(root)
            )
            peaks.append(float(result.stdout.split()[0]))
            print(f"{frames:6d} frames of {arguments.size}: peak {result.stdout.strip()}", flush=True)
    growth = peaks[-1] - peaks[0]
    print(
        f"growth between {arguments.frames[0]} and {arguments.frames[-1]} frames: {growth:.1f} MB (limit {LIMIT_MB} MB)"
    )
    if growth >= LIMIT_MB:
        sys.exit(1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 3000], help="lengths to compare")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


def environment(root: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root)}


def draw(path: Path, frames: int, size: str) -> None:
    """Moving colours under a little noise: plain test pictures would compress to nothing."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    picture = f"testsrc2=size={size}:rate=25,noise=alls=6:allf=t"
    sound = f"sine=frequency=440:sample_rate=48000:duration={frames / 25}"
    command = [ffmpeg, "-v", "error", "-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    command += ["-frames:v", str(frames), "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, "-c:a", "aac", str(path)], check=True)


def run(clip_path: Path, frames: int, work: Path) -> None:
    from diffsynth.video.clip import open_clip
    from diffsynth.video.ingest import ingest
    from diffsynth.video.options import Selection, VideoOptions
    from diffsynth.video.write import write_video

    start = time.process_time()
    clip = open_clip(clip_path, Selection(maximum_count=frames))
    store = ingest(clip, work / "store")
    read = time.process_time()
    timing = store.timing
    if timing is None:
        raise SystemExit("the store has no time stamps")
    # The encoder's speed is not the question here.
    options = VideoOptions(preset="ultrafast")
    audio = clip.audio_range(timing)
    written = write_video(work / "out.mp4", store, fps=clip.fps, timing=timing, options=options, audio=audio)
    end = time.process_time()
    size = sum(file.stat().st_size for file in store.path.iterdir()) / frames / 1e6
    store.delete()
    if written.frame_count != frames:
        raise SystemExit(f"{written.frame_count} frames were written instead of {frames}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{peak:.1f} MB; CPU {1000 * (read - start) / frames:.0f} ms a frame to read and store, "
        f"{1000 * (end - read) / frames:.0f} ms to load and write; {size:.2f} MB a frame on disk"
    )


if __name__ == "__main__":
    main()
