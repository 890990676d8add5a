"""`ControlnetImageProcesserShuffle`: the style image, its content shuffled so that only its look is left."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class ControlnetImageProcessorShuffleConfig(ConfigModel):
    """The style image, its content shuffled so that only its look is left."""

    type: Literal["ControlnetImageProcesserShuffle"] = Field(default="ControlnetImageProcesserShuffle", exclude=True)
