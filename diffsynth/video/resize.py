"""Cropping and scaling one picture."""

import numpy as np
import PIL.Image

from diffsynth.frames import Image
from diffsynth.video.geometry import Placement


def resized(image: Image, placement: Placement) -> Image:
    """Cut `placement`'s box out of an (H, W, 3) or (H, W) array and scale it, bicubic and antialiased.

    Colour and alpha are scaled independently: the colours under clear pixels stay those of the source, for they are
    going to be painted over as any others.
    """
    p = placement
    box = image[p.top : p.top + p.crop_height, p.left : p.left + p.crop_width]
    if (p.crop_height, p.crop_width) == (p.height, p.width):
        return np.ascontiguousarray(box)
    scaled = PIL.Image.fromarray(np.ascontiguousarray(box)).resize((p.width, p.height), PIL.Image.Resampling.BICUBIC)
    return np.array(scaled)
