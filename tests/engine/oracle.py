"""The engine's definitions in a few lines of NumPy each: slow, and written without a look at the engine."""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def patches(image: Image, patch: int) -> NDArray[np.float32]:
    """(H, W, patch * patch * C) patches with repeated borders."""
    reach = patch // 2
    padded = np.pad(image.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (patch, patch), (0, 1))
    return windows.reshape(*image.shape[:2], -1)


def energies(nnf_yx: NDArray[np.int16], source: Image, target: Image, patch: int) -> NDArray[np.float64]:
    """Sum over the patch of the channels' mean squared difference, as one guide of weight 1 costs."""
    from_source = patches(source, patch)[nnf_yx[..., 0], nnf_yx[..., 1]]
    difference = from_source.astype(np.float64) - patches(target, patch)
    return np.square(difference).sum(-1) / source.shape[2]


def best_energies(source: Image, target: Image, patch: int) -> NDArray[np.float64]:
    """The lowest energy of each target pixel over all source pixels."""
    a, b = patches(target, patch), patches(source, patch)
    flat_a, flat_b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    norms = np.square(flat_b).sum(-1)
    best = np.empty(len(flat_a), np.intp)
    for start in range(0, len(flat_a), 512):
        best[start : start + 512] = np.argmin(norms - 2 * flat_a[start : start + 512] @ flat_b.T, axis=1)
    exact = np.square(flat_a.astype(np.float64) - flat_b[best]).sum(-1) / source.shape[2]
    return exact.reshape(target.shape[:2])


def vote(
    nnf_yx: NDArray[np.int16], image: Image, patch: int, weights: NDArray[np.int64] | None = None
) -> NDArray[np.uint8]:
    """Every patch paints its pixels; the mean, halves rounded up. Pixels outside of either image have no vote."""
    height, width = nnf_yx.shape[:2]
    rows, columns, channels = image.shape
    sums = np.zeros((height, width, channels), np.int64)
    counts = np.zeros((height, width, 1), np.int64)
    reach = patch // 2
    weights = np.ones((height, width), np.int64) if weights is None else weights
    for y in range(height):
        for x in range(width):
            sy, sx = (int(v) for v in nnf_yx[y, x])
            up = min(reach, y, sy)
            down = min(reach, height - 1 - y, rows - 1 - sy)
            left = min(reach, x, sx)
            right = min(reach, width - 1 - x, columns - 1 - sx)
            to = (slice(y - up, y + down + 1), slice(x - left, x + right + 1))
            sums[to] += image[sy - up : sy + down + 1, sx - left : sx + right + 1] * weights[y, x]
            counts[to] += weights[y, x]
    return ((2 * sums + counts) // (2 * counts)).astype(np.uint8)
