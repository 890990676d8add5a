"""Schedules: at which timesteps a network is asked, how noisy a latent is then, and which picture an answer implies.

With a the share of signal, the noise ε or the velocity v that a network says of x mean the picture

    x0 = (x - √(1-a) ε) / √a        x0 = √a x - √(1-a) v
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from torch import Tensor

from diffsynth.errors import ModelError

SchedulerName = Literal["auto", "seed_ddim", "ddim", "dpmpp_2m", "unipc", "euler", "lcm"]
Prediction = Literal["epsilon", "v_prediction", "sample"]
TRAINED_STEPS = 1000
PURE_NOISE = 1e-9
PLAIN: Mapping[str, Any] = {
    "prediction_type": ("epsilon",),
    "beta_schedule": ("scaled_linear",),
    "rescale_betas_zero_snr": (False,),
    "timestep_spacing": ("leading",),
    "num_train_timesteps": (TRAINED_STEPS,),
    "trained_betas": (None,),
}
"""What makes a checkpoint one of those that the seed's schedule is right for. A key that is left out is plain."""


@dataclass(frozen=True)
class Step:
    """One network evaluation: its place in the loop, its timestep, and the shares of signal before and after."""

    index: int
    timestep: float
    signal: float
    next_signal: float


@dataclass(frozen=True)
class Schedule:
    """The steps from noise to picture, and what the network's answer means."""

    name: str
    steps: tuple[Step, ...]
    prediction: Prediction = "epsilon"

    def cut(self, strength: float) -> "Schedule":
        """Only the last `int(n · strength)` steps: what image-to-image walks."""
        kept = int(len(self.steps) * strength)
        left = self.steps[len(self.steps) - kept :]
        steps = tuple(Step(index, each.timestep, each.signal, each.next_signal) for index, each in enumerate(left))
        return Schedule(self.name, steps, self.prediction)

    def noised(self, latents: Tensor, noise: Tensor, step: Step) -> Tensor:
        return math.sqrt(step.signal) * latents + math.sqrt(1 - step.signal) * noise

    def clean(self, x: Tensor, answer: Tensor, step: Step) -> Tensor:
        """The picture's latents that the network's answer implies."""
        if self.prediction == "sample":
            return answer
        a, b = math.sqrt(step.signal), math.sqrt(1 - step.signal)
        return a * x - b * answer if self.prediction == "v_prediction" else (x - b * answer) / a


def seed_schedule(settings: Mapping[str, Any], count: int) -> Schedule:
    """The seed's: evenly spaced from 999 down, the last step all the way to the picture.

    Where `count` does not divide 1000, still exactly `count` steps.
    """
    start, end = float(settings.get("beta_start", 0.00085)), float(settings.get("beta_end", 0.012))
    betas = np.linspace(math.sqrt(start), math.sqrt(end), TRAINED_STEPS, dtype=np.float64) ** 2
    times = [round(TRAINED_STEPS - k * TRAINED_STEPS / count) - 1 for k in range(count)]
    return Schedule("seed_ddim", _steps(times, np.cumprod(1 - betas).tolist(), 1.0))


def ddim_schedule(settings: Mapping[str, Any], count: int) -> Schedule:
    """What the checkpoint's own scheduler settings say: spacing, zero terminal SNR, prediction."""
    from diffusers import DDIMScheduler

    return _by_timesteps("ddim", DDIMScheduler, settings, count)


def lcm_schedule(settings: Mapping[str, Any], count: int) -> Schedule:
    """The timesteps that latent consistency models were distilled for."""
    from diffusers import LCMScheduler

    return _by_timesteps("lcm", LCMScheduler, settings, count)


def sigma_schedule(name: str, settings: Mapping[str, Any], count: int) -> Schedule:
    """Timesteps as the scheduler of that name lays them, with the noise levels between which it moves."""
    import diffusers

    kinds = {
        "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
        "unipc": diffusers.UniPCMultistepScheduler,
        "euler": diffusers.EulerDiscreteScheduler,
    }
    scheduler = _scheduler(kinds[name], settings, count)
    signals = [1 / (1 + float(sigma) ** 2) for sigma in scheduler.sigmas.double()]
    times = [float(t) for t in scheduler.timesteps]
    steps = zip(times, signals, signals[1:], strict=False)
    return Schedule(name, tuple(Step(k, *each) for k, each in enumerate(steps)), _prediction(scheduler))


def _by_timesteps(name: str, kind: Any, settings: Mapping[str, Any], count: int) -> Schedule:
    scheduler = _scheduler(kind, settings, count)
    times = [int(t) for t in scheduler.timesteps]
    last = float(scheduler.final_alpha_cumprod)
    return Schedule(name, _steps(times, scheduler.alphas_cumprod.double().tolist(), last), _prediction(scheduler))


def _scheduler(kind: Any, settings: Mapping[str, Any], count: int) -> Any:
    scheduler = kind.from_config({key: value for key, value in settings.items() if not key.startswith("_")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of how diffusers hands its tensors to numpy
        scheduler.set_timesteps(count)
    return scheduler


def _prediction(scheduler: Any) -> Prediction:
    prediction = str(scheduler.config.prediction_type)
    if prediction not in get_args(Prediction):
        raise ModelError(
            f'scheduler_config.json: "prediction_type" is "{prediction}"; known are {", ".join(get_args(Prediction))}.'
        )
    return cast(Prediction, prediction)


def _steps(times: Sequence[int], signal: Sequence[float], last: float) -> tuple[Step, ...]:
    signals = [signal[t] for t in times]
    return tuple(
        Step(index, t, own, following)
        for index, (t, own, following) in enumerate(zip(times, signals, [*signals[1:], last], strict=True))
    )


def is_plain(settings: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of the kind that the seed's schedule was made for."""
    return all(settings.get(key, allowed[0]) in allowed for key, allowed in PLAIN.items())


def schedule(name: SchedulerName, settings: Mapping[str, Any], count: int, where: str) -> Schedule:
    """The schedule of a checkpoint whose scheduler_config, read from `where`, holds `settings`."""
    if name == "seed_ddim" or (name == "auto" and is_plain(settings)):
        prediction = settings.get("prediction_type", "epsilon")
        if prediction != "epsilon":
            raise ModelError(
                f'{where}: "prediction_type" is "{prediction}", but "scheduler" is "seed_ddim", which is for epsilon '
                'networks. Use "scheduler": "auto".'
            )
        return seed_schedule(settings, count)
    if name in ("auto", "ddim"):
        made = ddim_schedule(settings, count)
    elif name == "lcm":
        made = lcm_schedule(settings, count)
    else:
        made = sigma_schedule(name, settings, count)
    if made.prediction == "epsilon" and any(step.signal < PURE_NOISE for step in made.steps):
        raise ModelError(
            f"{where}: its first timestep is pure noise, from which an epsilon network can't tell a picture. "
            'Use "scheduler": "seed_ddim".'
        )
    return made
