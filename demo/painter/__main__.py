"""Paints a clip into a folder: `python -m demo.painter clip/ --seed 7 --style photo --season summer --time day`.

Writes `clip.mp4` (H.264), `frames/00000.png …`, and with `--truth` also depth, lines, segmentation (PNG), flow and
occlusion (NPY).
"""

import argparse
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from demo.painter.clip import ClipFrame, paint_clip
from demo.painter.palette import SEASONS, TIMES
from demo.painter.scene import Scene
from demo.painter.styles import STYLES


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.painter", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--style", choices=STYLES, default="photo")
    parser.add_argument("--season", choices=SEASONS, default="summer")
    parser.add_argument("--time", choices=TIMES, default="day")
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--fps", type=int, default=12)
    parser.add_argument("--truth", action="store_true", help="write what is true about each frame, too")
    return parser.parse_args()


def write_truth(folder: Path, number: int, frame: ClipFrame) -> None:
    shades = {"depth": frame.depth * 255, "lines": frame.lines * 255, "segmentation": frame.segmentation}
    for name, values in shades.items():
        (folder / name).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name / f"{number:05d}.png"), np.rint(values).astype(np.uint8))
    for name, motion in (("flow", frame.flow), ("occlusion", frame.occlusion)):
        if motion is not None:
            (folder / name).mkdir(exist_ok=True)
            np.save(folder / name / f"{number:05d}.npy", motion)


def main() -> None:
    args = parse()
    (args.folder / "frames").mkdir(parents=True, exist_ok=True)
    scene, size = Scene.from_seed(args.seed), (args.width, args.height)
    clip = paint_clip(scene, args.style, args.season, args.time, frames=args.frames, size=size, start=args.start)
    with av.open(str(args.folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(args.fps), options={"crf": "14", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = args.width, args.height, "yuv420p"
        for number, frame in enumerate(clip):
            cv2.imwrite(str(args.folder / "frames" / f"{number:05d}.png"), frame.picture[..., ::-1])
            if args.truth:
                write_truth(args.folder, number, frame)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.picture, format="rgb24")))
        container.mux(stream.encode(None))
    print(f"{args.frames} frames of scene {args.seed} in {args.folder}")


if __name__ == "__main__":
    main()
