"""Drawing videos from a model. Video i comes from (seed, i): neither its batch nor the number of processes matters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from diffsynth.diffusion.guidance import guided
from diffsynth.diffusion.process import Answer
from diffsynth.diffusion.targets import SolverName
from diffsynth.errors import ModelError
from diffsynth.runtime import torch_generator
from diffsynth.training.network import PRECISIONS
from diffsynth.training.video_model import VideoModel
from diffsynth.training.wishes import Wish

Watch = Callable[[int, Tensor], None]
"""Hears of each step: its index, and the videos on their way, in the network's space."""


@dataclass(frozen=True)
class SamplePlan:
    """How videos are drawn."""

    steps: int
    seed: int
    scale: float = 1.0
    solver: SolverName | None = None
    """None: the one that suits the objective."""
    precision: str = "float32"
    """As `PRECISIONS` names it."""
    clip: bool = False
    """Hold what each step aims at within [-1, 1]: for pixels."""
    threshold: float | None = None
    """As `dynamic_threshold` of `Objective.sample`."""

    def for_space(self, space: str) -> "SamplePlan":
        """Pixels end within [-1, 1]; latents have no such bounds."""
        return replace(self, clip=space == "pixel")

    def solver_for(self, model: VideoModel) -> SolverName:
        return self.solver or ("euler" if model.config.diffusion.objective == "flow" else "ddim")


@torch.no_grad()
def draw(model: VideoModel, wishes: Sequence[Wish], plan: SamplePlan, watch: Watch | None = None) -> Tensor:
    """(B, F, C, H, W) in the network's space, for `model.space.decode`."""
    shape = model.space.shape
    size = (shape.frames, shape.channels, shape.height, shape.width)
    device = next(model.network.parameters()).device

    def noise(*keys: int | str) -> Tensor:
        drawn = [
            torch.randn(size, generator=torch_generator(plan.seed, "sample", each.index, *keys)) for each in wishes
        ]
        return torch.stack(drawn).to(device)

    model.network.eval()
    told = model.conditioner.told([[each.label] for each in wishes], [[each.prompt] for each in wishes])
    dtype = PRECISIONS[plan.precision]

    def network(x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            said: Tensor = model.network(x, t, cond)
        return said.float()

    answer: Answer = partial(network, cond=None)
    if told is not None:
        nothing = model.network.null_condition(len(wishes))  # type: ignore[operator]  # every backbone has it
        # Where training never left the condition out, the network knows no answer to lead away from.
        scale = plan.scale if model.conditioner.condition.dropout > 0 else 1.0
        answer = guided(network, told[:, 0].to(device), nothing, scale)
    drawn = model.objective.sample(
        answer,
        noise(),
        plan.steps,
        plan.solver_for(model),
        lambda index: noise("step", index),
        watch,
        clip_denoised=plan.clip,
        dynamic_threshold=plan.threshold,
    )
    if not bool(torch.isfinite(drawn).all()):
        raise ModelError(
            'The network\'s numbers overflowed (NaN or infinite). Set "precision" to "float32" or "bf16"; in float32, '
            "the checkpoint itself is broken: use one before it."
        )
    return drawn
