"""Objectives against what is known in closed form of Gaussian data, against diffusers, and against integrals."""

import math
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import diffusers

from diffsynth.diffusion.guidance import guided
from diffsynth.diffusion.objective import DiffusionConfig
from diffsynth.diffusion.process import Answer
from diffsynth.diffusion.targets import SOLVERS, SolverName, Target
from diffsynth.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TARGETS = get_args(Target)
MEAN, DEVIATION = 0.4, 0.3
BETAS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
"""diffusers' names."""


def config(objective: Target, **keys: Any) -> DiffusionConfig:
    return DiffusionConfig(objective=objective, **keys)


@cache
def signals_of(schedule: str) -> Tensor:
    signals: Tensor = diffusers.DDPMScheduler(beta_schedule=BETAS[schedule]).alphas_cumprod
    return signals.double()


def rates(objective: Target, t: Tensor, schedule: str = "linear") -> tuple[Tensor, Tensor]:
    """α and σ at timesteps, as diffusers has them, or flow matching's."""
    if objective == "flow":
        return 1 - t / 1000, t / 1000
    signal = signals_of(schedule)[t.round().long()]
    return signal.sqrt(), (1 - signal).sqrt()


def said(objective: Target, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    if objective == "epsilon":
        return noise
    if objective == "x0":
        return clean
    return alpha * noise - sigma * clean if objective == "v" else noise - clean


def beside(values: Tensor) -> Tensor:
    return values.double()[:, None, None, None, None]


def perfect(objective: Target, schedule: str = "linear") -> Answer:
    """The best that a network can say where the data is Gaussian."""

    def answer(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = rates(objective, beside(t), schedule)
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        clean = MEAN + gain * (x - alpha * MEAN)
        # As σ goes to 0 the noise can't be told from x and the video; by their common Gaussian it can.
        noise = sigma * (x - alpha * MEAN) / (alpha**2 * DEVIATION**2 + sigma**2)
        return said(objective, clean, noise, alpha, sigma)

    return answer


def draws(*keys: int) -> Tensor:
    return torch.randn(keys[1:], generator=torch.Generator().manual_seed(keys[0]), dtype=torch.float64)


def noise_at(index: int) -> Tensor:
    return draws(100 + index, 1, 4, 2, 30, 30)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("objective", TARGETS)
def test_a_perfect_network_gives_the_datas_distribution(objective: Target, solver: SolverName) -> None:
    schedules = ("linear", "cosine") if objective != "flow" else ("linear",)
    for schedule in schedules:
        made = config(objective, beta_schedule=schedule).build()
        steps = 100 if solver in FAST else 500 if solver == "ddpm" else 250
        noise = draws(1, 1, 4, 2, 30, 30)
        x = made.sample(perfect(objective, schedule), (noise - noise.mean()) / noise.std(), steps, solver, noise_at)
        # Noise added on the way has its mean to 0.004, its deviation to 0.8 %; the rest is left to the steps.
        assert abs(float(x.mean()) - MEAN) < 0.015
        assert abs(float(x.std()) / DEVIATION - 1) < 0.03


def drift(objective: Target, solver: SolverName, steps: int) -> float:
    """How far from the end of the path that noise flows along, in closed form."""
    noise = draws(2, 1, 1, 1, 8, 8)
    alpha, sigma = rates(objective, torch.tensor([1000.0 if objective == "flow" else 999.0]).double())
    spread = (alpha**2 * DEVIATION**2 + sigma**2).sqrt()
    truth = MEAN + DEVIATION / spread * (noise - alpha * MEAN)
    x = config(objective).build().sample(perfect(objective), noise, steps, solver)
    return float((x - truth).abs().mean())


FAST: tuple[SolverName, ...] = ("heun", "dpmpp_2m", "unipc")


@pytest.mark.parametrize("objective", TARGETS)
def test_twice_as_many_steps_come_nearer_by_the_solvers_order(objective: Target) -> None:
    for solver in ("ddim", "euler"):
        assert drift(objective, solver, 160) < drift(objective, solver, 80) / 1.7
    for solver in FAST:
        # A quarter each time, once the steps are short; the multistep solvers come to that late.
        assert drift(objective, solver, 160) < drift(objective, solver, 40) / 6, solver


@pytest.mark.parametrize("objective", TARGETS)
def test_the_fast_solvers_need_fewer_steps(objective: Target) -> None:
    for solver in FAST:
        assert drift(objective, solver, 20) < drift(objective, "ddim", 20) / 1.4, solver


@pytest.mark.parametrize("schedule", BETAS)
@pytest.mark.parametrize(("learned", "steps"), [(False, 1), (False, 7), (False, 50), (True, 7), (True, 50)])
def test_ddpm_walks_as_diffusers_does(schedule: Any, learned: bool, steps: int) -> None:
    scheduler = diffusers.DDPMScheduler(
        beta_schedule=BETAS[schedule],
        variance_type="learned_range" if learned else "fixed_small",
        clip_sample=False,
        timestep_spacing="linspace" if steps > 1 else "trailing",  # whose single step is the noisiest
    )
    scheduler.set_timesteps(steps)

    def network(x: Tensor, t: float) -> Tensor:
        return torch.cat([torch.sin(3 * x + t / 200), torch.cos(2 * x)] if learned else [torch.sin(3 * x + t / 200)], 1)

    x = first = draws(3, 2, 3, 4, 4)
    random = torch.Generator().manual_seed(4)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, float(t)), t, x, generator=random).prev_sample
    random.manual_seed(4)
    noises = [torch.randn(first.shape, generator=random, dtype=torch.float64)[:, None] for _ in range(steps)]
    made = config("epsilon", beta_schedule=schedule, variance="learned_range" if learned else "fixed").build()
    times: list[float] = []

    def answer(x: Tensor, t: Tensor) -> Tensor:
        times.append(float(t[0]))
        return network(x[:, 0], float(t[0]))[:, None]

    walked = made.sample(answer, first[:, None], steps, "ddpm", noises.__getitem__)
    np.testing.assert_allclose(times, scheduler.timesteps)
    # diffusers keeps its levels in float32: near pure noise 1/α amplifies their last bits.
    scale = float(x.abs().max())
    np.testing.assert_allclose(walked[:, 0] / scale, x / scale, atol=2e-3 if schedule == "cosine" else 1e-4)


def test_flow_walks_as_diffusers_does() -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 12, 12))
    x = first = draws(5, 2, 3, 1, 4, 4)
    for t in scheduler.timesteps:
        x = scheduler.step(torch.sin(3 * x + t / 200), t, x).prev_sample
    made = config("flow", shift=3.0).build()
    walked = made.sample(lambda x, t: torch.sin(3 * x + beside(t) / 200), first, 12, "euler")
    torch.testing.assert_close(walked, x.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 20, 50])
@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m", "unipc"])
def test_respaced_solvers_walk_as_diffusers_do(solver: Any, count: int) -> None:
    kinds = {"euler": "EulerDiscrete", "dpmpp_2m": "DPMSolverMultistep", "unipc": "UniPCMultistep"}
    # linspace begins at the least noise where there is one step of Euler's.
    options = {"timestep_spacing": "trailing" if (solver, count) == ("euler", 1) else "linspace"}
    if solver != "euler":
        options["prediction_type"] = "sample"
    else:
        options["prediction_type"] = "v_prediction"
    objective: Target = "x0" if solver != "euler" else "v"
    kind = getattr(diffusers, f"{kinds[solver]}Scheduler")
    scheduler = kind(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **options)
    scheduler.set_timesteps(count)
    first = draws(6, 2, 1, 3, 4, 4)
    # Euler's latents are scaled by √(1 + σ²) there.
    x = first * (1.0 if solver != "euler" else float((scheduler.sigmas[0] ** 2 + 1) ** 0.5))
    for t in scheduler.timesteps:
        seen = torch.sin(3 * scheduler.scale_model_input(x, t) + t / 200)
        x = scheduler.step(seen, t, x).prev_sample
    walked = config(objective).build().sample(lambda x, t: torch.sin(3 * x + beside(t) / 200), first, count, solver)
    # diffusers keeps its levels in float32, and a sine of steep slope amplifies their last bits.
    torch.testing.assert_close(walked, x.double(), rtol=2e-3, atol=2e-3)


def extras(made: DiffusionConfig, clean: Tensor, u: Tensor, noise: Tensor, spread: Tensor, error: float) -> Tensor:
    """The loss of a network that misses by `error` everywhere, without its square error: the bound's part."""

    def answer(x: Tensor, t: Tensor) -> Tensor:
        right = said(made.objective, clean, noise, *rates(made.objective, beside(t), made.beta_schedule))
        return torch.cat([right + error, spread], 2)

    return made.build().loss(answer, clean, u, noise) - error**2


def gaussian(x: Tensor, clean: float, signals: np.ndarray, t: int) -> tuple[float, float]:
    """Mean and variance of the point before x, by Bayes' rule from the two Gaussians that meet in it."""
    before, signal = (signals[t - 1] if t else 1.0), signals[t]
    keep = math.sqrt(signal / before)
    prior, noise = 1 - before, 1 - keep**2
    variance = 1 / (1 / prior + keep**2 / noise)
    return variance * (math.sqrt(before) * clean / prior + keep * float(x) / noise), variance


@pytest.mark.parametrize("objective", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("t", [1, 17, 400, 999])
def test_the_bound_is_the_integral_of_the_divergence(objective: Target, t: int) -> None:
    made = config(objective, variance="learned_range")
    signals = signals_of("linear").numpy()
    clean, noise = draws(7, 1, 1, 1, 1, 2), draws(8, 1, 1, 1, 1, 2)
    spread, error = torch.full_like(clean, 0.3), 0.2
    found = extras(made, clean, torch.tensor([(t + 0.5) / 1000]), noise, spread, error)
    alpha, sigma = math.sqrt(signals[t]), math.sqrt(1 - signals[t])
    missed = {"epsilon": -sigma / alpha, "v": -sigma, "x0": 1.0}[objective] * error
    beta = 1 - signals[t] / signals[t - 1]
    costs = []
    for value, e in zip(clean.flatten().tolist(), noise.flatten().tolist(), strict=True):
        x = torch.tensor(alpha * value + sigma * e)
        mean, variance = gaussian(x, value, signals, t)
        told_mean, _ = gaussian(x, value + missed, signals, t)
        told = norm(told_mean, math.sqrt(variance**0.35 * beta**0.65))
        true = norm(mean, math.sqrt(variance))
        reach = 12 * math.sqrt(variance)

        def density(y: float, true: Any = true, told: Any = told) -> float:
            return float(true.pdf(y) * (true.logpdf(y) - told.logpdf(y)))

        costs.append(quad(density, mean - reach, mean + reach, epsabs=1e-12, limit=200)[0] / math.log(2))
    # α and σ of a loss are float32.
    np.testing.assert_allclose(float(found), np.mean(costs), rtol=2e-3, atol=1e-6)


def test_at_the_first_point_the_bound_is_the_cost_of_8_bit_levels() -> None:
    made = config("epsilon", variance="learned_range")
    signals = signals_of("linear").numpy()
    clean = torch.tensor([-1.0, -0.2, 0.6, 1.0], dtype=torch.float64).view(1, 1, 1, 2, 2)
    noise, spread, error = draws(9, 1, 1, 1, 2, 2), torch.full_like(clean, -0.5), 0.3
    found = extras(made, clean, torch.tensor([0.0]), noise, spread, error)
    beta, least = 1 - signals[0], (1 - signals[1] / signals[0]) * (1 - signals[0]) / (1 - signals[1])
    deviation = math.sqrt(beta**0.25 * least**0.75)
    bits = []
    for value in clean.flatten().tolist():
        mean = value - math.sqrt(1 - signals[0]) / math.sqrt(signals[0]) * error
        lower = -math.inf if value == -1 else value - 1 / 255
        upper = math.inf if value == 1 else value + 1 / 255
        share = norm.cdf(upper, mean, deviation) - norm.cdf(lower, mean, deviation)
        bits.append(-math.log2(share))
    np.testing.assert_allclose(float(found), np.mean(bits), rtol=1e-3)


def test_the_bound_teaches_the_variance_alone() -> None:
    made = config("epsilon", variance="learned_range").build()
    clean, noise = draws(10, 2, 2, 1, 2, 2), draws(11, 2, 2, 1, 2, 2)
    answer = torch.cat([noise + 0.3, torch.zeros_like(noise)], 2).requires_grad_()
    made.loss(lambda x, t: answer, clean, torch.tensor([0.2, 0.9]), noise).sum().backward()
    slope = answer.grad
    assert slope is not None
    torch.testing.assert_close(slope[:, :, :1], torch.full_like(noise, 2 * 0.3 / noise[0].numel()))
    assert bool((slope[:, :, 1:] != 0).all())


@pytest.mark.parametrize("schedule", BETAS)
@pytest.mark.parametrize("objective", TARGETS)
def test_a_loss_is_the_mean_square_error_of_the_answer(objective: Target, schedule: Any) -> None:
    made = config(objective, beta_schedule=schedule).build()
    clean, noise, u = draws(12, 5, 2, 1, 3, 3), draws(13, 5, 2, 1, 3, 3), torch.tensor([0.0, 0.1, 0.5, 0.9, 0.99999])

    def near(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = rates(objective, beside(t), schedule)
        torch.testing.assert_close(x, alpha * clean + sigma * noise, rtol=1e-4, atol=1e-4)
        return said(objective, clean, noise, alpha, sigma) + torch.arange(5)[:, None, None, None, None]

    found = made.loss(near, clean, u, noise)
    torch.testing.assert_close(found, torch.arange(5).double() ** 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", TARGETS)
def test_min_snr_caps_the_weight_of_the_videos_error(objective: Target) -> None:
    made = config(objective, min_snr=5.0).build()
    clean, noise, u = draws(14, 4, 1, 1, 3, 3), draws(15, 4, 1, 1, 3, 3), torch.tensor([0.05, 0.3, 0.6, 0.9])
    seen: list[Tensor] = []

    def answer(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = rates(objective, beside(t))
        video = 0.7 * clean
        hidden = (x - alpha * video) / sigma
        ratio = (alpha / sigma).square()
        seen.append((ratio.clamp(max=5) * (video - clean).square()).flatten(1).mean(1))
        return said(objective, video, hidden, alpha, sigma)

    found = made.loss(answer, clean, u, noise)
    torch.testing.assert_close(found, seen[0], rtol=1e-3, atol=1e-6)


def test_flow_draws_its_times_as_asked() -> None:
    u = (torch.arange(10_000) + 0.5) / 10_000

    def times(**keys: Any) -> Tensor:
        return config("flow", **keys).build().path.draw(u).timestep / 1000

    torch.testing.assert_close(times(), u)
    torch.testing.assert_close(times(shift=3.0), 3 * u / (1 + 2 * u))
    normal = torch.logit(times(flow_time="logit_normal").double())
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.std()) - 1) < 0.01


def test_all_steps_of_training_are_all_points_of_the_path() -> None:
    made = config("epsilon", train_steps=20).build()
    times = [level.timestep for level in made.path.levels(20)]
    assert times == [*(50.0 * index for index in range(19, -1, -1)), 0.0]
    with pytest.raises(ConfigError, match='"steps" is 21, but the network was trained on 20'):
        made.path.levels(21)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("objective", TARGETS)
def test_one_point_and_one_step_are_enough(objective: Target, solver: SolverName) -> None:
    made = config(objective, train_steps=1).build()
    x = made.sample(lambda x, t: 0 * x, draws(16, 1, 2, 1, 2, 2), 1, solver, lambda index: draws(17, 1, 2, 1, 2, 2))
    assert bool(torch.isfinite(x).all())
    loss = made.loss(lambda x, t: 0 * x, draws(18, 1, 2, 1, 2, 2), torch.tensor([0.5]), draws(19, 1, 2, 1, 2, 2))
    assert bool(torch.isfinite(loss).all())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("learned", [False, True])
def test_a_video_hangs_on_its_own_noise_alone(solver: SolverName, learned: bool) -> None:
    made = config("epsilon", variance="learned_range" if learned else "fixed").build()
    first = draws(20, 3, 2, 1, 2, 2)
    noises = [draws(21 + index, 3, 2, 1, 2, 2) for index in range(5)]

    def answer(x: Tensor, t: Tensor) -> Tensor:
        seen = torch.sin(x + beside(t))
        return torch.cat([seen, seen], 2) if learned else seen

    steps: list[tuple[int, Tensor]] = []
    every = made.sample(answer, first, 5, solver, noises.__getitem__, lambda index, x: steps.append((index, x)))
    assert [index for index, _ in steps] == [0, 1, 2, 3, 4]
    assert torch.equal(steps[-1][1], every)
    for number in range(3):
        alone = made.sample(answer, first[number : number + 1], 5, solver, lambda i, n=number: noises[i][n : n + 1])
        torch.testing.assert_close(alone[0], every[number], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_clipping_holds_the_video_within_its_range(solver: SolverName) -> None:
    made = config("x0").build()
    first = draws(30, 1, 1, 1, 4, 4)
    clipped = made.sample(lambda x, t: 3 * x.sign(), first, 5, solver, lambda i: 0 * first, clip_denoised=True)
    torch.testing.assert_close(clipped.abs(), torch.ones_like(first), rtol=0, atol=1e-6)
    assert made.sample(lambda x, t: 3 * x.sign(), first, 5, solver, lambda i: 0 * first).abs().max() > 2


def test_ddpm_without_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match="adds noise"):
        config("v").build().sample(lambda x, t: x, draws(1, 1, 1, 1, 1, 1), 2, "ddpm")


def test_guidance_leaves_the_variance_as_it_was_told() -> None:
    def answer(x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        return torch.cat([x * beside(cond), x * 0 + beside(cond)], 2)

    x, t = draws(31, 2, 1, 2, 1, 1), torch.zeros(2)
    cond, null = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0])
    said_at = guided(answer, cond, null, 4.0)(x, t)
    torch.testing.assert_close(said_at[:, :, :2], x * beside(1 + 4 * (cond - 1)))
    torch.testing.assert_close(said_at[:, :, 2:], x * 0 + beside(cond))
    torch.testing.assert_close(guided(answer, cond, null, 1.0)(x, t), answer(x, t, cond))


@pytest.mark.parametrize(
    "keys",
    [
        {"objective": "flow", "variance": "learned_range"},
        {"objective": "v", "shift": 2.0},
        {"objective": "epsilon", "flow_time": "logit_normal"},
        {"objective": "score"},
        {"min_snr": 0},
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DiffusionConfig.model_validate(keys)
