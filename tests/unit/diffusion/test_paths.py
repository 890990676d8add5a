"""Properties of paths from video to noise."""

from itertools import pairwise
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsynth.diffusion.objective import DiffusionConfig
from diffsynth.diffusion.paths import Discrete, Flow, asked, meant
from diffsynth.diffusion.targets import Target

PATHS = st.one_of(
    st.builds(Discrete.of, st.sampled_from(["linear", "cosine"]), st.integers(21, 1500)),
    st.builds(Flow, st.sampled_from(["uniform", "logit_normal"]), st.floats(0.2, 6)),
)


@settings(deadline=None)
@given(PATHS, st.integers(1, 20), st.booleans())
def test_levels_go_down_from_noise_to_the_video(path: Discrete | Flow, steps: int, multistep: bool) -> None:
    levels = path.levels(steps, multistep=multistep)
    assert len(levels) == steps + 1
    assert (levels[-1].alpha, levels[-1].sigma, levels[-1].timestep) == (1.0, 0.0, 0.0)
    assert levels[0].signal < 0.1
    for level, following in pairwise(levels):
        assert level.angle > following.angle
        assert level.signal < following.signal
        assert level.timestep > following.timestep or following.timestep == 0
        assert 0 <= level.timestep <= 1000


@settings(deadline=None)
@given(PATHS, st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=2, max_size=9).map(sorted))
def test_later_times_are_noisier(path: Discrete | Flow, times: list[float]) -> None:
    drawn = path.draw(torch.tensor(times))
    assert bool((drawn.timestep.diff() >= 0).all())
    assert bool((drawn.sigma.diff() >= 0).all())
    assert bool((drawn.alpha.diff() <= 0).all())
    assert float(drawn.timestep.min()) >= 0
    assert float(drawn.timestep.max()) <= 1000


@settings(deadline=None)
@given(st.sampled_from(get_args(Target)), st.floats(0.02, 0.98), st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_the_right_answer_means_the_video(target: Target, t: float, values: list[float]) -> None:
    clean, noise = torch.tensor(values, dtype=torch.float64).view(2, 2)
    sigma = torch.tensor(t, dtype=torch.float64)
    alpha = 1 - sigma if target == "flow" else (1 - sigma**2).sqrt()
    answer = asked(target, clean, noise, alpha, sigma)
    torch.testing.assert_close(meant(target, alpha * clean + sigma * noise, answer, alpha, sigma), clean)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_learned_variance_needs_no_many_points(count: int) -> None:
    made = DiffusionConfig(variance="learned_range", train_steps=count).build()
    clean, noise = torch.linspace(-1, 1, 8).view(2, 2, 1, 1, 2), torch.ones(2, 2, 1, 1, 2)
    loss = made.loss(lambda x, t: torch.zeros(2, 2, 2, 1, 2), clean, torch.tensor([0.0, 0.99]), noise)
    assert bool(torch.isfinite(loss).all())
