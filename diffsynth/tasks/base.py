"""What the runner and a task say to each other."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from diffsynth.config import TaskConfig
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime


@dataclass(frozen=True)
class Prediction:
    """What a run will need, said before anything heavy is loaded."""

    frames: int | None
    """Frames of the output; None where only decoding the whole clip would tell."""
    height: int
    width: int
    disk_bytes: int | None
    """About the most that the run folder holds at a time; None where the number of frames is unknown."""
    memory_bytes: int | None = None
    """The device memory that a run can't do without; None where nothing tells it."""
    downloads: tuple[str, ...] = ()
    """Models that are not on this machine yet."""
    remarks: tuple[str, ...] = ()
    """Anything else worth knowing before a start."""


class Task(Protocol):
    """A task with its models loaded; it serves many clips, one after the other."""

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        """Do the work in the run's folder, continuing where an earlier run stopped; returns the files made.

        `inputs` are named as by `Runnable.inputs`; a run of many clips passes others than the config's own.
        """
        ...


class Runnable(TaskConfig, ABC):
    """A task's config with its bridges to code."""

    USES_DEVICE: ClassVar[bool] = False
    """Whether `--device` makes a difference."""
    INPUT_KEY: ClassVar[str | None] = "input_video"
    """The key that `--input` of the command line replaces; None where a task reads no clip."""
    DISTRIBUTED: ClassVar[bool] = False
    """Whether the processes that torchrun starts share the work."""

    @abstractmethod
    def inputs(self) -> dict[str, Path]:
        """The files that the result depends on, by the key that names them."""

    def prepare(self, runtime: Runtime) -> None:
        """Make the inputs that are no files of the user. It comes before the run's folder is claimed."""

    @abstractmethod
    def predict(self) -> Prediction:
        """What a run will need. Imports no torch and reads no more of a clip than its header."""

    @abstractmethod
    def build(self, runtime: Runtime) -> Task:
        """Load what the task needs."""
