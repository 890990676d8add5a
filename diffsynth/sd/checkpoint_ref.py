"""Where a checkpoint is, and how it is to be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diffsynth.config.fields import local_path
from diffsynth.sd.folders import Settings

PredictionName = Literal["auto", "epsilon", "v_prediction"]
SpacingName = Literal["auto", "leading", "trailing", "linspace"]


@dataclass(frozen=True)
class CheckpointRef:
    """What a config says about where a checkpoint is and how it is to be read."""

    reference: str
    config: str | None = None
    """Where a single file's settings and vocabulary are."""
    prediction: PredictionName = "auto"
    spacing: SpacingName = "auto"
    revision: str | None = None
    variant: str | None = None

    @property
    def local(self) -> Path | None:
        return local_path(self.reference)

    @property
    def is_file(self) -> bool:
        return self.local is not None and self.local.is_file()

    def scheduler(self, settings: Settings) -> Settings:
        """The checkpoint's scheduler settings, with what the config says instead."""
        said = {"prediction_type": self.prediction, "timestep_spacing": self.spacing}
        return {**settings, **{key: value for key, value in said.items() if value != "auto"}}
