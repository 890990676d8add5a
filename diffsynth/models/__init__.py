"""Networks that denoise videos. A backbone's config and its network are two files, and configs need no torch."""

from typing import Annotated

from pydantic import Field

from diffsynth.models.base import Backbone, Condition, ConditionKind, TextScheduler, VideoShape
from diffsynth.models.latte_config import LatteConfig
from diffsynth.models.unet3d_config import Unet3DConfig

BackboneConfig = Annotated[LatteConfig | Unet3DConfig, Field(discriminator="type")]
"""What `"backbone"` of a config may hold, told apart by `"type"`."""

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Condition",
    "ConditionKind",
    "LatteConfig",
    "TextScheduler",
    "Unet3DConfig",
    "VideoShape",
]
