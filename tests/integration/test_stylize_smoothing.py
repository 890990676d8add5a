"""Smoothing between steps and afterwards."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stylizing import GREY_LEVELS, NEGATIVE, PROMPT, Bench, plain
from window_oracle import WindowJob, decode, denoise, prepare, shared_frames, window_eps, window_frames

from diffsynth.frames import Image
from diffsynth.progress import Progress
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import Frames, Pictures
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig

pytestmark = pytest.mark.usefixtures("alone")


def fast_blend(source: Image, folder: Path) -> Callable[[Image], Image]:
    def smoothed(frames: Image) -> Image:
        prepared = FastBlendSmootherConfig().build(Runtime("cpu", threads=1)).prepare(Pictures(list(source)))
        folder.mkdir(exist_ok=True)
        work = folder / str(len(list(folder.iterdir())))
        return np.stack(list(prepared.smooth(Pictures([np.ascontiguousarray(each) for each in frames]), work)))

    return smoothed


class Averaging:
    """A smoother without a threshold: frames next to each other are averaged."""

    def prepare(self, guide: Frames, progress: Progress | None = None) -> "Averaging":
        return self

    def smooth(self, style: Frames, work: Path, start: int = 0) -> Iterator[Image]:
        frames = np.stack([style[position] for position in range(len(style))])
        yield from averaged(frames)[start:]


def averaged(frames: Image) -> Image:
    padded = np.concatenate([frames[:1], frames, frames[-1:]]).astype(np.uint16)
    return ((padded[:-2] + 2 * padded[1:-1] + padded[2:]) // 4).astype(np.uint8)


def smoothing_job(bench: Bench, smoother: Callable[[Image], Image], interval: int, ignored: int) -> WindowJob:
    keys: dict[str, Any] = {"smoother": smoother, "interval": interval, "ignore": ignored}
    return WindowJob(bench.model, PROMPT, NEGATIVE, bench.frames, (-1, 0, 1), steps=4, **keys)


SMOOTHING: dict[str, Any] = {
    "combine_pattern": [-1, 0, 1],
    "noise": "shared",
    "smoother": "FastBlendSmoother",
    "num_inference_steps": 4,
}


@pytest.mark.parametrize(("mode", "interval", "ignored"), [("window", 3, 0), ("shared", 2, 0), ("shared", 3, 2)])
def test_steps_are_smoothed_as_the_seed_does(
    bench: Bench, render: Callable[..., Image], monkeypatch: pytest.MonkeyPatch, mode: str, interval: int, ignored: int
) -> None:
    monkeypatch.setattr(FastBlendSmootherConfig, "build", lambda config, runtime: Averaging())
    keys = {"smoother_interval": interval, "ignore_smoother_steps": ignored}
    found = render(attention_mode=mode, **SMOOTHING, **keys)
    oracle = window_frames if mode == "window" else shared_frames
    expected = oracle(smoothing_job(bench, averaged, interval, ignored))
    assert np.abs(found.astype(int) - expected).mean() < GREY_LEVELS
    unsmoothed = render(attention_mode=mode, **SMOOTHING, ignore_smoother_steps=4)
    assert np.abs(found.astype(int) - unsmoothed).mean() > 10 * GREY_LEVELS, "it must make a difference"


def test_step_after_step_is_smoothed(
    bench: Bench, render: Callable[..., Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round through the autoencoder and 256 levels widens a difference: the bound is a part of what becomes of a
    millionth of the noise."""
    monkeypatch.setattr(FastBlendSmootherConfig, "build", lambda config, runtime: Averaging())
    found = render(attention_mode="window", **SMOOTHING, ignore_smoother_steps=1)
    whole = prepare(smoothing_job(bench, averaged, 1, 1), same_chunks=False)
    other = whole.noise * (1 + 1e-6 * torch.randn(whole.noise.shape, generator=torch.Generator().manual_seed(1)))
    expected, nudged = (decode(each.vae, denoise(each, window_eps)) for each in (whole, replace(whole, noise=other)))
    assert np.abs(found.astype(int) - expected).mean() < np.abs(nudged.astype(int) - expected).mean() / 4


def test_matching_between_steps(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    """Patch matching has thresholds: one that falls to the other side moves whole patches, hence a wider bound."""
    found = render(attention_mode="window", **SMOOTHING, smoother_interval=2)
    expected = window_frames(smoothing_job(bench, fast_blend(bench.frames, tmp_path / "work"), 2, 0))
    assert np.abs(found.astype(int) - expected).mean() < 10 * GREY_LEVELS
    unsmoothed = render(attention_mode="window", **SMOOTHING, ignore_smoother_steps=4)
    assert np.abs(found.astype(int) - unsmoothed).mean() > 30 * GREY_LEVELS


def test_extra_deflickering_is_a_post_smoother(bench: Bench, render: Callable[..., Image]) -> None:
    offsets = {"smooth_index": [-2, -1, 1, 2]}
    nets = [plain(bench)]
    extra = render(extra_deflickering_range=2, controlnets=nets)
    assert np.array_equal(
        extra, render(post_smoother="EbsynthSmoother", post_smoother_config=offsets, controlnets=nets)
    )
    assert not np.array_equal(extra, render(controlnets=nets))
