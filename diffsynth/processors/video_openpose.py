"""`VideoControlnetImageProcesserOpenpose`: body and face key points, the face smoothed over time."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class VideoControlnetImageProcessorOpenposeConfig(ConfigModel):
    """Body and face key points, the face smoothed over time."""

    type: Literal["VideoControlnetImageProcesserOpenpose"] = Field(
        default="VideoControlnetImageProcesserOpenpose", exclude=True
    )
