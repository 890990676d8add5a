"""What is held of a clip comes out as it went in, whatever the solver and whatever the networks say."""

import pytest
import torch

from diffsynth.diffusion.hold import Hold
from diffsynth.diffusion.schedule import Schedule, seed_schedule
from diffsynth.diffusion.solvers import begin, solver

SHAPE = (2, 4, 6)


def walk(name: str, hold: Hold, first: torch.Tensor, plan: Schedule) -> torch.Tensor:
    """One frame's way with networks that answer noise."""
    generator = torch.Generator().manual_seed(5)
    moved = solver(name, lambda index: torch.randn(SHAPE, generator=torch.Generator().manual_seed(100 + index)))
    state = begin(moved, first[None])
    for step in plan.steps:
        answer = torch.randn((1, *SHAPE), generator=generator)
        clean = hold.held(plan.clean(state[:, 0], answer, step), range(1), step.index)
        state = moved.advance(state, clean, plan.steps, step.index)
    return state[0, 0]


@pytest.mark.parametrize("name", ["seed_ddim", "dpmpp_2m", "unipc", "euler", "lcm"])
@pytest.mark.parametrize("begins", [0, 4, 6])
def test_the_held_part_ends_as_the_clips_own(name: str, begins: int) -> None:
    generator = torch.Generator().manual_seed(1)
    original, noise = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    share = torch.zeros(1, *SHAPE[1:])
    share[..., 3:] = 1
    hold = Hold(lambda frame: original, lambda frame: share, lambda frame: begins)
    plan = seed_schedule({}, 6)
    found = walk(name, hold, hold.begin(noise, 0, plan), plan)
    # LCM's last step keeps a ten-millionth of its state; the others end at x0 up to float32's rounding.
    assert torch.allclose(found[..., :3], original[..., :3], atol=1e-4)
    assert torch.allclose(found[..., 3:], original[..., 3:], atol=1e-4) == (begins == 6), "and the rest where it begins"


@pytest.mark.parametrize("name", ["seed_ddim", "dpmpp_2m", "unipc", "euler"])
def test_a_frame_that_begins_later_is_until_then_the_clip_with_noise(name: str) -> None:
    """As image-to-image begins: the clip's own latents with as much noise as its first step expects."""
    generator = torch.Generator().manual_seed(2)
    original, noise = torch.randn(SHAPE, generator=generator), torch.randn(SHAPE, generator=generator)
    hold = Hold(lambda frame: original, lambda frame: None, lambda frame: 3)
    plan = seed_schedule({}, 8)
    moved = solver(name, lambda index: noise)
    state = begin(moved, hold.begin(noise, 0, plan)[None])
    for step in plan.steps[:3]:
        clean = hold.held(torch.randn(1, *SHAPE), range(1), step.index)
        state = moved.advance(state, clean, plan.steps, step.index)
    assert torch.allclose(state[0, 0], plan.noised(original, noise, plan.steps[3]), atol=1e-5)


def test_nothing_held_is_nothing_changed() -> None:
    hold = Hold(lambda frame: torch.zeros(SHAPE), lambda frame: None, lambda frame: 0)
    clean = torch.randn(2, *SHAPE)
    assert torch.equal(hold.held(clean, range(2), 0), clean)
