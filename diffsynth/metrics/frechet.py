"""The Fréchet distance between two clouds of features, each taken as a Gaussian."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def frechet_distance(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """|m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½) of (n, d) features.

    The middle term comes from eigenvalues of symmetric matrices, which stay real where n is smaller than d.
    """
    if len(one) < 2 or len(other) < 2:
        raise ValueError("a covariance needs two videos at least")
    (mean_one, cov_one), (mean_other, cov_other) = _gaussian(one), _gaussian(other)
    root = _root(cov_one)
    middle = np.linalg.eigvalsh(root @ cov_other @ root)
    gap = mean_one - mean_other
    trace = np.trace(cov_one) + np.trace(cov_other) - 2 * np.sqrt(np.clip(middle, 0, None)).sum()
    return float(max(gap @ gap + trace, 0.0))


def _gaussian(features: NDArray[np.floating]) -> tuple[Floats, Floats]:
    values = features.astype(np.float64)
    return values.mean(0), np.atleast_2d(np.cov(values, rowvar=False))


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
