"""Solvers against diffusers' schedulers, step by step, on a network that is some function of latents and time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import diffusers

from diffsynth.diffusion.schedule import Schedule, SchedulerName, schedule, seed_schedule
from diffsynth.diffusion.solvers import begin, solver

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PLAIN: dict[str, Any] = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
VELOCITY = {**PLAIN, "prediction_type": "v_prediction"}
ZERO_SNR = {**VELOCITY, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
KARRAS = {**PLAIN, "use_karras_sigmas": True}
KINDS: dict[SchedulerName, str] = {
    "ddim": "DDIMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
CASES = [
    *((name, settings) for name in KINDS for settings in (PLAIN, VELOCITY, ZERO_SNR)),
    *((name, KARRAS) for name in ("dpmpp_2m", "unipc", "euler")),
]


def answer(x: Tensor, timestep: float) -> Tensor:
    """Some function of both."""
    return torch.sin(x * 3 + timestep / 200)


def no_noise(index: int) -> Tensor:
    raise AssertionError("this solver adds no noise")


def first() -> Tensor:
    return torch.randn((2, 4, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def walked(made: Schedule, edit: bool = False) -> Tensor:
    moves = solver(made.name, no_noise)
    state = begin(moves, first())
    for step in made.steps:
        clean = made.clean(state[:, 0], answer(state[:, 0], step.timestep), step)
        if edit:
            clean = clean * 0.9 + 0.05
        state = moves.advance(state, clean, made.steps, step.index)
    return state[:, 0]


@pytest.mark.parametrize(("name", "settings"), CASES)
@pytest.mark.parametrize("count", [1, 2, 5, 10, 25])
def test_it_walks_as_diffusers_does(name: SchedulerName, settings: Mapping[str, Any], count: int) -> None:
    scheduler = getattr(diffusers, KINDS[name]).from_config(dict(settings))
    scheduler.set_timesteps(count)
    made = schedule(name, settings, count, "here")
    np.testing.assert_allclose([step.timestep for step in made.steps], scheduler.timesteps, rtol=1e-6)
    # Euler's latents are scaled by √(1 + σ²) there.
    first_scale = 1.0 if name != "euler" else float((scheduler.sigmas[0] ** 2 + 1) ** 0.5)
    x = first() * first_scale
    for t in scheduler.timesteps:
        x = scheduler.step(answer(scheduler.scale_model_input(x, t), float(t)), t, x).prev_sample
    # diffusers keeps its noise levels in float32, and a sine of steep slope amplifies their last bits.
    np.testing.assert_allclose(walked(made), x, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("count", [5, 30])
def test_the_seeds_walk_is_the_formula(count: int) -> None:
    made = seed_schedule(PLAIN, count)
    x = first()
    for step in made.steps:
        noise, a, following = answer(x, step.timestep), step.signal, step.next_signal
        clean = (x - (1 - a) ** 0.5 * noise) / a**0.5
        x = following**0.5 * clean + (1 - following) ** 0.5 * noise
    np.testing.assert_allclose(walked(made), x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["dpmpp_2m", "unipc"])
def test_second_order_is_nearer_to_the_flow_of_many_steps(name: SchedulerName) -> None:
    truth = walked(schedule("euler", PLAIN, 800, "here"))

    def error(which: SchedulerName, count: int) -> float:
        return float((walked(schedule(which, PLAIN, count, "here")) - truth).norm())

    assert error(name, 60) < error("euler", 60)


def test_lcm_walks_as_diffusers_does_with_the_same_noise() -> None:
    settings, count = {**PLAIN}, 4
    made = schedule("lcm", settings, count, "here")
    scheduler = diffusers.LCMScheduler.from_config(dict(settings))
    scheduler.set_timesteps(count)
    assert [step.timestep for step in made.steps] == [int(t) for t in scheduler.timesteps]
    noises = torch.randn((count, 4, 4, 4), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    moves = solver("lcm", lambda index: noises[index])
    state = begin(moves, first())
    for step in made.steps:
        x = state[:, 0]
        clean = made.clean(x, answer(x, step.timestep), step)
        scheduler_step = scheduler.step(answer(x, step.timestep), int(step.timestep), x)
        state = moves.advance(state, clean, made.steps, step.index)
        if step.index < count - 1:
            # Its own noise is drawn inside; the picture that it noises is what can be compared.
            a = step.next_signal
            picture = (state[:, 0] - (1 - a) ** 0.5 * noises[step.index]) / a**0.5
        else:
            picture = state[:, 0]
        np.testing.assert_allclose(picture, scheduler_step.denoised, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_an_edit_counts_in_every_solver(name: SchedulerName) -> None:
    made = schedule(name, PLAIN, 5, "here")
    assert float((walked(made, edit=True) - walked(made)).norm()) > 0.1
