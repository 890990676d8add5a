"""Patterns: which frames a frame attends to, and the batches that follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.attention.patterns import (
    Batch,
    Reference,
    Source,
    key_frame,
    named,
    resolve,
    shared_batch,
    window_batch,
)

SEED = (-10000, -1, 0, 1)
entries = st.one_of(st.integers(-12, 12), st.just("first"), st.sampled_from(["reference_0", "reference_1"]))
patterns = st.lists(entries, max_size=4).map(lambda rest: (0, *rest))
places = st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("self", (0,)),
        ("first+previous", ("first", -1, 0)),
        ("seed", SEED),
        ("sliding(2)", (-2, -1, 0, 1, 2)),
        ("keys(2)", (0, "key_0/2", "key_1/2")),
        ("sliding", None),
        ("self(1)", None),
        ("keys(0)", None),
        ("keys(65)", None),
        ("anything", None),
    ],
)
def test_names(text: str, expected: tuple[int | str, ...] | None) -> None:
    assert named(text) == expected


def test_an_offset_past_an_end_is_that_end() -> None:
    assert resolve(SEED, 0, 5) == (0, 0, 0, 1)
    assert resolve(SEED, 2, 5) == (0, 1, 2, 3)
    assert resolve(SEED, 4, 5) == (0, 3, 4, 4)
    assert resolve(SEED, 0, 1) == (0, 0, 0, 0)


def test_first_is_the_first_frame_however_long_the_clip() -> None:
    assert resolve(("first", -10000), 20_000, 30_000) == (0, 10_000)


def test_key_frames_are_spread_evenly() -> None:
    assert [key_frame(number, 3, 48) for number in range(3)] == [8, 24, 40]
    assert [key_frame(number, 4, 2) for number in range(4)] == [0, 0, 1, 1]
    assert key_frame(0, 1, 1) == 0


def attended(batch: Batch, row: int) -> list[Source]:
    """What a row sees, with multiplicity."""
    return [batch.rows[each] for each in batch.asked[row // batch.asking]]


@given(pattern=patterns, place=places)
def test_a_window_holds_the_pattern_and_lets_all_of_it_see_all_of_it(
    pattern: tuple[int | str, ...], place: tuple[int, int]
) -> None:
    count, frame = place
    batch = window_batch(pattern, frame, count)
    assert [batch.rows[each] for each in batch.wanted] == [frame]
    for row in range(len(batch.rows)):
        assert attended(batch, row) == list(resolve(pattern, frame, count))


@given(pattern=patterns, place=places, size=st.integers(1, 12), halo=st.integers(1, 3))
def test_a_chunks_own_frames_see_exactly_their_pattern(
    pattern: tuple[int | str, ...], place: tuple[int, int], size: int, halo: int
) -> None:
    count, start = place
    chunk = range(start, min(start + size, count))
    batch = shared_batch(pattern, chunk, count, halo)
    assert [batch.rows[each] for each in batch.wanted] == list(chunk)
    assert len(set(batch.rows)) == len(batch.rows)
    for number in batch.wanted:
        frame = batch.rows[number]
        assert isinstance(frame, int)
        assert attended(batch, number) == list(resolve(pattern, frame, count))
    for number, row in enumerate(batch.rows):
        if isinstance(row, Reference):
            assert set(attended(batch, number)) == {row}


@given(pattern=patterns, count=st.integers(1, 30))
def test_the_whole_clip_in_one_chunk_needs_no_halo(pattern: tuple[int | str, ...], count: int) -> None:
    batch = shared_batch(pattern, range(count), count, 2)
    assert batch.rows[:count] == tuple(range(count))


@given(place=places, halo=st.integers(0, 3))
def test_rings_around_a_chunk_are_as_many_as_asked_for(place: tuple[int, int], halo: int) -> None:
    count, frame = place
    batch = shared_batch((-1, 0, 1), range(frame, frame + 1), count, halo)
    assert batch.rows == tuple(range(max(frame - halo, 0), min(frame + halo, count - 1) + 1))
