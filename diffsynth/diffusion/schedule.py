"""Schedules: at which timesteps a network is asked, how noisy a latent is then, and which picture an answer implies.

With a the share of signal, the noise ε or the velocity v that a network says of x mean the picture

    x0 = (x - √(1-a) ε) / √a        x0 = √a x - √(1-a) v
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from diffsynth.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

SchedulerName = Literal["auto", "seed_ddim", "ddim", "dpmpp_2m", "unipc", "euler", "lcm"]
SLOTS: Mapping[str, int] = {"dpmpp_2m": 2, "unipc": 4}
"""How many arrays like the latents a solver keeps of each frame, where it is more than these."""
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
    timestep: float
    signal: float
    next_signal: float

    def within(self, start: float, end: float, steps: int) -> bool:
        """Whether all of it lies between these parts of `steps`."""
        return start <= self.index / steps and (self.index + 1) / steps <= end + 1e-9


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

    def noised(self, latents: "Tensor", noise: "Tensor", step: Step) -> "Tensor":
        return math.sqrt(step.signal) * latents + math.sqrt(1 - step.signal) * noise

    def clean(self, x: "Tensor", answer: "Tensor", step: Step) -> "Tensor":
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
    return Schedule("seed_ddim", _steps(times, [*np.cumprod(1 - betas)[times].tolist(), 1.0]))


KINDS = {
    "ddim": "DDIMScheduler",
    "lcm": "LCMScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
"""diffusers' schedulers, which lay the timesteps by a checkpoint's settings."""


def checkpoint_schedule(name: str, settings: Mapping[str, Any], count: int, where: str) -> Schedule:
    """What the checkpoint's own scheduler settings say: spacing, noise levels, zero terminal SNR, prediction."""
    import diffusers

    prediction = str(settings.get("prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise ModelError(f'{where}: "prediction_type" is "{prediction}"; known are {", ".join(PREDICTIONS)}.')
    plain = {key: value for key, value in settings.items() if not key.startswith("_")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how diffusers hands its tensors to numpy
            scheduler = getattr(diffusers, KINDS[name]).from_config(plain)
            scheduler.set_timesteps(count)
    except (ValueError, TypeError, NotImplementedError) as problem:
        raise ModelError(
            f"{where}: no schedule of {count} steps comes from these settings ({problem}). "
            'Use "scheduler": "seed_ddim", or another number of steps.'
        ) from problem
    times = [float(t) for t in scheduler.timesteps]
    if name in ("ddim", "lcm"):
        signals = scheduler.alphas_cumprod.double()[scheduler.timesteps].tolist()
        signals.append(float(scheduler.final_alpha_cumprod))
    else:
        signals = [1 / (1 + float(sigma) ** 2) for sigma in scheduler.sigmas.double()]
    return Schedule(name, _steps(times, signals), cast(Prediction, prediction))


def _steps(times: Sequence[float], signals: Sequence[float]) -> tuple[Step, ...]:
    """`signals` holds one more entry: that of what the last step leads to."""
    moves = zip(times, signals, signals[1:], strict=False)
    return tuple(Step(index, *each) for index, each in enumerate(moves))


def is_plain(settings: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of the kind that the seed's schedule was made for."""
    return all(settings.get(key, allowed[0]) in allowed for key, allowed in PLAIN.items())


def schedule(name: SchedulerName, settings: Mapping[str, Any], count: int, where: str) -> Schedule:
    """The schedule of a checkpoint whose scheduler_config, read from `where`, holds `settings`."""
    if name == "auto" and settings.get("_class_name") == KINDS["lcm"]:
        name = "lcm"
    if name == "seed_ddim" or (name == "auto" and is_plain(settings)):
        prediction = settings.get("prediction_type", "epsilon")
        if prediction != "epsilon":
            raise ModelError(
                f'{where}: "prediction_type" is "{prediction}", but "scheduler" is "seed_ddim", which is for epsilon '
                'networks. Use "scheduler": "auto".'
            )
        return seed_schedule(settings, count)
    made = checkpoint_schedule("ddim" if name == "auto" else name, settings, count, where)
    if made.prediction == "epsilon" and any(step.signal < PURE_NOISE for step in made.steps):
        raise ModelError(
            f"{where}: its first timestep is pure noise, from which an epsilon network can't tell a picture. "
            'Use "scheduler": "seed_ddim".'
        )
    return made
