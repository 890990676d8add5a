"""`ControlnetImageProcesserTile`: the frames themselves."""

from typing import Literal

from pydantic import Field

from diffsynth.config import ConfigModel


class ControlnetImageProcessorTileConfig(ConfigModel):
    """The frames themselves."""

    type: Literal["ControlnetImageProcesserTile"] = Field(default="ControlnetImageProcesserTile", exclude=True)
