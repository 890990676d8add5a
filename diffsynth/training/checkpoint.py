"""Checkpoints: one safetensors file each, whole or absent, with the config and the step inside.

checkpoints/00002000.safetensors    model.*, ema.*, optimizer.<kind>.*: all that going on needs
model.safetensors                   the averaged weights under the network's own names: all that sampling needs
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from diffsynth import disk
from diffsynth.errors import ModelError
from diffsynth.training.facts import Facts
from diffsynth.training.optimizer import Average

PLAIN, AVERAGE = "model.", "ema."
STATE = ("exp_avg", "exp_avg_sq", "step")
"""What AdamW keeps of each weight."""


@dataclass(frozen=True)
class TrainState:
    """What a step of training changes."""

    network: nn.Module
    average: Average
    optimizer: torch.optim.Optimizer

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor by its name in the file."""
        for name, each in self.network.state_dict().items():
            yield f"{PLAIN}{name}", each
        for name, each in self.average.mean.items():
            yield f"{AVERAGE}{name}", each
        for name, weight in self.network.named_parameters():
            state = self.optimizer.state.get(weight, {})
            yield from ((f"optimizer.{kind}.{name}", state[kind]) for kind in STATE if kind in state)

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Take everything from a checkpoint; the optimizer's tensors are made where it has none yet."""
        with opened(path) as file:
            there = set(file.keys())
            for name, weight in self.network.named_parameters():
                if f"optimizer.step.{name}" in there:
                    zeros = {kind: torch.zeros_like(weight) for kind in STATE[:2]}
                    self.optimizer.state[weight] = {**zeros, "step": torch.zeros((), device=weight.device)}
            wanted = dict(self.tensors())
            if there != set(wanted):
                odd = sorted(there ^ set(wanted))
                raise ModelError(f"{path}: belongs to another network ({odd[0]} is in one of them only). {MOVE_AWAY}")
            for name, place in wanted.items():
                found = file.get_tensor(name)
                if found.shape != place.shape:
                    raise ModelError(
                        f"{path}: belongs to another network ({name} is {tuple(found.shape)} there and "
                        f"{tuple(place.shape)} here). {MOVE_AWAY}"
                    )
                _copy(found, place)


MOVE_AWAY = "Nothing was changed. Move the run away, or use --fresh."


def save(path: Path, state: TrainState, facts: Facts, *, leads: bool) -> None:
    """Write a checkpoint. Every process must come here, where weights are spread; the leading one writes."""
    _write(path, _gathered(dict(state.tensors()), keep=leads), facts, leads=leads)


def save_final(path: Path, state: TrainState, facts: Facts, *, leads: bool) -> None:
    """Write the averaged weights, with what does not learn beside them."""
    weights = {**state.network.state_dict(), **state.average.mean}
    _write(path, _gathered(weights, keep=leads), facts, leads=leads)


def write_weights(path: Path, weights: Mapping[str, Tensor], facts: Facts) -> None:
    """Write weights that came from elsewhere."""
    _write(path, _gathered(weights, keep=True), facts, leads=True)


def _gathered(tensors: Mapping[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """On the CPU, whole. All processes take part in bringing a spread-out tensor together."""
    found = {}
    for name, each in tensors.items():
        whole = _whole(each)
        if keep:
            found[name] = whole.detach().cpu().contiguous()
    return found


def _whole(tensor: Tensor) -> Tensor:
    gather: Any = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def _copy(found: Tensor, place: Tensor) -> None:
    mesh: Any = getattr(place, "device_mesh", None)
    if mesh is not None:
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(place, DTensor)
        found = distribute_tensor(found.to(place.device), mesh, place.placements, src_data_rank=None)
    place.copy_(found)


def _write(path: Path, tensors: dict[str, Tensor], facts: Facts, *, leads: bool) -> None:
    if not leads:
        return
    with disk.disk_errors(path):
        path.parent.mkdir(exist_ok=True)
        partial = disk.aside(path)
        try:
            try:
                save_file(tensors, partial, metadata=facts.metadata())
            except SafetensorError as problem:
                raise OSError(None, str(problem)) from problem
            disk.sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        disk.sync(path.parent)


def averaged_weights(path: Path, part: str = "") -> dict[str, Tensor]:
    """By the network's own names: of a finished run's weights, or of a checkpoint that training goes on from, where the
    network may be only a `part` of what learned (`coder.`)."""
    with opened(path) as file:
        names = list(file.keys())
        if not any(name.startswith(AVERAGE) for name in names):
            return {name: file.get_tensor(name) for name in names}
        plain = f"{PLAIN}{part}"
        found = {name[len(plain) :]: file.get_tensor(name) for name in names if name.startswith(plain)}
        return {**found, **{name[len(AVERAGE) :]: file.get_tensor(name) for name in names if name.startswith(AVERAGE)}}


def opened(path: Path) -> Any:
    """The file, to read tensors from one by one."""
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as problem:
        raise ModelError(
            f"{path}: can't be read ({problem}). If it is damaged, delete it; an older one is used."
        ) from None
