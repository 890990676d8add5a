"""`ControlnetImageProcesserPose`: body key points drawn as a stick figure, frame by frame."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class ControlnetImageProcessorPoseConfig(ConfigModel):
    """Body key points drawn as a stick figure, frame by frame."""

    type: Literal["ControlnetImageProcesserPose"] = Field(default="ControlnetImageProcesserPose", exclude=True)
