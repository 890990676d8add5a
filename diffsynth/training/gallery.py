"""Drawn videos on disk. A video that is there is finished; the others are drawn when the run goes on.

strips/00003.png            every frame, lossless, from left to right: written last, it says that the video is whole
videos/00003.mp4 …          to play
trajectories/00003/017.mp4  the video after the 18th step
grid.png                    the first videos, one row each
samples.json                what each video was told
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from diffsynth import disk
from diffsynth.images import read_image, write_png
from diffsynth.training.data.example import Pixels
from diffsynth.training.pictures import frames_of, grid, rgb, strip
from diffsynth.training.samples import LIST, STRIPS
from diffsynth.training.wishes import Wish
from diffsynth.video.options import Codec, VideoOptions
from diffsynth.video.write import write_video

VIDEOS, TRAJECTORIES, GRID = "videos", "trajectories", "grid.png"
GRID_ROWS = 20
CODECS: dict[str, Codec] = {"mp4": "h264", "gif": "gif"}


@dataclass(frozen=True)
class Gallery:
    """The folder of one run of `sample`."""

    path: Path
    formats: Sequence[str]
    fps: float
    enlarge: int = 1

    def holds(self, index: int) -> bool:
        return self._strip(index).is_file()

    def watch(self, wishes: Sequence[Wish], step: int, videos: Pixels) -> None:
        """Write what videos (B, F, H, W, C) look like after a step."""
        for wish, video in zip(wishes, videos, strict=True):
            self._write(self.path / TRAJECTORIES / f"{wish.index:05}" / f"{step:03}.mp4", video)

    def keep(self, index: int, video: Pixels) -> None:
        """(F, H, W, C): into all formats."""
        if self.holds(index):
            return
        for each in self.formats:
            if each in CODECS:
                self._write(self.path / VIDEOS / f"{index:05}.{each}", video)
        with disk.disk_errors(self.path):
            (self.path / STRIPS).mkdir(exist_ok=True)
        write_png(self._strip(index), strip(video))

    def finish(self, wishes: Sequence[Wish], classes: Sequence[str], frames: int) -> list[Path]:
        """The grid and the list; returns what the run made."""
        made = [self.path / STRIPS]
        if any(each in CODECS for each in self.formats):
            made.append(self.path / VIDEOS)
        if (self.path / TRAJECTORIES).is_dir():
            made.append(self.path / TRAJECTORIES)
        if "png" in self.formats:
            rows = [frames_of(read_image(self._strip(each.index))[0], frames, 3) for each in wishes[:GRID_ROWS]]
            write_png(self.path / GRID, grid(rows))
            made.append(self.path / GRID)
        entries = [self._entry(each, classes) for each in wishes]
        disk.write_json(self.path / LIST, {"frames": frames, "videos": entries})
        return [*made, self.path / LIST]

    def _entry(self, wish: Wish, classes: Sequence[str]) -> dict[str, Any]:
        entry: dict[str, Any] = {"index": wish.index, "strip": f"{STRIPS}/{wish.index:05}.png"}
        if wish.label is not None:
            entry["label"] = wish.label
            if wish.label < len(classes):
                entry["class"] = classes[wish.label]
        return entry if wish.prompt is None else {**entry, "prompt": wish.prompt}

    def _strip(self, index: int) -> Path:
        return self.path / STRIPS / f"{index:05}.png"

    def _write(self, path: Path, video: Pixels) -> None:
        large = rgb(video).repeat(self.enlarge, axis=1).repeat(self.enlarge, axis=2)
        options = VideoOptions(CODECS[path.suffix[1:]], audio=False)
        write_video(path, list(large), fps=Fraction(self.fps).limit_denominator(1000), options=options)
