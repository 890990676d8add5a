"""Networks that denoise videos. A backbone's config and its network are two files, and configs need no torch."""

from diffsynth.models.base import Backbone, Condition, ConditionKind, TextScheduler, VideoShape
from diffsynth.models.latte_config import LatteConfig

BackboneConfig = LatteConfig
"""What `"backbone"` of a config may hold, told apart by `"type"`."""

__all__ = ["Backbone", "BackboneConfig", "Condition", "ConditionKind", "LatteConfig", "TextScheduler", "VideoShape"]
