"""The energy of an NNF, computed from its definition alone: shares no code with any engine.

Per target pixel, in the units of the published Ebsynth: patch sums of weight * difference^2 (a weight is spread evenly
over its image's channels), with clamped borders on both sides, and `uniformity` times how much more than its share the
source patch is used. The style's term compares with the plain, unrounded vote of that NNF.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Energy:
    """Means over all target pixels."""

    guide: float
    style: float
    uniformity: float

    @property
    def total(self) -> float:
        return self.guide + self.style + self.uniformity


def vote(nnf_yx: NDArray[np.integer], image: Image, patch: int) -> NDArray[np.float32]:
    """The mean of all overlapping patches; what falls outside of the source or the target has no vote."""
    height, width = nnf_yx.shape[:2]
    rows, columns = image.shape[:2]
    sums = np.zeros((height, width, image.shape[2]), np.float32)
    counts = np.zeros((height, width, 1), np.float32)
    reach = patch // 2
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            to_y, to_x = slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx))
            from_y, from_x = slice(max(0, -dy), height + min(0, -dy)), slice(max(0, -dx), width + min(0, -dx))
            y = nnf_yx[from_y, from_x, 0].astype(np.int32) + dy
            x = nnf_yx[from_y, from_x, 1].astype(np.int32) + dx
            inside = ((y >= 0) & (y < rows) & (x >= 0) & (x < columns)).astype(np.float32)[..., None]
            sums[to_y, to_x] += image[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)] * inside
            counts[to_y, to_x] += inside
    return sums / np.maximum(counts, 1)


def evaluate(
    nnf_yx: NDArray[np.integer],
    style: Image | None,
    guides: Sequence[tuple[Image, Image, float]],
    patch: int,
    uniformity: float,
) -> Energy:
    """`guides` holds (source, target, weight)."""
    nnf = nnf_yx.astype(np.int32)
    guide = sum(weight * patch_difference(source, target, nnf, patch) for source, target, weight in guides)
    styled = 0.0
    if style is not None:
        styled = patch_difference(style, vote(nnf, style, patch), nnf, patch)
    return Energy(float(guide), float(styled), uniformity * occupancy(nnf, guides[0][0].shape[:2], patch))


def patch_difference(source: Image, target: NDArray[np.generic], nnf: NDArray[np.int32], patch: int) -> float:
    """Mean over target pixels of the patch sum of the channels' mean squared difference."""
    reach, channels = patch // 2, source.shape[2]
    padding = ((reach, reach), (reach, reach), (0, 0))
    source, target = np.pad(source, padding, "edge"), np.pad(target, padding, "edge").astype(np.float32)
    flat, pitch = source.reshape(-1, channels), source.shape[1]
    height, width = nnf.shape[:2]
    corner = nnf[..., 0] * pitch + nnf[..., 1]
    total = 0.0
    for dy in range(patch):
        for dx in range(patch):
            moved = flat.take(corner + (dy * pitch + dx), axis=0).astype(np.float32)
            moved -= target[dy : dy + height, dx : dx + width]
            total += float(np.vdot(moved, moved))
    return total / (height * width * channels)


def occupancy(nnf: NDArray[np.int32], source_shape: tuple[int, int], patch: int) -> float:
    """Mean use of the chosen patches' pixels, divided by each source pixel's share; 1 where all are used alike."""
    used = np.zeros(source_shape, np.float64)
    np.add.at(used, (nnf[..., 0], nnf[..., 1]), 1)
    box = {"size": patch, "mode": "constant"}
    covered = ndimage.uniform_filter(used, **box) * patch * patch
    mean_cover = ndimage.uniform_filter(covered, **box)
    share = nnf.shape[0] * nnf.shape[1] / used.size * patch * patch
    return float(mean_cover[nnf[..., 0], nnf[..., 1]].mean() / share)
