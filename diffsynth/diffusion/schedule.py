"""Schedules: at which timesteps a network is asked, and how its answer moves a latent to the next one.

The update is DDIM's without added noise (eta 0). With a the share of signal at a step and a' at the next one:

    x0  = (x - √(1-a) ε) / √a
    x'  = √a' x0 + √(1-a') ε

A network that says a velocity v instead of the noise ε means ε = √a v + √(1-a) x and x0 = √a x - √(1-a) v.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from torch import Tensor

from diffsynth.errors import ModelError

SchedulerName = Literal["auto", "seed_ddim", "ddim"]
Prediction = Literal["epsilon", "v_prediction", "sample"]
PREDICTIONS = get_args(Prediction)
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
    timestep: int
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

    def advance(self, x: Tensor, answer: Tensor, step: Step) -> Tensor:
        a, b = math.sqrt(step.signal), math.sqrt(1 - step.signal)
        if self.prediction == "sample":
            return self.advance_to(x, answer, step)
        noise = a * answer + b * x if self.prediction == "v_prediction" else answer
        return self._towards(self.clean(x, answer, step), noise, step)

    def advance_to(self, x: Tensor, clean: Tensor, step: Step) -> Tensor:
        """As `advance`, where the clean latents were edited: the noise is what is left of x beside them."""
        a, b = math.sqrt(step.signal), math.sqrt(1 - step.signal)
        return self._towards(clean, (x - a * clean) / b, step)

    @staticmethod
    def _towards(clean: Tensor, noise: Tensor, step: Step) -> Tensor:
        return math.sqrt(step.next_signal) * clean + math.sqrt(1 - step.next_signal) * noise


def seed_schedule(settings: Mapping[str, Any], count: int) -> Schedule:
    """The seed's: evenly spaced from 999 down, the last step all the way to the picture.

    Where `count` does not divide 1000, still exactly `count` steps.
    """
    start, end = float(settings.get("beta_start", 0.00085)), float(settings.get("beta_end", 0.012))
    betas = np.linspace(math.sqrt(start), math.sqrt(end), TRAINED_STEPS, dtype=np.float64) ** 2
    times = [round(TRAINED_STEPS - k * TRAINED_STEPS / count) - 1 for k in range(count)]
    return Schedule("seed_ddim", _steps(times, np.cumprod(1 - betas).tolist(), 1.0))


def ddim_schedule(settings: Mapping[str, Any], count: int, where: str) -> Schedule:
    """What the checkpoint's own scheduler settings say: spacing, zero terminal SNR, prediction."""
    from diffusers import DDIMScheduler

    plain = {key: value for key, value in settings.items() if not key.startswith("_")}
    prediction = str(settings.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise ModelError(f'{where}: "prediction_type" is "{prediction}"; known are {", ".join(PREDICTIONS)}.')
    try:
        scheduler = DDIMScheduler.from_config(plain)  # type: ignore[no-untyped-call]
        scheduler.set_timesteps(count)
    except (ValueError, TypeError, NotImplementedError) as problem:
        raise ModelError(
            f"{where}: no schedule of {count} steps comes from these settings ({problem}). "
            'Use "scheduler": "seed_ddim", or another number of steps.'
        ) from problem
    signal = scheduler.alphas_cumprod.double().tolist()
    times = [int(t) for t in scheduler.timesteps]
    return Schedule("ddim", _steps(times, signal, float(scheduler.final_alpha_cumprod)), prediction)  # type: ignore[arg-type]


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
    if name == "ddim" or (name == "auto" and not is_plain(settings)):
        made = ddim_schedule(settings, count, where)
        if made.prediction == "epsilon" and any(step.signal < PURE_NOISE for step in made.steps):
            raise ModelError(
                f"{where}: its first timestep is pure noise, from which an epsilon network can't tell a picture. "
                'Use "scheduler": "seed_ddim".'
            )
        return made
    prediction = settings.get("prediction_type", "epsilon")
    if prediction != "epsilon":
        raise ModelError(
            f'{where}: "prediction_type" is "{prediction}", but "scheduler" is "seed_ddim", which is for epsilon '
            'networks. Use "scheduler": "auto".'
        )
    return seed_schedule(settings, count)
