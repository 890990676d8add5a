"""Cuts, matches, postprocessing, repair and interpolation by themselves."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageEnhance

from diffsynth.runtime import Runtime
from diffsynth.smoothers import remapping
from diffsynth.smoothers.base import Pictures
from diffsynth.smoothers.cuts import find_cuts
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig
from diffsynth.smoothers.interpolation import InterpolationConfig, around
from diffsynth.smoothers.match_cache import MatchCache
from diffsynth.smoothers.matching import Matcher
from diffsynth.smoothers.postprocessing import PostprocessingConfig
from diffsynth.smoothers.py_synth import PySynthSmootherConfig
from diffsynth.smoothers.remapping import looked_up
from diffsynth.smoothers.repair import Repaired
from diffsynth.smoothers.window_smoother import native_matching
from diffsynth.smoothers.windows import Shot
from tests.flicker_scene import flickering, moving, surface, true_style

RUNTIME = Runtime(threads=1)


def test_a_cut_is_found_and_motion_is_none() -> None:
    assert find_cuts(Pictures(moving(12))) == []
    assert find_cuts(Pictures([*moving(6, seed=1), *moving(5, seed=2), *moving(4, seed=3)])) == [6, 11]
    fade = [np.full((48, 64, 3), 20 + 8 * t, np.uint8) for t in range(12)]
    assert find_cuts(Pictures(fade)) == []
    assert find_cuts(Pictures(moving(1))) == []


def test_guides_are_matched_once_and_a_second_style_only_votes(tmp_path: Path) -> None:
    config = FastBlendSmootherConfig(window_size=4, cache_path=str(tmp_path / "cache"))
    guide = moving(8)
    prepared = config.build(RUNTIME).prepare(Pictures(guide))
    first = list(prepared.smooth(Pictures(flickering(guide)), tmp_path / "a"))
    found = prepared.matcher.found
    assert found > 0
    list(prepared.smooth(Pictures(flickering(guide, seed=9)), tmp_path / "b"))
    assert prepared.matcher.found == found
    again = config.build(RUNTIME).prepare(Pictures(guide))
    for one, other in zip(first, again.smooth(Pictures(flickering(guide)), tmp_path / "c"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.matcher.found == 0


@pytest.mark.parametrize("limit", ["KEPT_LAYERS", "KEPT_BYTES"])
def test_layers_that_are_painted_twice_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    guide = moving(5)
    config = FastBlendSmootherConfig(mode="balanced", window_size=4, cache_gigabytes=0.0)
    results, found = [], []
    for bound in (None, 1):
        if bound is not None:
            monkeypatch.setattr(remapping, limit, bound)
        prepared = config.build(RUNTIME).prepare(Pictures(guide))
        results.append(list(prepared.smooth(Pictures(flickering(guide)), tmp_path)))
        found.append(prepared.matcher.found)
    np.testing.assert_array_equal(*results)
    assert found[1] == 2 * found[0], "the bound had no effect"


@pytest.mark.parametrize("lost", ["style/complete.json", "guide/complete.json", "guide"])
def test_a_table_that_was_left_half_done_is_finished(tmp_path: Path, lost: str) -> None:
    guide = moving(8)
    smoother = FastBlendSmootherConfig(window_size=4, cache_gigabytes=0.0).build(RUNTIME)
    prepared = smoother.prepare(Pictures(guide))
    whole = list(prepared.smooth(Pictures(flickering(guide)), tmp_path))
    for path in tmp_path.glob(f"round1/level*/{lost}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for one, other in zip(whole, prepared.smooth(Pictures(flickering(guide)), tmp_path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_setting_of_the_search_is_another_match(tmp_path: Path) -> None:
    guide = Pictures(moving(3))
    cache = MatchCache(tmp_path)
    for patch, sweeps in ((5, 0), (7, 0), (5, 2)):
        matching = native_matching(RUNTIME, patch=patch, sweeps=sweeps)
        matcher = matching.matcher(guide, cache)
        list(matcher.nnfs([(0, 1)]))
        assert matcher.found == 1


def test_tracking_finds_what_a_neighbour_found_and_keeps_what_was_right(tmp_path: Path) -> None:
    guide = Pictures(moving(5))
    plain = native_matching(RUNTIME, patch=5).matcher(guide, None)
    tracked = native_matching(RUNTIME, patch=5, tracking=2).matcher(guide, MatchCache(tmp_path))
    (before,), (after,) = plain.nnfs([(0, 4)]), tracked.nnfs([(0, 4)])
    rows, columns = np.mgrid[:48, :64]
    right = [np.mean((nnf[..., 0] - rows == 4) & (nnf[..., 1] - columns == 8)) for nnf in (before, after)]
    assert right[1] >= right[0] - 0.02
    (again,) = tracked.nnfs([(0, 4)])
    np.testing.assert_array_equal(after, again)


def test_looking_up_is_indexing() -> None:
    draw = np.random.default_rng(2)
    plane = draw.integers(0, 256, (40, 60), np.uint8)
    nnf = np.stack([draw.integers(0, 40, (20, 30)), draw.integers(0, 60, (20, 30))], -1).astype(np.int16)
    np.testing.assert_array_equal(looked_up(nnf, plane), plane[nnf[..., 0], nnf[..., 1]])


def test_matches_of_a_pan_point_along_it() -> None:
    matcher = native_matching(RUNTIME, patch=5).matcher(Pictures(moving(3)), None)
    (nnf,) = matcher.nnfs([(0, 2)])
    rows, columns = np.mgrid[:48, :64]
    inner = np.s_[4:-8, 4:-12]
    assert np.mean((nnf[..., 0] - rows)[inner] == 2) > 0.95
    assert np.mean((nnf[..., 1] - columns)[inner] == 4) > 0.95


@pytest.mark.parametrize(
    "config",
    [
        FastBlendSmootherConfig(mode="balanced", blend="mean", window_size=3, detect_cuts=False),
        PySynthSmootherConfig(speed="slowest", window_size=3),
    ],
    ids=["FastBlend", "PySynth slowest"],
)
def test_the_plain_mean_is_the_mean(config: FastBlendSmootherConfig | PySynthSmootherConfig, tmp_path: Path) -> None:
    """Over a guide that stands still every match is the same place, so the blend has a closed form."""
    guide = [surface(1, 48, 64)] * 9
    style = flickering(guide)
    out = list(config.build(RUNTIME).prepare(Pictures(guide)).smooth(Pictures(style), tmp_path))
    for t, frame in enumerate(out):
        window = np.stack(style[max(0, t - 3) : t + 4]).astype(np.float64)
        # A vote rounds each remap to bytes before the mean, and the guide is flat nowhere: half a level.
        assert np.abs(frame - window.mean(0)).max() <= 0.51


def test_the_seeds_table_gives_the_same_mean_but_for_rounding(tmp_path: Path) -> None:
    guide = [surface(1, 48, 64)] * 9
    style = flickering(guide)
    config = PySynthSmootherConfig(speed="fastest", window_size=3)
    for t, frame in enumerate(config.build(RUNTIME).prepare(Pictures(guide)).smooth(Pictures(style), tmp_path)):
        window = np.stack(style[max(0, t - 3) : t + 4]).astype(np.float64)
        # Entries of the table are bytes: each of its two levels rounds once, and the result does.
        assert np.abs(frame - window.mean(0)).max() <= 1.51


def test_postprocessing_is_pillows() -> None:
    image = surface(3, 20, 30)
    expected = ImageEnhance.Sharpness(ImageEnhance.Contrast(Pillow.fromarray(image)).enhance(1.5)).enhance(5)
    touch = PostprocessingConfig(contrast=1.5, sharpness=5.0).build()
    assert touch is not None
    np.testing.assert_array_equal(touch(image), np.array(expected))
    assert PostprocessingConfig().build() is None


def test_a_lost_frame_is_painted_from_its_neighbour() -> None:
    guide = moving(5)
    true = true_style(guide)
    broken = [*true[:2], np.zeros_like(true[2]), *true[3:]]
    matching = native_matching(RUNTIME, patch=5)
    matcher = Matcher(Pictures(guide), matching.engine, matching.fingerprint, None)
    repaired = Repaired(Pictures(broken), {2}, matcher, matching.vote)
    inner = np.s_[4:-6, 4:-8]
    assert np.abs(repaired[2].astype(int) - true[2])[inner].mean() < 1
    np.testing.assert_array_equal(repaired[3], true[3])
    assert (len(repaired), repaired.height, repaired.width) == (5, 48, 64)


@given(st.lists(st.integers(0, 59), min_size=1, max_size=8, unique=True), st.integers(0, 59), st.integers(1, 59))
def test_frames_are_painted_from_the_key_frames_around_them(keys: list[int], t: int, cut: int) -> None:
    keys = sorted(keys)
    shot = Shot(0, cut) if t < cut else Shot(cut, 60)
    weights = around(t, keys, shot)
    assert sum(weights.values()) == pytest.approx(1)
    assert min(weights.values()) >= 0
    own = [key for key in keys if key in shot]
    if not own:
        assert abs(next(iter(weights)) - t) == min(abs(key - t) for key in keys)
    elif t in own:
        assert weights[t] == 1
    else:
        before, after = [key for key in own if key < t], [key for key in own if key > t]
        assert set(weights) == {*before[-1:], *after[:1]}
        assert sum(key * weight for key, weight in weights.items()) == pytest.approx(
            t if before and after else next(iter(weights))
        )


@pytest.mark.parametrize("agree", [True, False])
def test_interpolation_keeps_key_frames_and_beats_the_nearest_one(agree: bool) -> None:
    guide = moving(9)
    true = true_style(guide)
    config = InterpolationConfig(agree=agree, cache_gigabytes=0.0)
    out = list(config.build(RUNTIME).frames(Pictures(guide), [0, 8], true.__getitem__))
    np.testing.assert_array_equal(out[0], true[0])
    np.testing.assert_array_equal(out[8], true[8])
    for t in range(1, 8):
        nearest = true[0] if t < 4 else true[8]
        assert np.abs(out[t].astype(int) - true[t]).mean() < 0.4 * np.abs(nearest.astype(int) - true[t]).mean()
    rest = list(config.build(RUNTIME).frames(Pictures(guide), [0, 8], true.__getitem__, 5))
    np.testing.assert_array_equal(rest[0], out[5])


def test_one_key_frame_paints_the_whole_clip() -> None:
    guide = moving(5)
    true = true_style(guide)
    config = InterpolationConfig(cache_gigabytes=0.0)
    out = list(config.build(RUNTIME).frames(Pictures(guide), [2], lambda t: true[t]))
    inner = np.s_[6:-6, 8:-8]
    assert max(np.abs(a.astype(int) - b)[inner].mean() for a, b in zip(out, true, strict=True)) < 2
