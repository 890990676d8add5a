"""`ControlnetImageProcesserIdentity`: what is given is the condition: a clip of maps that was made elsewhere."""

from typing import Literal

from pydantic import Field

from diffsynth.processors.base import PerFrame, Processor, ProcessorSettings
from diffsynth.runtime import Runtime


class ControlnetImageProcessorIdentityConfig(ProcessorSettings):
    """The input as it is, for clips that hold conditions already; needs no weights."""

    type: Literal["ControlnetImageProcesserIdentity"] = Field(default="ControlnetImageProcesserIdentity", exclude=True)

    def build(self, runtime: Runtime) -> Processor:
        return PerFrame.plain(self.fingerprint(), lambda frame: frame)
