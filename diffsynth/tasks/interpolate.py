"""`interpolate`: a guide clip and a few painted key frames; every frame painted comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import WithJsonSchema

from diffsynth.config import ClipPath, ExistingPath
from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore, Image, is_complete
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import append_like, writer_like
from diffsynth.smoothers.interpolation import InterpolationConfig, Interpolator
from diffsynth.tasks.base import Task
from diffsynth.tasks.clip import ClipReader, ClipWriter, FramesTaskConfig
from diffsynth.tasks.keyframes import keyframes
from diffsynth.tasks.stills import OnError, read_clip
from diffsynth.video.options import Selection

Keyframes = Annotated[
    ExistingPath | dict[str, ExistingPath],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "path", "minLength": 1},
                {"type": "object", "additionalProperties": {"type": "string", "format": "path"}, "minProperties": 1},
            ]
        }
    ),
]


class InterpolateConfig(FramesTaskConfig):
    """Paint every frame of a clip from a few painted key frames."""

    INPUT_KEY: ClassVar[str] = "guide_video"

    task: Literal["interpolate"] = "interpolate"
    """Paint every frame of a clip from a few painted key frames."""
    guide_video: ClipPath
    """The clip: a video, a folder of numbered images, or a glob of images."""
    keyframes: Keyframes
    """The painted frames: a folder of pictures that are named by the frame's number or file name, one such picture, or
    `{"0": "a.png", "24": "b.png"}`."""
    smoother_config: InterpolationConfig = InterpolationConfig()
    """How frames are painted in between."""
    on_error: OnError = "stop"
    """What to do about an image that is missing or can't be read: `stop`, or `skip`: a frame of the clip is filled from
    its neighbours, and a key frame left out."""

    def main_clip(self) -> Path:
        return self.guide_video

    def inputs(self) -> dict[str, Path]:
        if isinstance(self.keyframes, Path):
            return {"guide_video": self.guide_video, "keyframes": self.keyframes}
        return {
            "guide_video": self.guide_video,
            **{f"keyframes.{name}": path for name, path in self.keyframes.items()},
        }

    def build(self, runtime: Runtime) -> Task:
        return Interpolate(self.reader(), self.writer(), self.smoother_config.build(runtime), self.on_error)


@dataclass(frozen=True)
class Interpolate:
    """The guide to disk, the key frames at its size, every frame painted, and the result into a video."""

    reader: ClipReader
    writer: ClipWriter
    interpolator: Interpolator
    on_error: OnError

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        source = inputs["guide_video"]
        read, clip = read_clip(self.reader, source, run, progress, "guide", self.on_error)
        guide = read.store
        named = {key.removeprefix("keyframes."): path for key, path in inputs.items() if key.startswith("keyframes.")}
        keys = self._readable(keyframes(named or inputs["keyframes"], read.names, len(guide)), guide, progress)
        with run.timed("interpolate"):
            store = self._fill(guide, keys, run.work("painted"), progress)
        return self.writer.write(clip, store, run, progress)

    def _readable(self, keys: Mapping[int, Path], guide: FrameStore, progress: Progress) -> dict[int, Path]:
        """The key frames that can be used; every one is read once, before the work begins."""
        good: dict[int, Path] = {}
        for number, path in keys.items():
            try:
                self._painted(path, guide)
                good[number] = path
            except MediaError as error:
                if self.on_error == "stop" or (number == max(keys) and not good):
                    raise
                progress.note(f"{error} Left out.")
        return good

    def _fill(self, guide: FrameStore, keys: Mapping[int, Path], path: Path, progress: Progress) -> FrameStore:
        if is_complete(path):
            return FrameStore(path)
        with writer_like(guide, path) as writer, progress.stage("interpolate", len(guide), writer.count) as stage:
            painted = self.interpolator.frames(
                guide, list(keys), lambda number: self._painted(keys[number], guide), writer.count
            )
            for image in painted:
                append_like(writer, image, guide)
                stage.advance()
            return writer.finish()

    def _painted(self, path: Path, guide: FrameStore) -> Image:
        """A key frame brought to size in the way of the clip's frames."""
        reader = replace(self.reader, selection=Selection())
        image = next(reader.open(path).frames()).rgb
        if image.shape[:2] != (guide.height, guide.width):
            raise MediaError(
                f"{path}: is {image.shape[1]}×{image.shape[0]}, but the clip's frames are {guide.width}×{guide.height}."
                ' Paint key frames at the size of the clip, or set "frame_width" and "frame_height".'
            )
        return image
