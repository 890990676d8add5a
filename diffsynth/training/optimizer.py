"""The optimizer's course, and the average of the weights."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.training.settings import CourseSettings


def adamw(network: nn.Module, settings: CourseSettings) -> torch.optim.AdamW:
    learning = [each for each in network.parameters() if each.requires_grad]
    return torch.optim.AdamW(
        learning, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
    )


def learning_rate(settings: CourseSettings, step: int) -> float:
    """At a step counted from 0."""
    if step < settings.warm_up:
        return settings.lr * (step + 1) / settings.warm_up
    share = (step - settings.warm_up) / max(settings.steps - settings.warm_up, 1)
    match settings.decay:
        case "linear":
            return settings.lr * (1 - share)
        case "cosine":
            return settings.lr * (1 + math.cos(math.pi * share)) / 2
        case _:
            return settings.lr


def local(tensor: Tensor) -> Tensor:
    """The part of a spread-out tensor that this process holds; any other tensor itself."""
    part: Any = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


class Average:
    """A running mean of the weights that learn, by name: steadier than any step's own."""

    def __init__(self, network: nn.Module) -> None:
        self._weights = {name: each for name, each in network.named_parameters() if each.requires_grad}
        self.mean = {name: each.detach().clone() for name, each in self._weights.items()}

    @torch.no_grad()
    def follow(self, step: int, decay: float, start: int = 0, every: int = 1) -> None:
        """After a step counted from 0. At the start it follows faster, and forgets the weights drawn at random.

        Before the step `start` it is the weights themselves; it only looks at them every few steps.
        """
        if step % every:
            return
        share = 1.0 if step < start else 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(_parts(self.mean.values()), _parts(self._weights.values()), share)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights with their mean; twice is nothing."""
        for name, weight in self._weights.items():
            here, mean = local(weight), local(self.mean[name])
            held = here.clone()
            here.copy_(mean)
            mean.copy_(held)


def _parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [local(each) for each in tensors]
