"""Pictures for the engine's oracles."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def picture(height: int, width: int, channels: int = 3, seed: int = 0, blur: float = 2.0) -> NDArray[np.uint8]:
    """Smooth colour noise that fills the range: every place looks unlike the others, and its own neighbours alike."""
    noise = np.random.default_rng(seed).normal(size=(height, width, channels))
    soft = ndimage.gaussian_filter(noise, (blur, blur, 0))
    spread = float(soft.std()) or 1.0
    return np.clip(128 + 55 * soft / spread, 0, 255).astype(np.uint8)


def warped(image: NDArray[np.uint8], shift: tuple[float, float], bend: float = 0.0) -> NDArray[np.uint8]:
    """The image moved by `shift` (rows, columns) and rippled by `bend` pixels, with borders repeated."""
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(float)
    at = [y + shift[0] + bend * np.sin(x / 9), x + shift[1] + bend * np.sin(y / 11)]
    planes = [
        ndimage.map_coordinates(image[..., c].astype(float), at, order=1, mode="nearest") for c in range(image.shape[2])
    ]
    return np.rint(np.stack(planes, -1)).astype(np.uint8)
