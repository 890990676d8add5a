"""Schedules against diffusers' DDIM, and against the seed's formulas worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split

from diffsynth.diffusion.schedule import is_plain, schedule, seed_schedule
from diffsynth.errors import ModelError

SD15: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
VELOCITY = {**SD15, "prediction_type": "v_prediction"}
ZERO_SNR = {**VELOCITY, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@pytest.mark.parametrize("count", [1, 5, 20, 50])
def test_the_seeds_steps_where_they_divide_a_thousand(count: int) -> None:
    made = seed_schedule(SD15, count)
    times = np.arange(999, -1, -(1000 // count))
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)
    assert [step.timestep for step in made.steps] == list(times)
    np.testing.assert_allclose([step.signal for step in made.steps], signal[times])
    following = [signal[t - 1000 // count] if t >= 1000 // count else 1.0 for t in times]
    np.testing.assert_allclose([step.next_signal for step in made.steps], following)


@pytest.mark.parametrize("count", [3, 7, 30, 999])
def test_as_many_steps_as_asked_for_where_they_do_not(count: int) -> None:
    made = seed_schedule(SD15, count)
    assert [step.timestep for step in made.steps] == [round(1000 - k * 1000 / count) - 1 for k in range(count)]
    assert made.steps[-1].next_signal == 1
    for step, following in zip(made.steps, made.steps[1:], strict=False):
        assert step.next_signal == following.signal


def test_a_clean_picture_comes_back_from_its_noise() -> None:
    made = seed_schedule(SD15, 10)
    picture, noise = torch.rand((2, 4, 4, 4), generator=torch.Generator().manual_seed(0)), torch.ones((2, 4, 4, 4))
    for step in made.steps:
        np.testing.assert_allclose(made.clean(made.noised(picture, noise, step), noise, step), picture, atol=1e-4)


@pytest.mark.parametrize(("strength", "kept"), [(1.0, 20), (0.6, 12), (0.33, 6), (0.04, 0), (0.0, 0)])
def test_image_to_image_keeps_the_last_steps(strength: float, kept: int) -> None:
    whole = seed_schedule(SD15, 20)
    cut = whole.cut(strength)
    assert [step.timestep for step in cut.steps] == [step.timestep for step in whole.steps[20 - kept :]]
    assert [step.index for step in cut.steps] == list(range(kept))


def test_which_checkpoints_are_plain() -> None:
    assert is_plain(SD15)
    assert schedule("auto", SD15, 5, "here").name == "seed_ddim"
    for other in (VELOCITY, ZERO_SNR, {**SD15, "beta_schedule": "linear"}, {**SD15, "timestep_spacing": "trailing"}):
        assert not is_plain(other)
        assert schedule("auto", other, 5, "here").name == "ddim"


def test_a_schedule_that_does_not_fit_the_network_is_refused() -> None:
    with pytest.raises(ModelError, match="for epsilon networks"):
        schedule("seed_ddim", VELOCITY, 5, "here")
    with pytest.raises(ModelError, match="pure noise"):
        schedule("ddim", {**ZERO_SNR, "prediction_type": "epsilon"}, 5, "here")
    with pytest.raises(ModelError, match="prediction_type"):
        schedule("ddim", {**SD15, "prediction_type": "flow"}, 5, "here")
