"""ControlNet processors: each turns frames into the condition that one ControlNet reads.

The names are the seed's, spelling and all: configs in the wild hold them. Each has a short alias beside it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from diffsynth.processors.canny import ControlnetImageProcessorCannyConfig
from diffsynth.processors.classic_depth import (
    ControlnetImageProcessorClassicDepthConfig,
    VideoControlnetImageProcessorClassicDepthConfig,
)
from diffsynth.processors.classic_soft_edge import (
    ControlnetImageProcessorClassicSoftEdgeConfig,
    VideoControlnetImageProcessorClassicSoftEdgeConfig,
)
from diffsynth.processors.depth import ControlnetImageProcessorDepthConfig
from diffsynth.processors.dwpose import ControlnetImageProcessorDWPoseConfig
from diffsynth.processors.hed import ControlnetImageProcessorHEDConfig, VideoControlnetImageProcessorHEDConfig
from diffsynth.processors.identity import ControlnetImageProcessorIdentityConfig
from diffsynth.processors.inpaint import ControlnetImageProcessorInpaintConfig
from diffsynth.processors.lineart import (
    ControlnetImageProcessorLineartConfig,
    VideoControlnetImageProcessorLineartConfig,
)
from diffsynth.processors.lineart_anime import ControlnetImageProcessorLineartAnimeConfig
from diffsynth.processors.mlsd import ControlnetImageProcessorMLSDConfig
from diffsynth.processors.normal_bae import (
    ControlnetImageProcessorNormalBaeConfig,
    VideoControlnetImageProcessorNormalBaeConfig,
)
from diffsynth.processors.pidinet import (
    ControlnetImageProcessorPidiNetConfig,
    VideoControlnetImageProcessorPidiNetConfig,
)
from diffsynth.processors.pose import ControlnetImageProcessorPoseConfig
from diffsynth.processors.scribble import ControlnetImageProcessorScribbleConfig
from diffsynth.processors.segmentation import ControlnetImageProcessorSegmentationConfig
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
    | VideoControlnetImageProcessorDepthConfig
    | ControlnetImageProcessorCannyConfig
    | ControlnetImageProcessorPidiNetConfig
    | ControlnetImageProcessorLineartConfig
    | ControlnetImageProcessorLineartAnimeConfig
    | ControlnetImageProcessorScribbleConfig
    | ControlnetImageProcessorMLSDConfig
    | ControlnetImageProcessorNormalBaeConfig
    | ControlnetImageProcessorSegmentationConfig
    | ControlnetImageProcessorDWPoseConfig
    | ControlnetImageProcessorInpaintConfig
    | ControlnetImageProcessorIdentityConfig
    | ControlnetImageProcessorClassicSoftEdgeConfig
    | ControlnetImageProcessorClassicDepthConfig
    | VideoControlnetImageProcessorHEDConfig
    | VideoControlnetImageProcessorPidiNetConfig
    | VideoControlnetImageProcessorLineartConfig
    | VideoControlnetImageProcessorNormalBaeConfig
    | VideoControlnetImageProcessorClassicSoftEdgeConfig
    | VideoControlnetImageProcessorClassicDepthConfig,
    Field(discriminator="type"),
]

CanonicalName = Literal[
    "ControlnetImageProcesserDepth",
    "ControlnetImageProcesserHED",
    "ControlnetImageProcesserShuffle",
    "ControlnetImageProcesserTile",
    "ControlnetImageProcesserPose",
    "VideoControlnetImageProcesserOpenpose",
    "VideoControlnetImageProcesserDepth",
    "ControlnetImageProcesserCanny",
    "ControlnetImageProcesserPidiNet",
    "ControlnetImageProcesserLineart",
    "ControlnetImageProcesserLineartAnime",
    "ControlnetImageProcesserScribble",
    "ControlnetImageProcesserMLSD",
    "ControlnetImageProcesserNormalBae",
    "ControlnetImageProcesserSegmentation",
    "ControlnetImageProcesserDWPose",
    "ControlnetImageProcesserInpaint",
    "ControlnetImageProcesserIdentity",
    "ControlnetImageProcesserClassicSoftEdge",
    "ControlnetImageProcesserClassicDepth",
    "VideoControlnetImageProcesserHED",
    "VideoControlnetImageProcesserPidiNet",
    "VideoControlnetImageProcesserLineart",
    "VideoControlnetImageProcesserNormalBae",
    "VideoControlnetImageProcesserClassicSoftEdge",
    "VideoControlnetImageProcesserClassicDepth",
]
PROCESSOR_NAMES: tuple[str, ...] = get_args(CanonicalName)

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "depth": "ControlnetImageProcesserDepth",
        "softedge": "ControlnetImageProcesserHED",
        "shuffle": "ControlnetImageProcesserShuffle",
        "tile": "ControlnetImageProcesserTile",
        "openpose": "ControlnetImageProcesserPose",
        "video_openpose": "VideoControlnetImageProcesserOpenpose",
        "video_depth": "VideoControlnetImageProcesserDepth",
        "canny": "ControlnetImageProcesserCanny",
        "pidinet": "ControlnetImageProcesserPidiNet",
        "lineart": "ControlnetImageProcesserLineart",
        "lineart_anime": "ControlnetImageProcesserLineartAnime",
        "scribble": "ControlnetImageProcesserScribble",
        "mlsd": "ControlnetImageProcesserMLSD",
        "normal": "ControlnetImageProcesserNormalBae",
        "segmentation": "ControlnetImageProcesserSegmentation",
        "dwpose": "ControlnetImageProcesserDWPose",
        "inpaint": "ControlnetImageProcesserInpaint",
        "identity": "ControlnetImageProcesserIdentity",
        "classic_softedge": "ControlnetImageProcesserClassicSoftEdge",
        "classic_depth": "ControlnetImageProcesserClassicDepth",
        "video_softedge": "VideoControlnetImageProcesserHED",
        "video_pidinet": "VideoControlnetImageProcesserPidiNet",
        "video_lineart": "VideoControlnetImageProcesserLineart",
        "video_normal": "VideoControlnetImageProcesserNormalBae",
        "video_classic_softedge": "VideoControlnetImageProcesserClassicSoftEdge",
        "video_classic_depth": "VideoControlnetImageProcesserClassicDepth",
    }
)
"""Short names that configs may use; a config that was read holds the full one."""


def canonical_name(name: Any) -> Any:
    """The full name behind an alias; anything else as it is."""
    return ALIASES.get(name, name) if isinstance(name, str) else name


ProcessorName = Annotated[
    CanonicalName, BeforeValidator(canonical_name), WithJsonSchema({"enum": [*PROCESSOR_NAMES, *ALIASES]})
]
"""What a config may call a processor."""
