"""`ControlnetImageProcesserDepth`: depth estimated by a DPT network, near is bright."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class ControlnetImageProcessorDepthConfig(ConfigModel):
    """Depth estimated by a DPT network, near is bright."""

    type: Literal["ControlnetImageProcesserDepth"] = Field(default="ControlnetImageProcesserDepth", exclude=True)
