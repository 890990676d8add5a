"""ControlNet processors: each turns frames into the condition that one ControlNet reads.

The names are the seed's, spelling and all: configs in the wild hold them.
"""

from typing import Annotated, Literal

from pydantic import Field

from diffsynth.processors.depth import ControlnetImageProcessorDepthConfig
from diffsynth.processors.hed import ControlnetImageProcessorHEDConfig
from diffsynth.processors.pose import ControlnetImageProcessorPoseConfig
from diffsynth.processors.shuffle import ControlnetImageProcessorShuffleConfig
from diffsynth.processors.tile import ControlnetImageProcessorTileConfig
from diffsynth.processors.video_depth import VideoControlnetImageProcessorDepthConfig
from diffsynth.processors.video_openpose import VideoControlnetImageProcessorOpenposeConfig

ProcessorConfig = Annotated[
    ControlnetImageProcessorDepthConfig
    | ControlnetImageProcessorHEDConfig
    | ControlnetImageProcessorShuffleConfig
    | ControlnetImageProcessorTileConfig
    | ControlnetImageProcessorPoseConfig
    | VideoControlnetImageProcessorOpenposeConfig
    | VideoControlnetImageProcessorDepthConfig,
    Field(discriminator="type"),
]

ProcessorName = Literal[
    "ControlnetImageProcesserDepth",
    "ControlnetImageProcesserHED",
    "ControlnetImageProcesserShuffle",
    "ControlnetImageProcesserTile",
    "ControlnetImageProcesserPose",
    "VideoControlnetImageProcesserOpenpose",
    "VideoControlnetImageProcesserDepth",
]
