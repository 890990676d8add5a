"""`ControlnetImageProcesserTile`: the frames themselves."""

from typing import Literal

from pydantic import Field

from diffsynth.processors.base import PerFrame, Processor, ProcessorSettings
from diffsynth.runtime import Runtime


class ControlnetImageProcessorTileConfig(ProcessorSettings):
    """The frames themselves; needs no weights."""

    type: Literal["ControlnetImageProcesserTile"] = Field(default="ControlnetImageProcesserTile", exclude=True)

    def build(self, runtime: Runtime) -> Processor:
        return PerFrame.plain(self.fingerprint(), lambda frame: frame)
