"""Where a token is, as numbers: sines and cosines to add, or to turn queries and keys by."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LONGEST_WAVE = 10_000.0


def timestep_waves(t: Tensor, size: int) -> Tensor:
    """(B) timesteps as (B, size) waves: cosines, then sines."""
    half = size // 2
    precision = torch.promote_types(t.dtype, torch.float32)
    rates = torch.exp(-math.log(LONGEST_WAVE) / half * torch.arange(half, dtype=precision, device=t.device))
    angles = t.to(precision)[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)


def temporal_table(frames: int, size: int) -> Tensor:
    """(1, frames, size): sines, then cosines."""
    return _tensor(_waves(np.arange(frames), size))[None]


def spatial_table(rows: int, columns: int, size: int) -> Tensor:
    """(1, rows · columns, size): the first half tells the column, the second the row."""
    row, column = np.mgrid[:rows, :columns].reshape(2, -1)
    return _tensor(np.concatenate([_waves(column, size // 2), _waves(row, size // 2)], -1))[None]


def rotation_table(length: int, size: int) -> Tensor:
    """(2, length, size): cosines and sines of the angles that `rotated` turns by."""
    angles = np.arange(length)[:, None] * _rates(size)
    return _tensor(np.stack([np.cos(angles), np.sin(angles)]).repeat(2, axis=-1))


def rotated(x: Tensor, table: Tensor) -> Tensor:
    """Neighbouring pairs of (…, N, size) turned by the angle of their place: x · y then hangs on distances alone."""
    cos, sin = table.to(x.dtype)
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    turned = turned * sin
    return torch.addcmul(turned, x, cos)


def _rates(size: int) -> NDArray[np.float64]:
    return LONGEST_WAVE ** -(np.arange(size // 2) / (size / 2))


def _waves(places: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    angles = places[:, None] * _rates(size)
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)


def _tensor(table: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(table.astype(np.float32))
