"""What every smoother promises, whatever it does in between."""

from pathlib import Path

import numpy as np
import pytest

from diffsynth.errors import MediaError
from diffsynth.frames import Image
from diffsynth.runtime import Runtime
from diffsynth.smoothers import SmootherConfig
from diffsynth.smoothers.base import Pictures, Smoother
from diffsynth.smoothers.ebsynth_smoother import EbsynthSmootherConfig
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig
from diffsynth.smoothers.py_synth import PySynthSmootherConfig
from diffsynth.smoothers.video_patch_match import VideoPatchMatchSmootherConfig
from tests.flicker_scene import flickering, moving, surface, true_style

CONFIGS: dict[str, SmootherConfig] = {
    "ebsynth": EbsynthSmootherConfig(),
    "ebsynth, pair by pair": EbsynthSmootherConfig(smooth_index=(-3, -1, 1, 3), n_jobs=1),
    "fast": FastBlendSmootherConfig(mode="fast", window_size=3),
    "balanced": FastBlendSmootherConfig(mode="balanced", window_size=3),
    "accurate": FastBlendSmootherConfig(mode="accurate", window_size=2),
    "fast, random start": FastBlendSmootherConfig(window_size=3, initialize="random", num_iter=3),
    "style matched": FastBlendSmootherConfig(mode="balanced", window_size=2, match_style=True),
    "tracking": FastBlendSmootherConfig(window_size=3, tracking_window_size=1),
    "plain mean": FastBlendSmootherConfig(mode="balanced", window_size=2, blend="mean"),
    "fastest": PySynthSmootherConfig(),
    "slowest": PySynthSmootherConfig(speed="slowest"),
    "fastest, with detail": PySynthSmootherConfig(blend="detail", window_size=10000),
    "whole clip": VideoPatchMatchSmootherConfig(),
    "whole clip, twice": VideoPatchMatchSmootherConfig(num_iter=2),
}


@pytest.fixture(params=list(CONFIGS.values()), ids=list(CONFIGS))
def smoother(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smoother:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config: SmootherConfig = request.param
    return config.build(Runtime(threads=1))


def smooth(smoother: Smoother, guide: list[Image], style: list[Image], work: Path, start: int = 0) -> list[Image]:
    return list(smoother.prepare(Pictures(guide)).smooth(Pictures(style), work, start))


def test_frames_keep_their_number_shape_and_type(smoother: Smoother, tmp_path: Path) -> None:
    guide = moving(6)
    out = smooth(smoother, guide, flickering(guide), tmp_path)
    assert len(out) == 6
    assert {(each.shape, each.dtype) for each in out} == {((48, 64, 3), np.dtype(np.uint8))}


def test_inputs_are_left_as_they_are(smoother: Smoother, tmp_path: Path) -> None:
    guide = moving(5)
    style = flickering(guide)
    copies = [each.copy() for each in (*guide, *style)]
    for each in (*guide, *style):
        each.flags.writeable = False
    smooth(smoother, guide, style, tmp_path)
    for copy, each in zip(copies, (*guide, *style), strict=True):
        np.testing.assert_array_equal(copy, each)


def test_one_frame_is_left_alone(smoother: Smoother, tmp_path: Path) -> None:
    guide = moving(1)
    (out,) = smooth(smoother, guide, true_style(guide), tmp_path)
    np.testing.assert_array_equal(out, true_style(guide)[0])


def test_a_clip_that_stands_still_is_a_fixed_point(smoother: Smoother, tmp_path: Path) -> None:
    guide = [surface(1, 48, 64)] * 5
    style = [surface(2, 48, 64)] * 5
    for out in smooth(smoother, guide, style, tmp_path):
        np.testing.assert_array_equal(out, style[0])


def test_the_same_clips_give_the_same_bytes(smoother: Smoother, tmp_path: Path) -> None:
    guide = moving(5)
    style = flickering(guide)
    first = smooth(smoother, guide, style, tmp_path / "a")
    for one, other in zip(first, smooth(smoother, guide, style, tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_going_on_from_any_frame_gives_the_same_bytes(smoother: Smoother, tmp_path: Path) -> None:
    guide = moving(6)
    style = flickering(guide)
    whole = smooth(smoother, guide, style, tmp_path / "a")
    for start in (1, 4, 6):
        rest = smooth(smoother, guide, style, tmp_path / f"from{start}", start)
        assert len(rest) == 6 - start
        for one, other in zip(whole[start:], rest, strict=True):
            np.testing.assert_array_equal(one, other)


def test_flicker_falls(smoother: Smoother, tmp_path: Path) -> None:
    """Offsets of 12 grey levels that change with each frame: their spread over the clip must shrink."""
    guide = moving(8)
    style, true = flickering(guide), true_style(guide)
    before = np.std([(s.astype(float) - t).mean((0, 1)) for s, t in zip(style, true, strict=True)])
    out = smooth(smoother, guide, style, tmp_path)
    after = np.std([(s.astype(float) - t).mean((0, 1)) for s, t in zip(out, true, strict=True)])
    assert after < 0.8 * before


def test_nothing_crosses_a_cut(smoother: Smoother, tmp_path: Path) -> None:
    guide = [np.full((48, 64, 3), 30, np.uint8)] * 3 + [np.full((48, 64, 3), 220, np.uint8)] * 3
    style = [np.full((48, 64, 3), 100, np.uint8)] * 3 + [np.full((48, 64, 3), 150, np.uint8)] * 3
    for out, expected in zip(smooth(smoother, guide, style, tmp_path), style, strict=True):
        np.testing.assert_array_equal(out, expected)


def test_clips_that_don_t_fit_are_refused(smoother: Smoother, tmp_path: Path) -> None:
    guide = moving(4)
    with pytest.raises(MediaError, match="4 frames, but the styled clip has 3"):
        smooth(smoother, guide, flickering(guide)[:3], tmp_path)
    with pytest.raises(MediaError, match="64×48, but the styled clip is 32×24"):
        smooth(smoother, guide, moving(4, 24, 32), tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_threads_change_no_byte(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    guide = moving(5)
    results = []
    for threads in (1, 3):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{threads}"))
        built = CONFIGS[name].build(Runtime(threads=threads))
        results.append(smooth(built, guide, flickering(guide), tmp_path / f"work{threads}"))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
