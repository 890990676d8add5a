"""Metrics on clips whose values are known in advance."""

import numpy as np
import pytest

from diffsynth.errors import MediaError
from diffsynth.frames import Image
from diffsynth.metrics import METRICS, Measured, measure
from diffsynth.metrics.flow import flow, visible, warped
from diffsynth.smoothers.base import Pictures
from tests.flicker_scene import flickering, moving, surface


def of(source: list[Image], clip: list[Image], truth: list[Image] | None = None) -> Measured:
    found = measure(
        Pictures(source), {"source": Pictures(source), "clip": Pictures(clip)}, Pictures(truth) if truth else None
    )
    return found["clip"]


def still(count: int = 5) -> list[Image]:
    return [surface(1, 96, 128)] * count


def offset(frames: list[Image], offsets: list[int]) -> list[Image]:
    return [np.clip(frame.astype(int) + by, 0, 255).astype(np.uint8) for frame, by in zip(frames, offsets, strict=True)]


def grey(count: int = 5) -> list[Image]:
    """Textured, and far enough from black and white that offsets don't clip."""
    return [(frame // 3 + 80).astype(np.uint8) for frame in still(count)]


def test_flow_finds_a_shift() -> None:
    here, there = moving(2, 96, 128)
    motion = flow(here, there)
    assert np.abs(np.median(motion, axis=(0, 1)) - (-2, -1)).max() < 0.1
    assert visible(motion, flow(there, here)).mean() > 0.8


def test_what_is_hidden_is_not_seen() -> None:
    forth = np.zeros((40, 60, 2), np.float32)
    back = np.zeros((40, 60, 2), np.float32)
    back[:, 30:] = 9
    seen = visible(forth, back)
    assert seen[:, :28].all()
    assert not seen[:, 32:].any()


def test_warping_is_done_in_float() -> None:
    picture = np.array([[0, 255]], np.uint8).repeat(4, 0)
    motion = np.full((4, 2, 2), 0.0, np.float32)
    change = np.zeros_like(picture) - warped(picture, motion)
    assert change.min() == -255


def test_a_still_clip_has_no_error_at_all() -> None:
    found = of(still(), still(), still())
    assert found["warp_error"] == 0
    assert found["flicker"] == 0
    assert found["sharpness"] == pytest.approx(1)
    assert found["structure"] == pytest.approx(1)
    assert found["colour_drift"] == 0
    assert found["psnr"] > 100


def test_a_known_flicker_is_measured_in_grey_levels() -> None:
    found = of(grey(), offset(grey(), [0, 10, 0, 10, 0]), grey())
    assert found["warp_error"] == pytest.approx(10)
    assert found["flicker"] == pytest.approx(10)
    assert found["colour_drift"] == pytest.approx(10)
    assert found.curves["psnr"].values[0] == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)
    assert len(found.curves["flicker"].values) == 4


def test_differences_of_bytes_do_not_wrap() -> None:
    """5 - 250 as bytes would be 11."""
    dark, light = np.full((64, 64, 3), 5, np.uint8), np.full((64, 64, 3), 250, np.uint8)
    source = [np.full((64, 64, 3), 128, np.uint8)] * 3
    assert of(source, [dark, light, dark])["warp_error"] == pytest.approx(245)


def test_the_sources_own_change_is_no_flicker() -> None:
    source = offset(grey(), [0, 3, 6, 9, 12])
    assert of(source, source)["flicker"] == 0
    assert of(source, source)["colour_drift"] == 0


def test_blur_costs_sharpness_and_noise_earns_none() -> None:
    import cv2

    source = moving(6, 96, 128)
    blurred = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in source]
    assert of(source, blurred)["sharpness"] < 0.6
    draw = np.random.default_rng(0)
    noisy = [np.clip(frame + draw.normal(0, 8, frame.shape), 0, 255).astype(np.uint8) for frame in source]
    assert of(source, noisy)["sharpness"] == pytest.approx(1, abs=0.1)


def test_without_truth_there_is_no_psnr_and_without_stillness_no_flicker() -> None:
    frames = moving(4, 96, 128)
    found = of(frames, flickering(frames))
    assert "psnr" not in found.curves
    assert found["flicker"] is None
    assert found.curves["flicker"].values == (None,) * 3
    assert set(found.curves) == set(METRICS) - {"psnr"}


def test_clips_of_other_length_are_refused() -> None:
    with pytest.raises(MediaError, match="5 frames, but the styled clip has 4"):
        of(still(5), still(4))
