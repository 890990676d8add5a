"""The blending core on pictures whose blend is known."""

import numpy as np
import pytest

from diffsynth.smoothers.blending import Layer, confidence, mean, to_image, without_outliers
from diffsynth.smoothers.detail import carried

HEIGHT, WIDTH = 48, 64


def layer(value: int, weight: float = 1.0) -> Layer:
    picture = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
    return Layer(picture, picture, np.full((HEIGHT, WIDTH), weight, np.float32))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def test_the_mean_is_weighted() -> None:
    blend = mean([layer(10, 1), layer(40, 2)])
    np.testing.assert_allclose(blend.style, 30, rtol=1e-6)
    np.testing.assert_allclose(blend.weight, 3)


def test_the_mean_of_bytes_does_not_wrap() -> None:
    pictures = [noise(seed) for seed in range(5)]
    layers = [Layer(each, each, np.ones((HEIGHT, WIDTH), np.float32)) for each in pictures]
    expected = np.stack(pictures).astype(np.float64).mean(0)
    np.testing.assert_allclose(mean(layers).style, expected, atol=1e-3)  # float32 sums of five bytes


def test_a_layer_without_weight_says_nothing() -> None:
    np.testing.assert_allclose(mean([layer(10), layer(200, 0)]).style, 10, rtol=1e-6)


def test_confidence_is_1_where_guides_agree_and_0_where_they_don_t() -> None:
    guide = noise(1)
    other = guide.copy()
    other[:, WIDTH // 2 :] = 255 - other[:, WIDTH // 2 :]
    found = confidence(other, guide, 6.0)
    assert found[:, : WIDTH // 2 - 3].min() == 1.0
    assert found[:, WIDTH // 2 + 3 :].max() < 1e-3
    level = confidence(np.full_like(guide, 106), np.full_like(guide, 100), 6.0)
    np.testing.assert_allclose(level, np.exp(-0.5), rtol=1e-5)


def test_an_outlier_loses_its_weight_and_the_others_keep_theirs() -> None:
    layers = list(without_outliers([layer(100), layer(102), layer(98), layer(101), layer(220)], 15))
    assert layers[-1].weight.max() < 1e-3
    assert min(each.weight.min() for each in layers[:-1]) > 0.1
    assert abs(float(mean(layers).style.mean()) - 100.25) < 0.5
    assert all(each.weight.min() == 1 for each in without_outliers([layer(0), layer(255)], 0))


def test_detail_is_carried_by_the_map_that_ties_style_to_guide() -> None:
    draw = np.random.default_rng(3)
    guide = draw.uniform(0, 255, (HEIGHT, WIDTH, 3)).astype(np.float32)
    slope = np.array([[0.5, 0.2, 0], [0, 1.5, -0.3], [0.1, 0, -1]], np.float32)
    style = guide @ slope.T + 20
    change = draw.uniform(-9, 9, guide.shape).astype(np.float32)
    # The ridge shortens the map by 25 of the six hundred and more squared grey levels of detail.
    np.testing.assert_allclose(carried(change, guide, style), change @ slope.T, rtol=0.05, atol=0.3)


def test_without_detail_in_the_guide_nothing_is_carried() -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 90, np.float32)
    assert np.abs(carried(np.ones_like(flat), flat, noise(4).astype(np.float32))).max() < 1e-3


@pytest.mark.parametrize(("value", "byte"), [(-3.0, 0), (0.4, 0), (0.6, 1), (254.6, 255), (300.0, 255)])
def test_rounding(value: float, byte: int) -> None:
    assert to_image(np.full((1, 1, 3), value, np.float32)).max() == byte
