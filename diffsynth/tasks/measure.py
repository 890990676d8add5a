"""`measure`: how much clips flicker, and what they lost, against the clip that they were made from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from diffsynth import disk
from diffsynth.config import ClipPath
from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import check_pair
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.tasks.clip import ClipReader
from diffsynth.video.options import DEFAULT_IMAGE_FPS, Geometry, Selection

if TYPE_CHECKING:
    from diffsynth.metrics import Measured

RESULT = "metrics.json"


class MeasureConfig(Runnable):
    """Measure clips: flicker, warp error, sharpness, structure, colour drift and, where the truth is known, PSNR."""

    INPUT_KEY: ClassVar[str] = "source"

    task: Literal["measure"] = "measure"
    """Measure clips against the clip that they were made from."""
    source: ClipPath
    """The clip that the others were made from: its motion is what they are measured along."""
    clips: Annotated[dict[str, ClipPath], Field(min_length=1)]
    """Clips by the name that the table gives them. Sharpness is relative to the first: put the unsmoothed one there."""
    truth: ClipPath | None = None
    """What the clips should look like, if that is known."""
    frame_maximum_count: Annotated[int, Field(ge=1)] | None = None
    """The most frames to measure."""

    def inputs(self) -> dict[str, Path]:
        clips = {f"clips.{name}": path for name, path in self.clips.items()}
        return {"source": self.source, **clips, **({"truth": self.truth} if self.truth else {})}

    def predict(self) -> Prediction:
        clip = self._reader().open(next(iter(self.clips.values())))
        frames = clip.expected_count
        stores = len(self.inputs())
        disk = None if frames is None else frames * clip.height * clip.width * 3 * stores // 2
        return Prediction(frames, clip.height, clip.width, disk)

    def build(self, runtime: Runtime) -> Task:
        return Measure(self._reader(), tuple(self.clips))

    def _reader(self) -> ClipReader:
        return ClipReader(Selection(maximum_count=self.frame_maximum_count), Geometry(), DEFAULT_IMAGE_FPS)


@dataclass(frozen=True)
class Measure:
    """All clips to disk at the first one's size, then one pass over them."""

    reader: ClipReader
    names: tuple[str, ...]

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        from diffsynth.metrics import measure

        stores: dict[str, FrameStore] = {}
        first = f"clips.{self.names[0]}"
        reader = self.reader
        for key in (first, *(key for key in inputs if key != first)):
            _, stores[key] = reader.read(inputs[key], run, progress, name=key.replace("/", "_"))
            if key == first:
                # A stylized clip may be a crop of its source: bring the source to what was made of it.
                size = Geometry(stores[first].height, stores[first].width, "crop")
                reader = ClipReader(reader.selection, size, reader.image_rate)
            else:
                check_pair(stores[first], stores[key], (inputs[first], inputs[key]))
        if len(stores[first]) < 2:
            raise MediaError(f"{inputs[first]}: has one frame; flicker needs two.")
        clips = {name: stores[f"clips.{name}"] for name in self.names}
        with run.timed("measure"), progress.stage("measure", len(stores[first]) - 1) as stage:
            found = measure(
                stores["source"], clips, stores.get("truth"), lambda count: stage.advance(count - stage.done)
            )
        path = run.path / RESULT
        disk.write_json(path, as_json(found))
        for line in table(found):
            progress.note(line)
        return [path]


def as_json(found: "Mapping[str, Measured]") -> dict[str, Any]:
    """Numbers and curves by clip and metric, and what each metric means."""
    from diffsynth.metrics import METRICS

    metrics = {name: {"meaning": each.meaning, "better": each.better} for name, each in METRICS.items()}
    clips = {clip: {name: asdict(curve) for name, curve in each.curves.items()} for clip, each in found.items()}
    return {"metrics": metrics, "clips": clips}


def table(found: "Mapping[str, Measured]") -> list[str]:
    """One line a clip, one column a metric."""
    from diffsynth.metrics import METRICS

    names = list(next(iter(found.values())).curves)
    wide = max(len("clip"), *map(len, found)) + 2
    lines = ["clip".ljust(wide) + "".join(name.rjust(14) for name in names)]
    for clip, each in found.items():
        numbers = (each[name] for name in names)
        lines.append(clip.ljust(wide) + "".join(("–" if n is None else f"{n:.3f}").rjust(14) for n in numbers))
    arrows = ("↓ better" if METRICS[name].better == "lower" else "↑ better" for name in names)
    return [*lines, "".ljust(wide) + "".join(each.rjust(14) for each in arrows)]
