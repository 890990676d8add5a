"""Voting along runs against voting patch by patch."""

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import picture

from diffsynth.engines.native import vote
from diffsynth.errors import EngineError


def field(seed: int, shape: tuple[int, int], source: tuple[int, int], smooth: bool) -> NDArray[np.int16]:
    """Random points, or long runs of equal offsets as a real NNF has."""
    rng = np.random.default_rng(seed)
    if not smooth:
        return np.stack([rng.integers(0, side, shape) for side in source], -1).astype(np.int16)
    y, x = np.indices(shape)
    steps = rng.integers(-3, 4, (2, *shape)) * (rng.random((2, *shape)) < 0.1)
    points = [
        np.clip(plane + np.cumsum(step, 1), 0, side - 1)
        for plane, step, side in zip((y, x), steps, source, strict=True)
    ]
    return np.stack(points, -1).astype(np.int16)


@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 30)),
    source=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    patch=st.sampled_from([1, 3, 5, 11, 21]),
    channels=st.integers(1, 8),
    smooth=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_runs_vote_like_single_patches(  # noqa: PLR0917 - hypothesis passes each by name
    seed: int, shape: tuple[int, int], source: tuple[int, int], patch: int, channels: int, smooth: bool
) -> None:
    nnf, image = field(seed, shape, source, smooth), picture(*source, channels, seed=seed)
    np.testing.assert_array_equal(vote(nnf, image, patch=patch, threads=1), oracle.vote(nnf, image, patch))


def test_error_weights() -> None:
    nnf, image = field(3, (24, 31), (20, 22), smooth=True), picture(20, 22)
    error = np.random.default_rng(1).gamma(0.7, 100, (24, 31)).astype(np.float32)
    mean = error.astype(np.float64).mean()
    weights = np.maximum(1, np.floor(256 * mean / (mean + error.astype(np.float64)))).astype(np.int64)
    expected = oracle.vote(nnf, image, 5, weights)
    np.testing.assert_array_equal(vote(nnf, image, patch=5, error=error), expected)
    perfect = np.zeros_like(error)
    np.testing.assert_array_equal(vote(nnf, image, patch=5, error=perfect), vote(nnf, image, patch=5))


def test_views_are_read_in_place() -> None:
    nnf = field(0, (17, 19), (16, 18), smooth=True)
    four = picture(32, 40, 4)
    view = four[::2, 2:38:2, :3]
    np.testing.assert_array_equal(vote(nnf, view, patch=5), vote(nnf, np.ascontiguousarray(view), patch=5))
    grey = np.ascontiguousarray(view[..., 0])
    np.testing.assert_array_equal(vote(nnf, grey, patch=5), vote(nnf, view, patch=5)[..., 0])


def test_batches() -> None:
    nnfs = np.stack([field(s, (12, 13), (14, 15), smooth=True) for s in range(3)])
    images = [picture(14, 15, seed=s) for s in range(3)]
    voted = vote(nnfs, images, patch=5)
    for i in range(3):
        np.testing.assert_array_equal(voted[i], vote(nnfs[i], images[i], patch=5))


def test_wrong_arguments_say_what_is_wrong() -> None:
    nnf, image = field(0, (8, 9), (10, 11), smooth=False), picture(10, 11)
    bad = nnf.copy()
    bad[2, 3] = (10, 4)
    with pytest.raises(EngineError, match=r"points to row 10, column 4, outside of the source of 11x10"):
        vote(bad, image, patch=5)
    with pytest.raises(EngineError, match=r"patch size is 4; allowed are odd numbers"):
        vote(nnf, image, patch=4)
    with pytest.raises(EngineError, match=r"is float64; the engine takes uint8"):
        vote(nnf, image.astype(float), patch=5)
    with pytest.raises(EngineError, match=r"int16, \(H, W, 2\)"):
        vote(nnf.astype(np.int32), image, patch=5)
