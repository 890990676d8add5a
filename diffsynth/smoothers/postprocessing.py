"""`postprocessing`: contrast and sharpness given back to frames that blending has softened."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field

from diffsynth.config import ConfigModel
from diffsynth.frames import Image


class PostprocessingConfig(ConfigModel):
    """Factors of Pillow's `ImageEnhance`; 1 leaves a frame as it is."""

    contrast: Annotated[float, Field(ge=0)] = 1.0
    """Contrast factor."""
    sharpness: Annotated[float, Field(ge=0)] = 1.0
    """Sharpness factor."""

    def build(self) -> Callable[[Image], Image] | None:
        """The change as a function; None where it would change nothing."""
        if self.contrast == 1 and self.sharpness == 1:
            return None
        return lambda image: enhanced(image, self.contrast, self.sharpness)


def enhanced(image: Image, contrast: float, sharpness: float) -> Image:
    """Pillow's `ImageEnhance`: contrast about the mean grey, then sharpness against a smoothed copy."""
    from PIL import Image as Pictures
    from PIL import ImageEnhance

    picture = ImageEnhance.Contrast(Pictures.fromarray(image)).enhance(contrast)
    return np.array(ImageEnhance.Sharpness(picture).enhance(sharpness))
