"""Edge maps against OpenCV and scikit-image."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import canny as skimage_canny
from skimage.filters import scharr

from diffsynth.processors.canny import canny_edges
from diffsynth.processors.classic_soft_edge import soft_edges


def grey_picture(seed: int, size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.uniform(0, 255, (9, 9)), (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(blobs, 0, 255).astype(np.uint8)


def disc(size: int = 96, inside: int = 210, outside: int = 60) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.where((x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 3) ** 2, inside, outside).astype(np.uint8)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), low=st.integers(10, 120), gap=st.integers(0, 150))
def test_canny_of_a_grey_picture_is_opencvs(seed: int, low: int, gap: int) -> None:
    grey = grey_picture(seed)
    assert np.array_equal(canny_edges(rgb(grey), low, low + gap), cv2.Canny(grey, low, low + gap))


def test_canny_finds_the_outline_that_skimage_finds() -> None:
    found = canny_edges(rgb(disc())) > 0
    expected = skimage_canny(disc().astype(float), sigma=1.0)
    reach = np.ones((3, 3), np.uint8)
    # Sub-pixel conventions differ by up to one pixel.
    assert (found & (cv2.dilate(expected.astype(np.uint8), reach) > 0)).sum() == found.sum()
    assert (expected & (cv2.dilate(found.astype(np.uint8), reach) > 0)).sum() == expected.sum()


def test_canny_tells_equally_bright_colours_apart() -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16], picture[:, 16:] = (200, 40, 0), (0, 40, 200)
    assert canny_edges(picture)[:, 14:18].any()


def test_soft_edges_are_strongest_where_skimages_gradient_is() -> None:
    blurred = cv2.GaussianBlur(disc().astype(np.float64), (0, 0), 0.8)
    gradient = scharr(blurred)
    edges = soft_edges(rgb(disc()))
    # One outline of even strength: the answers rank pixels alike wherever there is an answer at all.
    seen = edges > 0
    assert np.corrcoef(edges[seen], gradient[seen])[0, 1] > 0.9
    assert edges[gradient > 0.9 * gradient.max()].min() > 200


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_has_no_edges(level: int) -> None:
    flat = np.full((40, 50, 3), level, np.uint8)
    assert not soft_edges(flat).any()
    assert not canny_edges(flat).any()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_grain_beside_an_outline_is_suppressed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = np.clip(rgb(disc()) + rng.normal(0, 3, (96, 96, 1)), 0, 255).astype(np.uint8)
    edges = soft_edges(picture)
    clean = cv2.dilate((soft_edges(rgb(disc())) > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    # Grain with a deviation of 3 out of 255 is well below 0.15 of this outline.
    assert (edges[~clean] > 0).mean() < 0.02


def test_dusk_keeps_its_outlines() -> None:
    bright, dark = soft_edges(rgb(disc())), soft_edges(rgb(disc(inside=52, outside=15)))
    agree = (bright > 90) & (dark > 90)
    assert agree.sum() > 0.9 * (bright > 90).sum()


@pytest.mark.parametrize("shape", [(48, 80), (80, 48), (33, 47)])
def test_shape_and_type(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for edges in (canny_edges(picture), soft_edges(picture)):
        assert edges.shape == shape
        assert edges.dtype == np.uint8
