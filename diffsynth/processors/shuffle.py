"""`ControlnetImageProcesserShuffle`: the style image, its content shuffled so that only its look is left."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.frames import Image
from diffsynth.processors.base import PerFrame, Processor, ProcessorSettings
from diffsynth.runtime import Runtime, numpy_generator


class ControlnetImageProcessorShuffleConfig(ProcessorSettings):
    """The style image, its content shuffled so that only its look is left; needs no weights."""

    type: Literal["ControlnetImageProcesserShuffle"] = Field(default="ControlnetImageProcesserShuffle", exclude=True)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the shuffle. All frames are shuffled alike, so that the condition holds still."""
    grain: Annotated[int, Field(ge=8, le=4096)] = 256
    """Pixels over which the picture is torn about: less shuffles finer."""

    def build(self, runtime: Runtime) -> Processor:
        seed, grain = self.seed, self.grain
        return PerFrame.plain(self.fingerprint(), lambda frame: shuffled(frame, seed, grain))


def shuffled(frame: Image, seed: int, grain: int = 256) -> Image:
    """The picture with each pixel fetched from a random place that varies smoothly over `grain` pixels."""
    import cv2

    height, width = frame.shape[:2]
    generator = numpy_generator(seed, "shuffle")
    x = _smooth_noise(height, width, grain, generator) * np.float32(width - 1)
    y = _smooth_noise(height, width, grain, generator) * np.float32(height - 1)
    return np.asarray(cv2.remap(frame, x, y, cv2.INTER_LINEAR))


def _smooth_noise(height: int, width: int, grain: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(H, W) noise that takes the whole range of 0 to 1."""
    import cv2

    coarse = generator.random((height // grain + 2, width // grain + 2), np.float32)
    # Made with a margin of one grain, which is cut off: the noise's own border is flat.
    grown = cv2.resize(coarse, (width + 2 * grain, height + 2 * grain), interpolation=cv2.INTER_CUBIC)
    noise = grown[grain : grain + height, grain : grain + width]
    low, high = noise.min(), noise.max()
    return np.asarray((noise - low) / max(high - low, np.float32(1e-6)), dtype=np.float32)
