"""`capture_frames`: a tenth of all frames of a data set as pictures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from diffsynth import disk
from diffsynth.config import Contradiction
from diffsynth.errors import MediaError
from diffsynth.images import write_png
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime, numpy_generator
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.training.data import DatasetConfig
from diffsynth.training.data.example import ClipSet, Unusable
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.data.whole import Whole, chance_taken, require_same, whole
from diffsynth.training.pictures import rgb

FRAMES = "frames"
DONE = "captured.txt"


class CaptureFramesConfig(Runnable):
    """Write some of the frames of a data set as PNG, for an autoencoder to learn from."""

    INPUT_KEY: ClassVar[str | None] = None

    task: Literal["capture_frames"] = "capture_frames"
    """Write some of the frames of a data set as PNG, for an autoencoder to learn from."""
    dataset: DatasetConfig = MovingDigitsConfig()
    """The clips; `filter` says which of them. Frames are written at `size`."""
    share: Annotated[float, Field(gt=0, le=1, strict=False)] = 0.1
    """How many of all frames."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Which ones: whether a frame is taken hangs on the seed, its clip's name and its number alone."""

    def contradictions(self) -> Iterator[Contradiction]:
        yield from chance_taken(self.dataset)
        if self.dataset.latents is not None:
            yield Contradiction(("dataset",), '"dataset.latents" is for "train": frames are needed here. Leave it out.')

    def inputs(self) -> dict[str, Path]:
        return {}

    def predict(self) -> Prediction:
        height, width = self.dataset.size
        clips = self.dataset.build()
        remarks = (f"{len(clips)} clips, about {100 * self.share:.3g} % of their frames.", *clips.remarks)
        return Prediction(None, height, width, None, remarks=remarks)

    def build(self, runtime: Runtime) -> Task:
        return CaptureFrames(self, self.dataset.build())


@dataclass(frozen=True)
class CaptureFrames:
    """One clip after the other; a clip that stands in the list is finished."""

    config: CaptureFramesConfig
    clips: ClipSet

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        folder, listing = run.path / FRAMES, run.work(DONE)
        require_same(run, self.clips)
        for remark in self.clips.remarks:
            progress.note(remark)
        done = _finished(listing)
        with disk.disk_errors(listing):
            disk.write_aside(listing, "".join(f"{each}\n" for each in sorted(done)).encode())
        with disk.disk_errors(folder):
            folder.mkdir(exist_ok=True)
        with run.timed("capture"), progress.stage("capture", len(self.clips), len(done), unit="clips") as stage:
            for number in range(len(self.clips)):
                if number in done:
                    continue
                try:
                    self._capture(whole(self.clips, number), folder)
                except Unusable as problem:
                    progress.note(f"{problem.trouble.path}: passed over: {problem.trouble.reason}.")
                with disk.disk_errors(listing), listing.open("a", encoding="utf-8") as file:
                    file.write(f"{number}\n")
                stage.advance()
        count = sum(1 for _ in folder.iterdir())
        if not count:
            raise MediaError(
                f'No frame was taken of {len(self.clips)} clips. Raise "share", which is {self.config.share}.'
            )
        run.note(frames=count)
        return [folder]

    def _capture(self, clip: Whole, folder: Path) -> None:
        chance = numpy_generator(self.config.seed, "capture", clip.name)
        for number, frame in enumerate(clip.frames()):
            if chance.random() < self.config.share:
                write_png(folder / f"{clip.stem}_{number:06}.png", rgb(frame))


def _finished(listing: Path) -> frozenset[int]:
    """A line that a kill cut off doesn't count."""
    if not listing.is_file():
        return frozenset()
    lines = listing.read_text(encoding="utf-8").splitlines(keepends=True)
    return frozenset(int(line) for line in lines if line.endswith("\n"))
