"""Tables against plain enumeration."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.smoothers.windows import Block, Shot, base_level, cover, estimations, prefix_steps, shots, table


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, Shot]:
    first = draw(st.integers(0, 50))
    shot = Shot(first, first + draw(st.integers(1, 300)))
    return draw(st.integers(shot.first, shot.stop - 1)), draw(st.integers(1, 400)), shot


@given(windows())
def test_a_cover_holds_each_frame_of_the_window_once(case: tuple[int, int, Shot]) -> None:
    t, size, shot = case
    shares = cover(t, size, shot)
    held = [frame for share in shares for frame in share.block.frames(shot)]
    assert len(held) == len(set(held)), "blocks overlap"
    window = {frame for frame in range(t - size, t + size + 1) if shot.first <= frame < shot.stop}
    assert window <= set(held)
    for share in shares:
        frames = set(share.block.frames(shot))
        assert frames <= set(range(shot.first, shot.stop))
        assert share.block.anchor(shot) in frames
        assert share.part == pytest.approx(len(frames & window) / len(frames))
        assert share.part > 0


@given(windows())
def test_a_cover_grows_with_the_logarithm_of_the_window(case: tuple[int, int, Shot]) -> None:
    t, size, shot = case
    assert len(cover(t, size, shot)) <= 2 * log2(size + 1) + 5


@given(windows())
def test_blocks_away_from_the_frame_are_no_larger_than_their_distance(case: tuple[int, int, Shot]) -> None:
    t, size, shot = case
    for share in cover(t, size, shot):
        frames = share.block.frames(shot)
        distance = max(frames[0] - t, t - frames[-1], 0)
        assert share.block.level == base_level(size) or 1 << share.block.level <= distance


@given(st.integers(1, 80), st.integers(1, 90), st.lists(st.integers(1, 79), max_size=4))
def test_a_table_holds_what_covers_name_and_nothing_else(count: int, size: int, cuts: list[int]) -> None:
    parts = shots(sorted({cut for cut in cuts if cut < count}), count)
    named = {
        (shot, each.block) for shot in parts for t in range(shot.first, shot.stop) for each in cover(t, size, shot)
    }
    listed = [member for members in table(size, parts).values() for member in members]
    assert len(listed) == len(set(listed))
    assert set(listed) == named


def test_few_pairs_are_matched() -> None:
    """Every output pixel is painted twice at most by construction; this is what that costs."""
    assert estimations(30, (Shot(0, 120),)) / 120 <= 6
    assert estimations(15, (Shot(0, 120),)) / 120 <= 6
    everything = estimations(10_000, (Shot(0, 1000),)) / 1000
    assert everything <= 3 * log2(1000)


def test_estimations_counts_pairs_once_and_none_with_itself() -> None:
    shot = Shot(0, 5)
    block = Block(0, 0)
    assert block.anchor(shot) == 0
    pairs = {(s, t) for t in range(5) for s in range(max(0, t - 1), min(5, t + 2)) if s != t}
    assert estimations(1, (shot,)) == len(pairs)


def test_shots() -> None:
    assert shots([], 7) == (Shot(0, 7),)
    assert shots([3, 5], 7) == (Shot(0, 3), Shot(3, 5), Shot(5, 7))
    assert list(Shot(3, 9).window(4, 2)) == [3, 4, 5, 6]
    assert list(Shot(3, 9).window(8, 2)) == [6, 7, 8]


@given(st.integers(1, 70), st.integers(1, 80))
def test_the_seeds_table_holds_the_frames_before(count: int, size: int) -> None:
    for i, steps in enumerate(prefix_steps(count, size)):
        held = [frame for level, j in steps for frame in range(j - (1 << level) + 1, j + 1)]
        assert sorted(held) == list(range(max(0, i - size), i))
        assert len(steps) <= log2(size) + 1
