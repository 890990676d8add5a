"""`transcode`: a clip in, the same clip out at another size, rate, range or codec. The chain without a network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.tasks.base import Task
from diffsynth.tasks.clip import ClipReader, ClipTaskConfig, ClipWriter


class TranscodeConfig(ClipTaskConfig):
    """Cut, resize and re-encode a clip."""

    task: Literal["transcode"] = "transcode"
    """Cut, resize and re-encode a clip."""

    def build(self, runtime: Runtime) -> Task:
        return Transcode(self.reader(), self.writer())


@dataclass(frozen=True)
class Transcode:
    """Frames to disk, and from there into a video: the first and the last stage of every task."""

    reader: ClipReader
    writer: ClipWriter

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        clip, store = self.reader.read(inputs["input_video"], run, progress)
        return self.writer.write(clip, store, run, progress)
