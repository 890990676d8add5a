"""`VideoControlnetImageProcesserDepth`: depth levelled over the whole clip."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class VideoControlnetImageProcessorDepthConfig(ConfigModel):
    """Depth levelled over the whole clip."""

    type: Literal["VideoControlnetImageProcesserDepth"] = Field(
        default="VideoControlnetImageProcesserDepth", exclude=True
    )
