"""Measures of drawn videos against closed forms, other libraries, and what is known of the clips."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from diffsynth.errors import ModelError
from diffsynth.metrics.frechet import frechet_distance
from diffsynth.metrics.motion import apart, histogram, speeds
from diffsynth.metrics.nearest import nearest
from diffsynth.metrics.video_features import I3d, random_features
from diffsynth.runtime import numpy_generator
from diffsynth.training.data.moving_digits import MovingDigits
from diffsynth.training.pictures import frames_of, grid, strip

CHANCE = np.random.default_rng(0)


def test_frechet_is_that_of_the_matrix_square_root() -> None:
    one, other = CHANCE.normal(size=(50, 6)), CHANCE.normal(size=(70, 6)) @ CHANCE.normal(size=(6, 6)) + 1
    covs = [np.cov(each, rowvar=False) for each in (one, other)]
    gap = one.mean(0) - other.mean(0)
    wanted = gap @ gap + np.trace(covs[0] + covs[1] - 2 * sqrtm(covs[0] @ covs[1]).real)
    assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-9)


def test_frechet_is_nothing_from_itself_and_a_shift_squared_from_its_shift() -> None:
    cloud = CHANCE.normal(size=(4, 10))  # fewer than dimensions
    # The root of a singular covariance is exact to the square root of float64's last bit.
    assert frechet_distance(cloud, cloud) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(cloud, cloud + 3) == pytest.approx(90, abs=1e-5)


def clips(count: int, seed: int, size: int = 16) -> list[np.ndarray]:
    made = MovingDigits(size, size, 8, set_seed=seed)
    return [made.clip(number, numpy_generator(0)).pixels for number in range(count)]


def test_random_features_rank_clips_of_the_set_before_damaged_ones_and_noise() -> None:
    there, unseen = random_features(clips(120, 0)), clips(120, 1)
    damaged = [CHANCE.permutation(each, axis=0) for each in unseen]
    noise = [CHANCE.integers(0, 256, each.shape, np.uint8) for each in unseen]
    near, shuffled, far = (frechet_distance(random_features(each), there) for each in (unseen, damaged, noise))
    assert near < shuffled < far
    assert near < far / 10
    assert np.array_equal(random_features(clips(3, 0)), random_features(clips(3, 0)))


def test_speeds_are_those_that_digits_have() -> None:
    """Half a pixel is about what phase correlation is off on figures this small."""
    made = MovingDigits(48, 48, 8, speed=0.08)
    for number in range(10):
        moved = np.hypot(*np.diff(made.look(number).centres, axis=0).T) / 48
        found = speeds(made.clip(number, numpy_generator(0)).pixels)
        np.testing.assert_allclose(np.median(found), np.median(moved), atol=0.5 / 48)


def test_histograms_are_apart_by_what_they_have_not_in_common() -> None:
    still = [np.repeat(each[:1], 8, 0) for each in clips(10, 0)]
    assert apart(histogram(still), histogram(still)) == 0
    assert histogram(still)[0] == 1
    fast = MovingDigits(16, 16, 8, speed=0.3)
    moving = [fast.clip(number, numpy_generator(0)).pixels for number in range(10)]
    assert apart(histogram(still), histogram(moving)) > 0.5


def test_a_clip_that_was_seen_is_found_again() -> None:
    seen = clips(30, 0)
    found = nearest([seen[7], 255 - seen[3]], seen)
    assert found.clips[0] == 7
    assert found.distances[0] == 0
    assert found.distances[1] > 100


class _Detector(torch.nn.Module):
    """As the published I3D is called: it scales and sizes only when asked to."""

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        assert not rescale
        assert not resize
        assert x.shape[3] == 224
        return x.mean(dim=(2, 3, 4))


def test_an_i3d_is_called_as_the_published_one_and_told_by_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "i3d.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of making such files; reading them is what counts here
        torch.jit.script(_Detector()).save(str(path))  # type: ignore[no-untyped-call]
    network = I3d(path, torch.device("cpu"))
    found = network.features([np.full((10, 16, 16, 1), 255, np.uint8), np.zeros((10, 16, 16, 1), np.uint8)])
    np.testing.assert_allclose(found, [[1, 1, 1], [-1, -1, -1]], atol=1e-6)
    assert len(network.digest) == 64
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match="is no TorchScript file"):
        I3d(path, torch.device("cpu"))


def test_strips_hold_frames_without_loss() -> None:
    frames = CHANCE.integers(0, 256, (5, 6, 7, 3), np.uint8)
    assert np.array_equal(frames_of(strip(frames), 5, 3), frames)
    grey = frames[..., :1]
    assert np.array_equal(frames_of(strip(grey), 5, 1), grey)
    assert grid([grey, grey]).shape == (2 * (6 * 11 + 1) - 1, 5 * (7 * 11 + 1) - 1, 3)
