"""`postprocessing`: contrast and sharpness given back to frames that blending has softened."""

from typing import Annotated

from pydantic import Field

from diffsynth.config import ConfigModel


class PostprocessingConfig(ConfigModel):
    """Factors of Pillow's `ImageEnhance`; 1 leaves a frame as it is."""

    contrast: Annotated[float, Field(ge=0)] = 1.0
    """Contrast factor."""
    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """Sharpness factor."""
