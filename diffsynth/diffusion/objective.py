"""What a video diffusion network learns to answer, and over which noise: the config of training and sampling."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel
from diffsynth.diffusion.targets import Loss, Target

if TYPE_CHECKING:
    from diffsynth.diffusion.process import Objective


class DiffusionConfig(ConfigModel):
    """The noise that videos are trained under, what the network says of it, and how errors weigh."""

    objective: Target = "epsilon"
    """What the network answers: the noise, the velocity, the video, or flow's direction from video to noise."""
    loss: Loss = "l2"
    """Whether errors count by their square (`l2`) or their size (`l1`)."""
    beta_schedule: Literal["linear", "cosine"] = "linear"
    """How noise grows with time; `flow` has its own straight path."""
    train_steps: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Timesteps that the noise is cut into."""
    variance: Literal["fixed", "learned_range"] = "fixed"
    """Whether the network also learns how much noise a `ddpm` step adds, by the variational bound."""
    min_snr: Annotated[float, Field(gt=0, strict=False)] | None = None
    """γ of min-SNR weights: no timestep counts more than this ratio of signal to noise; 5 is usual."""
    flow_time: Literal["uniform", "logit_normal"] = "uniform"
    """How `flow` draws its times; `logit_normal` prefers the middle."""
    shift: Annotated[float, Field(gt=0, strict=False)] = 1.0
    """Moves the times of `flow` to more noise where above 1, as large frames need, in training and sampling."""

    @property
    def learned_sigma(self) -> bool:
        """Whether the network has twice as many channels as the video."""
        return self.variance == "learned_range"

    @model_validator(mode="after")
    def _agree(self) -> "DiffusionConfig":
        if self.objective == "flow" and self.variance != "fixed":
            raise PydanticCustomError("problem", 'must hold "variance": "fixed" with "objective": "flow"', {})
        if self.objective != "flow" and (self.flow_time != "uniform" or self.shift != 1.0):
            raise PydanticCustomError("problem", 'must hold "objective": "flow" for "flow_time" and "shift"', {})
        return self

    def build(self) -> "Objective":
        from diffsynth.diffusion.paths import Discrete, Flow
        from diffsynth.diffusion.process import Objective

        if self.objective == "flow":
            return Objective("flow", Flow(self.flow_time, self.shift), min_snr=self.min_snr, error=self.loss)
        path = Discrete.of(self.beta_schedule, self.train_steps)
        return Objective(self.objective, path, self.learned_sigma, self.min_snr, self.loss)
