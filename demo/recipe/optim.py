"""Muon for the matrices, AdamW for the rest, and the learning rate's course."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""An odd polynomial steep at 0 that wavers around 1: three times over, it evens out all but tiny singular values."""
_TIMES = 3


def orthogonal(matrix: Tensor) -> Tensor:
    """About the closest matrix with orthonormal rows or columns: the same directions, lengths between 0.6 and 1.3."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() * 1.01 + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_TIMES):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


class Muon(torch.optim.Optimizer):
    """Momentum whose steps have all directions equally long. Convolutions count as (out, in · taps) matrices."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if not state:
                    state["momentum"] = torch.zeros_like(param)
                state["momentum"].lerp_(param.grad, 1 - group["momentum"])
                ahead = param.grad.lerp(state["momentum"], group["momentum"])
                rows = ahead.shape[0]
                move = orthogonal(ahead.reshape(rows, -1))
                length = max(1.0, move.shape[0] / move.shape[1]) ** 0.5
                param.add_(move.reshape(param.shape), alpha=-group["lr"] * length)


class Pair:
    """Both optimizers of one stage, with one course of the learning rate."""

    def __init__(self, modules: list[nn.Module], adam_lr: float, muon_lr: float, smallest: int = 16) -> None:
        named = [(name, p) for module in modules for name, p in module.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim >= 2 and min(p.shape[:2]) >= smallest and "embeddings" not in name]
        chosen = {id(p) for p in matrices}
        rest = [p for _, p in named if id(p) not in chosen]
        self.params = [p for _, p in named]
        self.rest = rest
        self.adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.98), weight_decay=1e-3, fused=True)
        self.muon = Muon(matrices, muon_lr)
        self.rates = (adam_lr, muon_lr)

    def step(self, course: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for optimizer, rate in zip((self.adam, self.muon), self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * course
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)

    def state_dict(self) -> dict[str, object]:
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])


def course(step: int, steps: int, warm_up: int, cool_down: float = 0.4) -> float:
    """Factor of the learning rate: up, level, and down to nothing over the last `cool_down` of the steps."""
    left = (steps - step) / max(1.0, cool_down * steps)
    return min(1.0, (step + 1) / warm_up, max(left, 0.0) ** 1.0 * 0.99 + 0.01)


class Average:
    """A running mean of the weights: what gets saved, since it draws better than any single step's weights."""

    def __init__(self, params: list[nn.Parameter]) -> None:
        self.params = params
        self.mean = [p.detach().clone() for p in params]

    def update(self, step: int, decay: float = 0.995) -> None:
        with torch.no_grad():
            weight = 1 - min(decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.mean, [p.data for p in self.params], weight)

    def swap(self) -> None:
        """Exchanges the weights with their mean; twice is nothing."""
        for param, mean in zip(self.params, self.mean, strict=True):
            held = param.data.clone()
            param.data.copy_(mean)
            mean.copy_(held)
