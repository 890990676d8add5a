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
from demo.painter.palette import SEASONS, TIMES, Season, Time
from demo.painter.scene import Scene
from demo.painter.styles import STYLES, Style


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


def paint(
    folder: Path,
    scene: Scene,
    style: Style,
    season: Season,
    time: Time,
    *,
    frames: int,
    size: tuple[int, int] = (256, 192),
    start: float = 0.0,
    rate: int = 12,
    truth: bool = False,
) -> None:
    """Paint a clip into a folder: the video, its pictures and, where wanted, what is true about them."""
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "14", "preset": "slow"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for number, frame in enumerate(paint_clip(scene, style, season, time, frames=frames, size=size, start=start)):
            cv2.imwrite(str(folder / "frames" / f"{number:05d}.png"), frame.picture[..., ::-1])
            if truth:
                write_truth(folder, number, frame)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.picture, format="rgb24")))
        container.mux(stream.encode(None))


def main() -> None:
    args = parse()
    paint(
        args.folder,
        Scene.from_seed(args.seed),
        args.style,
        args.season,
        args.time,
        frames=args.frames,
        size=(args.width, args.height),
        start=args.start,
        rate=args.fps,
        truth=args.truth,
    )
    print(f"{args.frames} frames of scene {args.seed} in {args.folder}")


if __name__ == "__main__":
    main()
