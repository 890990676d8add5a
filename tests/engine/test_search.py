"""The search against brute force and against what a right answer must look like."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import best_energies, energies
from pictures import picture, warped
from skimage import data

from diffsynth.engines.native import Frame, Settings, estimate


@pytest.mark.parametrize(("patch", "allowed"), [(11, 1.02), (5, 1.05)])
@pytest.mark.parametrize("kind", ["warp", "photo"])
def test_energy_is_close_to_the_optimum(patch: int, allowed: float, kind: str) -> None:
    """`allowed` is the project's stated bound on a randomized search's loss against all n^2 comparisons."""
    if kind == "warp":
        source = picture(128, 120)
        target = warped(source, (3, -5), bend=2)
    else:
        source = np.ascontiguousarray(data.astronaut()[60:188, 180:308])
        target = warped(source, (2.5, 4), bend=1.5)
    found = estimate([(0, 1)], [Frame(source), Frame(target)], patch=patch, threads=1)
    optimum = best_energies(source, target, patch).sum()
    assert energies(found.nnf_yx[0], source, target, patch).sum() <= allowed * optimum


@pytest.mark.parametrize("patch", [3, 5, 7, 11, 21, 33])
def test_error_map_is_the_energy_of_the_nnf(patch: int) -> None:
    source, target = picture(70, 83, seed=1), picture(75, 61, seed=2)
    found = estimate([(0, 1)], [Frame(source), Frame(target)], patch=patch, threads=1)
    expected = energies(found.nnf_yx[0], source, target, patch)
    # 1e-5: weights are integers of 20 bits, and the map is float32.
    np.testing.assert_allclose(found.error[0], expected, rtol=1e-5)


def test_weights_and_channels_of_several_guides() -> None:
    source = [picture(40, 44, c, seed=c) for c in (1, 2, 3, 4, 7)]
    target = [picture(38, 47, c, seed=10 + c) for c in (1, 2, 3, 4, 7)]
    weights = (0.5, 2.0, 1.0, 30.0, 0.0)
    found = estimate([(0, 1)], [Frame(source), Frame(target)], patch=5, weights=weights, threads=1)
    parts = [w * energies(found.nnf_yx[0], s, t, 5) for w, s, t in zip(weights, source, target, strict=True)]
    np.testing.assert_allclose(found.error[0], sum(parts), rtol=2e-5)


def test_identical_frames_give_identity_and_an_exact_copy() -> None:
    image, style = picture(61, 73), picture(61, 73, seed=5)
    frame = Frame(image)
    found = estimate([(0, 0)], [frame], [style], patch=7, threads=1)
    assert found.voted is not None
    np.testing.assert_array_equal(found.nnf_yx[0], np.moveaxis(np.indices((61, 73)), 0, -1))
    np.testing.assert_array_equal(found.voted[0], style)
    assert found.error.max() == 0


@pytest.mark.parametrize("preset", ["video", "generic"])
@pytest.mark.parametrize("shift", [(4, -7), (-9, 3), (0, 12)])
def test_an_integer_shift_is_recovered(preset: str, shift: tuple[int, int]) -> None:
    wide = picture(140, 150)
    source = np.ascontiguousarray(wide[20:120, 20:130])
    target = np.ascontiguousarray(wide[20 + shift[0] : 120 + shift[0], 20 + shift[1] : 130 + shift[1]])
    uniformity = 0.0
    chosen = Settings(preset=preset, patch=7, threads=1, uniformity=uniformity)  # type: ignore[arg-type]
    nnf = estimate([(0, 1)], [Frame(source), Frame(target)], settings=chosen).nnf_yx[0].astype(int)
    offset = nnf - np.moveaxis(np.indices((100, 110)), 0, -1)
    # Pixels whose match lies outside of the source, or whose patch does, have no exact answer.
    inner = offset[16:-16, 16:-16]
    assert (inner == shift).all(-1).mean() > 0.99


def test_stereo_pair_is_matched_along_its_rows() -> None:
    """scikit-image's stereo photographs come by download; this is its bundled cup, seen with a known disparity."""
    right = np.ascontiguousarray(data.coffee()[40:360, 100:500])
    y, x = np.mgrid[0:320, 0:400]
    disparity = np.rint(6 + 5 * np.exp(-(((y - 170) / 90) ** 2) - ((x - 190) / 110) ** 2)).astype(int)
    left = right[y, np.minimum(x + disparity, 399)]
    nnf = estimate([(0, 1)], [Frame(right), Frame(left)], patch=11, threads=1).nnf_yx[0].astype(int)
    error = np.hypot(nnf[..., 0] - y, nnf[..., 1] - x - disparity)[12:-12, 12:-24]
    assert (error <= 1).mean() > 0.93, "flat parts of the cup have no single answer; the others must be found"
    assert np.median(error) == 0


@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    rows=st.integers(1, 19),
    columns=st.integers(1, 19),
    patch=st.sampled_from([3, 5, 9, 11, 21, 33]),
    channels=st.integers(1, 8),
    with_style=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_size_gives_points_inside_the_source(  # noqa: PLR0917 - hypothesis passes each by name
    height: int, width: int, rows: int, columns: int, patch: int, channels: int, with_style: bool
) -> None:
    """1 x N images, sizes that nothing divides, images far smaller than the patch."""
    source, target = picture(rows, columns, channels), picture(height, width, channels, seed=1)
    styles = [picture(rows, columns, channels, seed=2)] if with_style else None
    found = estimate([(0, 1)], [Frame(source), Frame(target)], styles, patch=patch, threads=1)
    assert found.nnf_yx.shape == (1, height, width, 2)
    assert found.nnf_yx.min() >= 0
    assert found.nnf_yx[..., 0].max() < rows
    assert found.nnf_yx[..., 1].max() < columns
    assert np.isfinite(found.error).all()
    if styles is not None:
        assert found.voted is not None
        assert found.voted.shape == (1, height, width, channels)


def test_no_sweep_raises_the_energy_while_the_style_is_fixed() -> None:
    source, style = picture(96, 90), picture(96, 90, seed=4)
    frames = [Frame(source), Frame(warped(source, (3, 2), bend=3))]
    for styles in (None, [style]):
        steps: list[tuple[tuple[int, int], float]] = []
        estimate(
            [(0, 1)],
            frames,
            styles,
            settings=Settings(patch=5, rounds=3, sweeps=4, uniformity=0.0, threads=1),
            trace=lambda _pair, level, turn, _sweep, energy, to=steps: to.append(((level, turn), energy)),
        )
        assert len(steps) > 12
        # Between two votes the style is fixed; without a style it always is, but levels differ.
        pairs = [(a, b) for (at, a), (then, b) in pairwise(steps) if at == then]
        assert all(after <= before for before, after in pairs)


def test_masks_and_modulation() -> None:
    source, target = picture(64, 64), picture(64, 64, seed=1)
    frames = [Frame([source, picture(64, 64, seed=3)]), Frame([target, picture(64, 64, seed=4)])]
    from diffsynth.engines.native import Masks

    allowed = np.zeros((64, 64), np.uint8)
    allowed[5:20, 30:50] = 1
    searched = np.zeros((64, 64), np.uint8)
    searched[:, :32] = 1
    found = estimate([(0, 1)], frames, init="identity", patch=5, masks=Masks(target=searched), threads=1).nnf_yx[0]
    here = np.moveaxis(np.indices((64, 64)), 0, -1)
    np.testing.assert_array_equal(found[:, 32:], here[:, 32:])
    assert (found[:, :32] != here[:, :32]).any(-1).mean() > 0.5
    found = estimate([(0, 1)], frames, patch=5, masks=Masks(source=allowed), threads=1).nnf_yx[0]
    assert allowed[found[..., 0], found[..., 1]].all()
    # A guide scaled to nothing is as good as absent, one scaled by 255 as if the map were not there.
    off, full = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
    modulated = estimate([(0, 1)], frames, patch=5, masks=Masks(modulation=[full, off]), threads=1)
    alone = estimate([(0, 1)], [Frame(source), Frame(target)], patch=5, weights=[0.5], threads=1)
    np.testing.assert_array_equal(modulated.nnf_yx, alone.nnf_yx)
    np.testing.assert_allclose(modulated.error, alone.error, rtol=1e-5)


def test_previous_nnf_is_a_start() -> None:
    wide = picture(150, 150)
    source, target = np.ascontiguousarray(wide[:100, :100]), np.ascontiguousarray(wide[40:140, 30:130])
    y, x = np.mgrid[0:100, 0:100]
    truth = np.stack([np.minimum(y + 40, 99), np.minimum(x + 30, 99)], -1).astype(np.int16)
    one_look = Settings(patch=5, levels=1, rounds=1, sweeps=1, threads=1)
    frames = [Frame(source), Frame(target)]
    started = estimate([(0, 1)], frames, init=[truth], settings=one_look)
    assert started.error[0, 5:55, 5:65].max() == 0
    assert estimate([(0, 1)], frames, settings=one_look).error[0, 5:55, 5:65].mean() > 1000
