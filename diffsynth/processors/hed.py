"""`ControlnetImageProcesserHED`: soft edges found by the HED network."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class ControlnetImageProcessorHEDConfig(ConfigModel):
    """Soft edges found by the HED network."""

    type: Literal["ControlnetImageProcesserHED"] = Field(default="ControlnetImageProcesserHED", exclude=True)
