"""`smooth`: a guide clip and a styled clip of the same frames that flickers; a steady one comes out."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from diffsynth.config import ClipPath, Respelled, select
from diffsynth.frames import FrameStore
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.smoothers import SmootherConfig, SmootherName
from diffsynth.smoothers.base import Frames, Smoother, check_pair, smooth_into
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig
from diffsynth.smoothers.matching import Matcher
from diffsynth.smoothers.repair import Repaired
from diffsynth.smoothers.window_smoother import native_matching
from diffsynth.tasks.base import Prediction, Task
from diffsynth.tasks.clip import ClipReader, ClipWriter, FramesTaskConfig
from diffsynth.tasks.stills import OnError, ReadClip, read_clip


class SmoothConfig(FramesTaskConfig):
    """Take the flicker out of a styled clip, led by the clip that it was made from."""

    INPUT_KEY: ClassVar[str] = "style_video"

    task: Literal["smooth"] = "smooth"
    """Take the flicker out of a styled clip."""
    guide_video: ClipPath
    """The clip that the styled one was made from: a video, a folder of numbered images, or a glob of images."""
    style_video: ClipPath
    """The styled clip: the same frames at the same size."""
    smoother: SmootherName = "FastBlendSmoother"
    """What takes the flicker out."""
    smoother_config: SmootherConfig = FastBlendSmootherConfig()
    """Settings of the smoother."""
    on_error: OnError = "stop"
    """What to do about an image that is missing or can't be read: `stop`, or `skip` and fill it from its neighbours."""

    @classmethod
    def respell(cls, tree: dict[str, Any]) -> Respelled:
        respelled = Respelled(dict(tree))
        respelled.tree.setdefault("smoother", "FastBlendSmoother")
        select(respelled, "smoother", "smoother_config", get_args(SmootherName))
        return respelled

    def main_clip(self) -> Path:
        return self.style_video

    def inputs(self) -> dict[str, Path]:
        return {"guide_video": self.guide_video, "style_video": self.style_video}

    def predict(self) -> Prediction:
        plain = super().predict()
        if plain.frames is None or plain.disk_bytes is None:
            return plain
        # Guide, style, tables and result lie side by side for a while, each at about half its raw size.
        stores = 2 * plain.frames * plain.height * plain.width * 3
        return replace(plain, disk_bytes=plain.disk_bytes + stores)

    def build(self, runtime: Runtime) -> Task:
        return Smooth(self.reader(), self.writer(), self.smoother_config.build(runtime), self.on_error, runtime)


@dataclass(frozen=True)
class Smooth:
    """Both clips to disk, the smoother over them, and the result into a video with the styled clip's sound."""

    reader: ClipReader
    writer: ClipWriter
    smoother: Smoother
    on_error: OnError
    runtime: Runtime = field(default_factory=Runtime)

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        guide, _ = read_clip(self.reader, inputs["guide_video"], run, progress, "guide", self.on_error)
        styled, clip = read_clip(self.reader, inputs["style_video"], run, progress, "style", self.on_error)
        check_pair(guide.store, styled.store, (inputs["guide_video"], inputs["style_video"]))
        style = self._repaired(guide.store, styled)
        with run.timed("smooth"):
            prepared = self.smoother.prepare(guide.store, progress)
            result = smooth_into(prepared, style, styled.store, run.work("smoothed"), run.work("tables"), progress)
        shutil.rmtree(run.work("tables"), ignore_errors=True)
        return self.writer.write(clip, result, run, progress)

    def _repaired(self, guide: FrameStore, styled: ReadClip) -> Frames:
        if not styled.lost:
            return styled.store
        matching = native_matching(self.runtime, patch=5)
        matcher = Matcher(guide, matching.engine, matching.fingerprint, None)
        return Repaired(styled.store, styled.lost, matcher, matching.vote)
