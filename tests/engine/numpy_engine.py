"""What the engine computes, said again in NumPy: slowly, over every patch, and sharing no idea with the engine.

Borders are replicated; outside of the source nothing votes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import skimage.data
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.uint8]
Nnf = NDArray[np.int16]


@dataclass(frozen=True)
class Term:
    """One image of a pair's energy: a guide, or the style against what was painted."""

    source: Image
    target: Image
    weight: float = 1.0
    modulation: Image | None = None


def channelled(image: Image) -> Image:
    return image[..., None] if image.ndim == 2 else image


def patches(image: Image, patch: int) -> NDArray[np.int64]:
    """(H, W, patch, patch, C) with replicated borders."""
    reach = patch // 2
    padded = np.pad(channelled(image), ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (patch, patch), axis=(0, 1))
    return np.moveaxis(windows, 2, -1)


def energies(terms: Sequence[Term], nnf_yx: Nnf, patch: int) -> NDArray[np.float64]:
    """(H, W): the sum over the patch of weight / channels * modulation / 255 * difference², over all terms."""
    total = np.zeros(nnf_yx.shape[:2])
    for term in terms:
        found = patches(term.source, patch)[nnf_yx[..., 0], nnf_yx[..., 1]]
        squares = ((found - patches(term.target, patch)) ** 2).sum(-1) / channelled(term.source).shape[2]
        if term.modulation is not None:
            squares = squares * patches(term.modulation, patch)[..., 0] / 255
        total += term.weight * squares.sum((2, 3))
    return total


def vote(nnf_yx: Nnf, image: Image, patch: int, weights: NDArray[np.integer] | None = None) -> Image:
    """Each pixel by itself: the mean, rounded half up, of what the patches over it bring from inside the image."""
    height, width = nnf_yx.shape[:2]
    source = channelled(image)
    reach = patch // 2
    painted = np.empty((height, width, source.shape[2]), np.uint8)
    for y in range(height):
        for x in range(width):
            rows = np.arange(max(0, y - reach), min(height, y + reach + 1))
            columns = np.arange(max(0, x - reach), min(width, x + reach + 1))
            centres = nnf_yx[np.ix_(rows, columns)].astype(np.int64)
            from_y = centres[..., 0] + y - rows[:, None]
            from_x = centres[..., 1] + x - columns[None]
            inside = (from_y >= 0) & (from_x >= 0) & (from_y < source.shape[0]) & (from_x < source.shape[1])
            share = np.ones(inside.shape, np.int64) if weights is None else weights[np.ix_(rows, columns)]
            votes = source[from_y[inside], from_x[inside]].astype(np.int64)
            count = int(share[inside].sum())
            # floor(sum / count + 1/2) without leaving the integers.
            painted[y, x] = (2 * (votes * share[inside][:, None]).sum(0) + count) // (2 * count)
    return painted if image.ndim == 3 else painted[..., 0]


def least_energies(source: Image, target: Image, patch: int, border: int = 0) -> NDArray[np.float64]:
    """(H, W): of each target patch to whichever source patch is nearest, by trying them all; one guide of weight 1.

    `border` keeps the sources' centres off the source's edge.
    """
    height, width, channels = target.shape
    size = patch * patch * channels
    inner = patches(source, patch)[border : source.shape[0] - border, border : source.shape[1] - border]
    # Centred bytes: all products and their sums are integers below 2^24, where float32 is exact.
    assert size * 128 * 128 < 2**24
    candidates = (inner.reshape(-1, size) - 128).astype(np.float32)
    wanted = (patches(target, patch).reshape(-1, size) - 128).astype(np.float32)
    squares = (candidates.astype(np.float64) ** 2).sum(1)
    least = np.empty(height * width)
    for begin in range(0, len(wanted), 512):
        rows = wanted[begin : begin + 512]
        least[begin : begin + 512] = (squares - 2.0 * (rows @ candidates.T)).min(1) + (
            rows.astype(np.float64) ** 2
        ).sum(1)
    return least.reshape(height, width) / channels


def photo(height: int, width: int, name: str = "chelsea") -> Image:
    """A cut of a photograph, at most 300 x 450."""
    picture = getattr(skimage.data, name)()
    return np.ascontiguousarray(picture[:height, 40 : 40 + width])


def next_frame(image: Image, height: int, width: int, seed: int = 0) -> Image:
    """The picture a moment later: moved, turned and zoomed by a few pixels, and grainy."""
    rows, columns = np.mgrid[:height, :width].astype(float)
    angle, zoom = 0.03, 1.02
    y = (rows - height / 2) / zoom
    x = (columns - width / 2) / zoom
    from_y = image.shape[0] / 2 + np.cos(angle) * y - np.sin(angle) * x + 2.3
    from_x = image.shape[1] / 2 + np.sin(angle) * y + np.cos(angle) * x - 3.6
    moved = [
        ndimage.map_coordinates(image[..., c].astype(float), [from_y, from_x], order=1, mode="nearest")
        for c in range(3)
    ]
    grain = np.random.default_rng(seed).normal(0, 2, (height, width, 3))
    return np.clip(np.rint(np.stack(moved, -1) + grain), 0, 255).astype(np.uint8)


def noise(shape: tuple[int, ...], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def identity(height: int, width: int) -> Nnf:
    return np.stack(np.mgrid[:height, :width], -1).astype(np.int16)
