"""`evaluate`: drawn videos measured against clips of a data set."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from diffsynth import disk
from diffsynth.config import Contradiction, ExistingPath, OptionalPath
from diffsynth.errors import MediaError
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.training.data import DatasetConfig
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.data.moving_shapes import MovingShapesConfig

if TYPE_CHECKING:
    from diffsynth.training.samples import Listed

RESULT = "evaluation.json"
NEED_TWO = ("frechet_random_conv3d", "fvd")
"""The metrics that compare how videos are spread."""
OF_SHAPES = ("shape_accuracy", "moving_shapes")
MetricName = Literal[
    "frechet_random_conv3d",
    "fvd",
    "digit_accuracy",
    "shape_accuracy",
    "moving_shapes",
    "motion_histogram",
    "nearest_clip",
]


class EvaluateConfig(Runnable):
    """Measure drawn videos against the clips that they should be like."""

    USES_DEVICE: ClassVar[bool] = True
    INPUT_KEY: ClassVar[str | None] = None

    task: Literal["evaluate"] = "evaluate"
    """Measure drawn videos against the clips that they should be like."""
    samples: ExistingPath
    """The folder of a run of `sample`, or any folder of videos."""
    dataset: DatasetConfig = MovingDigitsConfig()
    """The clips to measure against. Samples must have their size and number of frames."""
    metrics: Annotated[tuple[MetricName, ...], Field(strict=False, min_length=1)] = (
        "frechet_random_conv3d",
        "motion_histogram",
        "nearest_clip",
    )
    """What to measure. `fvd` needs `i3d`; `digit_accuracy` is for `moving_digits`, `shape_accuracy` and `moving_shapes`
    for `moving_shapes` in colour."""
    num_samples: Annotated[int, Field(ge=2)] | None = None
    """The most samples to measure, from the first on; left out, all."""
    num_reference: Annotated[int, Field(ge=4, le=1_000_000)] = 1000
    """Clips of the data set to measure against; half as many more say how near clips are by chance."""
    i3d: OptionalPath = None
    """For `fvd`: the I3D network as a TorchScript file. Which one it is, is recorded by its SHA-256. Such a file is a
    program that torch runs: use none that you don't trust."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Which clips are taken, and where in them."""

    def contradictions(self) -> Iterator[Contradiction]:
        if "fvd" in self.metrics and self.i3d is None:
            yield Contradiction(
                ("metrics", "i3d"),
                '"metrics" names "fvd", but "i3d" names no network, and none comes with diffsynth or is fetched: FVD '
                'is the distance by one certain I3D. Give its TorchScript file as "i3d", or use '
                '"frechet_random_conv3d", which needs none.',
            )
        if self.dataset.latents is not None:
            yield Contradiction(
                ("dataset",), '"dataset.latents" is for "train": frames are measured here. Leave it out.'
            )
        if self.i3d is not None and "fvd" not in self.metrics:
            yield Contradiction(("metrics", "i3d"), '"i3d" is given, but "metrics" doesn\'t name "fvd".')
        if "motion_histogram" in self.metrics and self.dataset.frames < 2:
            yield Contradiction(
                ("metrics", "dataset"),
                '"motion_histogram" needs videos of 2 frames at least, and "dataset.frames" is 1.',
            )
        if "digit_accuracy" in self.metrics and not isinstance(self.dataset, MovingDigitsConfig):
            yield Contradiction(
                ("metrics", "dataset"),
                '"digit_accuracy" tells drawn digits: it is for "dataset": "moving_digits" only.',
            )
        coloured = isinstance(self.dataset, MovingShapesConfig) and self.dataset.frame_channels == 3
        for name in OF_SHAPES:
            if name in self.metrics and not coloured:
                yield Contradiction(
                    ("metrics", "dataset"),
                    f'"{name}" tells coloured shapes: it is for "dataset": "moving_shapes" with 3 "frame_channels".',
                )

    def inputs(self) -> dict[str, Path]:
        from diffsynth.training.samples import source_of

        local = {} if self.i3d is None else {"i3d": self.i3d}
        return {"samples": source_of(self.samples), **local}

    def predict(self) -> Prediction:
        found = self.chosen()
        height, width = self.dataset.size
        return Prediction(len(found) * self.dataset.frames, height, width, None, remarks=(f"{len(found)} samples.",))

    def chosen(self) -> "list[Listed]":
        """The samples to measure."""
        from diffsynth.training.samples import listed_samples

        found = listed_samples(self.samples)[: self.num_samples]
        of_clouds = [name for name in self.metrics if name in NEED_TWO]
        if len(found) < 2 and of_clouds:
            raise MediaError(
                f'{self.samples}: holds one video; "{of_clouds[0]}" needs two at least. Draw more, or leave it out.'
            )
        return found

    def build(self, runtime: Runtime) -> Task:
        return Evaluate(self, runtime)


@dataclass(frozen=True)
class Evaluate:
    """Each metric over the samples and the clips."""

    config: EvaluateConfig
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        from diffsynth.metrics.generated import Compared, measured
        from diffsynth.training.samples import read_reference, read_samples

        config = self.config
        samples, clips, count = config.chosen(), config.dataset.build(), config.num_reference
        reference = read_reference(clips, count + count // 2, config.seed, progress)
        videos, labels = read_samples(samples, config.dataset), [each.label for each in samples]
        compared = Compared(videos, labels, reference[:count], reference[count:], clips.classes)
        found: dict[str, Any] = {"samples": len(samples), "reference": count, "held_back": count // 2}
        with progress.stage("measure", len(config.metrics), unit="metrics") as stage:
            for name in config.metrics:
                with run.timed(name):
                    found[name] = measured(name, compared, config.seed, config.i3d, self.runtime)
                progress.note(f"{name}: {_line(found[name])}")
                stage.advance()
        path = run.path / RESULT
        disk.write_json(path, found)
        return [path]


def _line(values: Mapping[str, Any]) -> str:
    numbers = {key: each for key, each in values.items() if isinstance(each, int | float)}
    return ", ".join(f"{key} {each:.4g}" for key, each in numbers.items())
