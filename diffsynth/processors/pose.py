"""`ControlnetImageProcesserPose`: body key points drawn as a stick figure, frame by frame."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import Field

from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, Processor
from diffsynth.processors.detection import to_detection, to_frame
from diffsynth.processors.network import DetectorSettings
from diffsynth.processors.people import OpenPose, drawing
from diffsynth.runtime import Runtime


class ControlnetImageProcessorPoseConfig(DetectorSettings):
    """Body key points drawn as a stick figure, frame by frame."""

    type: Literal["ControlnetImageProcesserPose"] = Field(default="ControlnetImageProcesserPose", exclude=True)
    hands: bool = False
    """Find and draw hands too."""
    face: bool = False
    """Find and draw the face's landmarks too."""

    def build(self, runtime: Runtime) -> Processor:
        openpose = OpenPose.find(self, runtime, hands=self.hands, face=self.face)
        resolution = self.detect_resolution

        @contextmanager
        def opened() -> Iterator[Mapper]:
            draw = drawing(openpose.processor)
            with openpose.detecting() as detect:

                def pose(frame: Image) -> Image:
                    seen = to_detection(frame, resolution)
                    return to_frame(draw(detect(seen), *seen.shape[:2]), *frame.shape[:2])

                yield lambda frames: [pose(frame) for frame in frames]

        return PerFrame(openpose.fingerprint(self), opened)
