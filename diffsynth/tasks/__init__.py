"""Tasks: what a config's `"task"` may be. One file each; to add one is to add a file and a line here."""

from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.tasks.capture_frames import CaptureFramesConfig
from diffsynth.tasks.evaluate import EvaluateConfig
from diffsynth.tasks.interpolate import InterpolateConfig
from diffsynth.tasks.measure import MeasureConfig
from diffsynth.tasks.sample import SampleConfig
from diffsynth.tasks.save_latents import SaveLatentsConfig
from diffsynth.tasks.smooth import SmoothConfig
from diffsynth.tasks.stylize import StylizeConfig
from diffsynth.tasks.train import TrainConfig
from diffsynth.tasks.train_vae import TrainVaeConfig
from diffsynth.tasks.transcode import TranscodeConfig

DEFAULT_TASK = "stylize"
"""The seed knew one task, and its configs don't name it."""

TASKS: dict[str, type[Runnable]] = {
    "stylize": StylizeConfig,
    "smooth": SmoothConfig,
    "interpolate": InterpolateConfig,
    "measure": MeasureConfig,
    "transcode": TranscodeConfig,
    "train": TrainConfig,
    "sample": SampleConfig,
    "evaluate": EvaluateConfig,
    "train_vae": TrainVaeConfig,
    "capture_frames": CaptureFramesConfig,
    "save_latents": SaveLatentsConfig,
}

__all__ = ["DEFAULT_TASK", "TASKS", "Prediction", "Runnable", "Task"]
