"""LoRA: small changes to a checkpoint's weights, from files in the layouts that trainers write.

A file holds for a layer with weights W two small matrices, `down` and `up`. At strength s the layer computes with
W + s · (alpha / rank) · up · down. What is always on is added to W once; what comes and goes is computed beside it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from diffsynth.diffusion.schedule import Step
from diffsynth.errors import ModelError
from diffsynth.sd.layer_names import UNET, layer_names
from diffsynth.sd.lora_files import check_lora
from diffsynth.sd.tensor_files import open_tensors
from diffsynth.tracks import Track, number_at

HALF_OF = re.compile(r"(.+?)(?:\.lora_linear_layer\.|\.lora\.|_lora\.|\.lora_)(down|up|A|B)(?:\.\w+)?\.weight")
DOWN = ("down", "A")


Strength = float | Tensor
"""One for all rows, or (n,) of them."""

ALWAYS_ONE: Track[float] = Track((0,), (1.0,))


@dataclass(frozen=True)
class Lora:
    """How strong a LoRA is, and when."""

    key: str
    """What of the config names it."""
    path: Path
    scale: Track[float] = ALWAYS_ONE
    text_scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    @property
    def constant(self) -> bool:
        return self.start <= 0 and self.end >= 1 and self.scale.constant

    def at(self, step: Step, steps: int, frames: Sequence[int]) -> Strength:
        """Its strength in the denoiser in a step, for rows that show these frames."""
        if not step.within(self.start, self.end, steps):
            return 0.0
        if self.scale.constant:
            return self.scale.values[0]
        return torch.tensor([number_at(self.scale, frame) for frame in frames])


@dataclass(frozen=True)
class Change:
    """What a LoRA says of one layer, with alpha / rank in `up`, in shapes that the layer's own computation takes."""

    down: Tensor
    up: Tensor

    def whole(self, like: Tensor) -> Tensor:
        """As a change of the layer's weights, in full precision."""
        return (self.up.float().flatten(1) @ self.down.float().flatten(1)).view_as(like)


@dataclass(frozen=True)
class Fitted:
    """A LoRA's changes, by the checkpoint's part ("unet", "text_encoder", …) and the name of the layer in it."""

    lora: Lora
    changes: Mapping[str, Mapping[str, Change]]
    strangers: tuple[str, ...]
    """What the file changes besides, of which the checkpoint has nothing."""

    @property
    def remark(self) -> str | None:
        if not self.strangers:
            return None
        fit = sum(map(len, self.changes.values()))
        return (
            f"{self.lora.key}: {fit} of the {fit + len(self.strangers)} layers that {self.lora.path.name} changes are "
            f"there; without effect are {', '.join(self.strangers[:3])}{', …' if len(self.strangers) > 3 else ''}."
        )


def fitted(lora: Lora, parts: Mapping[str, nn.Module], checkpoint: str, text_width: int) -> Fitted:
    """A file's changes, found in a checkpoint's networks, which need no weights for this."""
    file = open_tensors(lora.path, lora.key)
    check_lora(file, text_width, checkpoint)
    tensors = file.tensors(file.shapes)
    pairs = _pairs(tensors, lora.path)
    known = {name: place for part, network in parts.items() for name, place in layer_names(part, network)}
    changes: dict[str, dict[str, Change]] = {part: {} for part in parts}
    strangers = []
    for stem, (down, up) in pairs.items():
        if stem not in known:
            strangers.append(stem)
            continue
        part, name = known[stem]
        alpha = tensors.get(f"{stem}.alpha")
        factor = 1.0 if alpha is None else float(alpha) / down.shape[0]
        changes[part][name] = _shaped(parts[part].get_submodule(name), down, up * factor, f"{lora.path}: {stem}")
    if not any(changes.values()):
        raise ModelError(
            f"{lora.path}: none of the {len(pairs)} layers that it changes is in {checkpoint} "
            f"(the first is {next(iter(pairs), 'missing')}). Use a LoRA that was made for that checkpoint."
        )
    return Fitted(lora, changes, tuple(strangers))


def _pairs(tensors: Mapping[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """By the name that the file has for a layer."""
    halves: dict[str, dict[bool, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := HALF_OF.fullmatch(key.replace(".processor.", ".")):
            halves.setdefault(match[1], {})[match[2] in DOWN] = tensor
    lonely = [stem for stem, found in halves.items() if len(found) < 2]
    if lonely:
        raise ModelError(f"{path}: of {lonely[0]} only one of two matrices is there. Copy or download it again.")
    return {stem: (found[True], found[False]) for stem, found in halves.items()}


def _shaped(layer: nn.Module, down: Tensor, up: Tensor, where: str) -> Change:
    """Trainers write a convolution of one pixel as a matrix or a matrix as such a convolution."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    rank, out = down.shape[0], weight.shape[0]
    if up.shape[:2] != (out, rank) or up.numel() != out * rank or down[0].numel() != weight[0].numel():
        raise ModelError(
            f"{where}: changes a layer from {down[0].numel()} to {up.shape[0]}, but the checkpoint's is from "
            f"{weight[0].numel()} to {out}. Use a LoRA that was made for that checkpoint."
        )
    return Change(down.reshape(rank, *weight.shape[1:]), up.reshape(out, rank, *(1,) * (weight.ndim - 2)))


def settle(network: nn.Module, part: str, loras: Sequence[Fitted], strengths: Sequence[float]) -> None:
    """Add changes to a network's weights, in this order."""
    for lora, strength in zip(loras, strengths, strict=True):
        for name, change in lora.changes.get(part, {}).items():
            weight = network.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            weight.data = (weight.data.float() + strength * change.whole(weight)).to(weight.dtype)


class Beside(nn.Module):
    """The changes of one layer that come and go. They move with the layer; `strengths` is all layers' own."""

    def __init__(self, changes: Sequence[tuple[int, Change]], strengths: list[Strength], dtype: torch.dtype) -> None:
        super().__init__()
        self.strengths = strengths
        self.numbers = [number for number, _ in changes]
        for number, change in changes:
            self.register_buffer(f"down_{number}", change.down.to(dtype))
            self.register_buffer(f"up_{number}", change.up.to(dtype))

    def added(self, layer: Any, values: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        for number in self.numbers:
            strength = self.strengths[number]
            if isinstance(strength, Tensor):
                strength = strength.to(answer).view(-1, *(1,) * (answer.ndim - 1))
            if isinstance(strength, Tensor) or strength:
                down, up = self.get_buffer(f"down_{number}"), self.get_buffer(f"up_{number}")
                if isinstance(layer, nn.Conv2d):
                    inner = conv2d(values[0], down, None, layer.stride, layer.padding, layer.dilation)
                    answer = answer + strength * conv2d(inner, up)
                else:
                    answer = answer + strength * linear(linear(values[0], down), up)
        return answer


@dataclass(frozen=True)
class Loras:
    """Those of a denoiser that come and go."""

    loras: tuple[Lora, ...] = ()
    strengths: list[Strength] = field(default_factory=list)
    """Of each in the step that is computed now."""

    @classmethod
    def on(cls, network: nn.Module, loras: Sequence[Fitted]) -> "Loras":
        """What is always on goes into the weights; the rest beside the layers."""
        constant = [each for each in loras if each.lora.constant]
        settle(network, UNET, constant, [each.lora.scale.values[0] for each in constant])
        passing = [each for each in loras if not each.lora.constant]
        found = cls(tuple(each.lora for each in passing), [0.0] * len(passing))
        by_layer: dict[str, list[tuple[int, Change]]] = {}
        for number, each in enumerate(passing):
            for name, change in each.changes[UNET].items():
                by_layer.setdefault(name, []).append((number, change))
        for name, changes in by_layer.items():
            layer = network.get_submodule(name)
            weight = layer.weight
            assert isinstance(weight, Tensor)
            beside = Beside(changes, found.strengths, weight.dtype)
            layer.add_module("lora", beside)
            layer.register_forward_hook(beside.added)
        return found

    def among(self, shown: Sequence[int] | None) -> "Loras":
        """For a rendering of only these frames."""
        return Loras(tuple(replace(each, scale=each.scale.among(shown)) for each in self.loras), self.strengths)

    def set(self, step: Step, steps: int, frames: Sequence[int]) -> None:
        """For a batch whose rows show these frames."""
        self.strengths[:] = [lora.at(step, steps, frames) for lora in self.loras]

    def __iter__(self) -> Iterator[Lora]:
        return iter(self.loras)
