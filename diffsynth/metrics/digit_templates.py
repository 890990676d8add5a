"""Which digit a video of `moving_digits` shows, told by comparing it with drawings of all of them."""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from diffsynth.training.data.moving_digits import HEIGHT, THICKNESS, WIDTH
from diffsynth.training.data.strokes import DIGITS, draw, segments

Floats = NDArray[np.float64]
BLUR = 0.03
"""Of the frame's shorter side: strokes that lie a little off still count."""
SIZES, SLANTS = (0.9, 1.0, 1.1), (-0.12, 0.0, 0.12)


def digit_of(video: NDArray[np.uint8]) -> int:
    """The digit whose drawing, at its best place, size and slant, is most like the frames of (F, H, W, C)."""
    grey = video.astype(np.float64).mean(-1) / 255
    height, width = grey.shape[1:]
    spectra = _templates(height, width)
    blur = BLUR * min(height, width)
    frames = np.fft.rfft2(np.stack([gaussian_filter(each, blur, mode="constant") for each in grey]))
    likeness = np.zeros(len(spectra))
    for frame, size in zip(
        frames, np.sqrt((np.abs(np.fft.irfft2(frames, (height, width))) ** 2).sum((1, 2))), strict=True
    ):
        places = np.fft.irfft2(frame[None] * spectra.conj(), (height, width))
        likeness += places.max((1, 2)) / max(size, 1e-9)
    return int(likeness.argmax()) // (len(spectra) // 10)


@lru_cache(maxsize=4)
def _templates(height: int, width: int) -> NDArray[np.complex128]:
    """Spectra of all drawings, each of length 1, those of one digit beside each other."""
    side = min(height, width)
    middle = np.array([[width / 2, height / 2]])
    drawn = []
    for figure in DIGITS:
        for tall, wide, slant in product(SIZES, SIZES, SLANTS):
            ends = (segments(figure) - 0.5) * np.array([WIDTH * side * wide, HEIGHT * side * tall])
            ends[..., 0] -= ends[..., 1] * slant
            picture = gaussian_filter(
                draw(ends, middle, max(THICKNESS * side, 1.0), height, width)[0], BLUR * side, mode="constant"
            )
            drawn.append(picture / np.linalg.norm(picture))
    return np.asarray(np.fft.rfft2(np.stack(drawn)))
