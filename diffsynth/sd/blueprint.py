"""A checkpoint's networks without their weights: what layers they have, and of what shape."""

from typing import Any

from torch import nn

from diffsynth.sd.folders import Settings
from diffsynth.sd.layer_names import UNET
from diffsynth.sd.layout import CheckpointLayout
from diffsynth.sd.load import quiet

TEXT_PARTS = ("text_encoder", "text_encoder_2")


def blueprints(layout: CheckpointLayout) -> dict[str, nn.Module]:
    """The denoiser and the text encoders, by their part's name; they take no memory."""
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    kinds: tuple[Any, ...] = (CLIPTextModel, CLIPTextModelWithProjection)
    with quiet(), init_empty_weights():
        parts = {UNET: UNet2DConditionModel.from_config(plain(layout.unet))}  # type: ignore[no-untyped-call]
        for part, kind, settings in zip(TEXT_PARTS, kinds, layout.text_encoders, strict=False):
            parts[part] = kind(CLIPTextConfig(**plain(settings)))
    return parts


def plain(settings: Settings) -> dict[str, Any]:
    """Without what says who wrote them."""
    return {key: value for key, value in settings.items() if key == "_class_name" or not key.startswith("_")}
