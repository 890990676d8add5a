"""Values over a clip: at key frames, between them, and past both ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.tracks import Track, number_at, steady_weights

KEYS = st.dictionaries(st.integers(0, 200), st.floats(-10, 10), min_size=1, max_size=6)


@given(KEYS, st.integers(0, 300))
def test_numbers_lie_on_straight_lines_between_key_frames(keys: dict[int, float], frame: int) -> None:
    frames = sorted(keys)
    expected = np.interp(frame, frames, [keys[each] for each in frames])
    # Both are a line through the same two points, put together in another order.
    assert number_at(Track.of(keys), frame) == pytest.approx(expected, abs=1e-9)


@given(KEYS)
def test_a_key_frame_has_its_very_value(keys: dict[int, float]) -> None:
    track = Track.of(keys)
    assert {frame: number_at(track, frame) for frame in keys} == keys


@given(KEYS, st.lists(st.integers(0, 300), min_size=1, max_size=9, unique=True).map(sorted))
def test_frames_that_are_rendered_alone_keep_their_values(keys: dict[int, float], shown: list[int]) -> None:
    track = Track.of(keys)
    assert [number_at(track.among(shown), k) for k in range(len(shown))] == [number_at(track, each) for each in shown]


@given(st.floats(0, 1))
def test_mixed_noise_keeps_its_variance(share: float) -> None:
    one, other = steady_weights(share)
    assert one**2 + other**2 == pytest.approx(1, abs=1e-12)


def test_texts_are_mixed_by_shares() -> None:
    track = Track.of({0: "a", 10: "b"})
    assert (track.between(5).before, track.between(5).after, track.between(5).share) == ("a", "b", 0.5)
    assert track.between(10).share == 0
    assert track.between(10).before == "b"
    assert Track.of("a").constant
    assert Track.of({0: "a", 9: "a"}).constant
    assert not track.constant
