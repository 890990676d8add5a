"""Voting along runs of equal offset, held against every pixel's votes counted one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from numpy.typing import NDArray
from numpy_engine import Image, Nnf, identity, noise
from numpy_engine import vote as counted_vote

from diffsynth.engines.native import Frame, NativeEngine, Settings, estimate, vote

patches = st.sampled_from([1, 3, 5, 7, 11, 21, 33])


@st.composite
def fields(draw: st.DrawFn) -> tuple[Nnf, Image]:
    """NNFs from one single run to none at all, into sources of another size, over their edges too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 40))
    source_height, source_width = draw(st.integers(1, 24)), draw(st.integers(1, 40))
    nnf = identity(height, width).astype(np.int64) + rng.integers(-5, 6, 2)
    for _ in range(draw(st.integers(0, 12))):
        y, x = rng.integers(0, height), rng.integers(0, width)
        rows, columns = rng.integers(1, 9, 2)
        nnf[y : y + rows, x : x + columns] += rng.integers(-9, 10, 2)
    scattered = rng.random((height, width)) < draw(st.sampled_from([0, 0.1, 1]))
    nnf[scattered] = rng.integers(0, 40, (height, width, 2))[scattered]
    nnf = nnf.clip(0, (source_height - 1, source_width - 1)).astype(np.int16)
    channels = draw(st.integers(1, 8))
    image = draw(st.sampled_from([noise, lambda shape: np.full(shape, 255, np.uint8)]))(
        (source_height, source_width, channels)
    )
    return nnf, image


@budget(max_examples=120, deadline=None)
@given(fields(), patches, st.sampled_from([1, 3]))
def test_a_vote_is_the_mean_of_what_the_patches_bring(field: tuple[Nnf, Image], patch: int, threads: int) -> None:
    nnf, image = field
    assert np.array_equal(vote(nnf, image, patch=patch, threads=threads), counted_vote(nnf, image, patch))


def shares(error: NDArray[np.float32]) -> NDArray[np.int64]:
    """In 256ths: m / (m + error), with m the mean error; at least one."""
    mean = float(error.sum(dtype=np.float64)) / error.size
    if mean == 0:
        return np.full(error.shape, 256)
    return np.maximum(256 * mean / (mean + error.astype(np.float64)), 1).astype(np.int64)


@budget(max_examples=80, deadline=None)
@given(fields(), patches, st.integers(0, 2**20), st.sampled_from([0, 3, 100, 10**6]))
def test_a_weighted_vote_is_the_weighted_mean(field: tuple[Nnf, Image], patch: int, seed: int, largest: int) -> None:
    nnf, image = field
    # Whole numbers, whose sum is the same in any order.
    error = (np.random.default_rng(seed).random(nnf.shape[:2]) ** 4 * largest).astype(int).astype(np.float32)
    assert np.array_equal(vote(nnf, image, patch=patch, error=error), counted_vote(nnf, image, patch, shares(error)))


def test_bad_matches_count_for_less() -> None:
    """One pixel's patch brings white to a black picture: the worse its match, the less of it shows."""
    image = np.zeros((20, 20, 1), np.uint8)
    image[15:, 15:] = 255
    nnf = identity(20, 20)
    nnf[6, 6] = (17, 17)
    shown = []
    for worse in (0.0, 10.0, 1000.0):
        error = np.full((20, 20), 1.0, np.float32)
        error[6, 6] += worse
        shown.append(int(vote(nnf, image, patch=3, error=error)[6, 6, 0]))
    assert shown[0] == vote(nnf, image, patch=3)[6, 6, 0] == round(255 / 9)
    assert shown[0] > shown[1] > shown[2] >= 0


def test_weights_don_t_depend_on_the_unit_of_the_errors() -> None:
    nnf = np.random.default_rng(0).integers(0, 20, (20, 20, 2)).astype(np.int16)
    error = np.random.default_rng(1).integers(0, 1000, (20, 20)).astype(np.float32)
    image = noise((20, 20, 3))
    assert np.array_equal(
        vote(nnf, image, patch=5, error=error), vote(nnf, image, patch=5, error=error * np.float32(2**-20))
    )


@pytest.mark.parametrize("patch", [3, 5, 21])
def test_an_identical_field_copies_the_image(patch: int) -> None:
    image = noise((50, 61, 3))
    assert np.array_equal(vote(identity(50, 61), image, patch=patch), image)


@pytest.mark.parametrize("channels", [None, 1, 3, 4, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_votes_as_its_members_do(channels: int | None, weighted: bool) -> None:
    rng = np.random.default_rng(2)
    nnf = rng.integers(0, 20, (3, 17, 23, 2)).astype(np.int16)
    images = noise((3, 21, 25) if channels is None else (3, 21, 25, channels))
    error = rng.random((3, 17, 23)).astype(np.float32) if weighted else None
    batch = vote(nnf, images, patch=5, error=error)
    assert batch.shape == (3, 17, 23, *images.shape[3:])
    for number in range(3):
        one = vote(nnf[number], images[number], patch=5, error=None if error is None else error[number])
        assert np.array_equal(batch[number], one)
    assert np.array_equal(batch, vote(nnf, list(images), patch=5, error=error))


@pytest.mark.parametrize("error_weighted", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_a_stored_nnf_votes_what_the_search_voted(channels: int, error_weighted: bool) -> None:
    """So that a clip smoothed again with other styles needs no search."""
    frames = [Frame(noise((45, 50, 3))), Frame(noise((41, 53, 3), seed=1))]
    style = noise((45, 50, channels), seed=2)
    settings = Settings(error_weighted=error_weighted, patch=7, threads=1)
    found = estimate([(0, 1)], frames, [style], settings=settings)
    again = vote(found.nnf_yx[0], style, patch=7, error=found.error[0] if error_weighted else None)
    assert found.voted is not None
    assert np.array_equal(again, found.voted[0])


def test_the_engine_protocol_votes_with_its_settings() -> None:
    engine = NativeEngine(Settings(patch=9, threads=1))
    clip = [engine.frame([noise((30, 33, 3))]), engine.frame([noise((30, 33, 3), seed=1)])]
    found = engine.estimate([(0, 1)], clip)
    assert found.voted is None
    style = noise((30, 33, 3), seed=2)
    painted = engine.vote(found.nnf_yx[0], style, found.error[0])
    assert np.array_equal(painted, vote(found.nnf_yx[0], style, patch=9, error=found.error[0]))
    assert not np.array_equal(painted, engine.vote(found.nnf_yx[0], style))
