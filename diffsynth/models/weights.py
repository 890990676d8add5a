"""In what two tables of weights differ, in words. Needs no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffsynth.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 4
"""Names that a sentence holds at most."""


def differing(expected: "Mapping[str, Tensor]", found: "Mapping[str, Tensor]") -> list[str]:
    """In which weights two networks differ, in words; nothing where they agree in all names and shapes."""
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(each.shape)}"
        for name, each in expected.items()
        if name in found and found[name].shape != each.shape
    ]
    told = (("it lacks", missing), ("it has", unknown), ("", shapes))
    return [f"{words} {some(names)}".strip() for words, names in told if names]


def require_axes(path: Path, weights: "Mapping[str, Tensor]", axes: Mapping[str, int]) -> None:
    """`ModelError` where a weight, of those that a network's numbers are told from, is empty or has other axes."""
    odd = [name for name, count in axes.items() if name in weights and not _has_axes(weights[name], count)]
    if odd:
        raise ModelError(
            f"{path}: its {odd[0]} is of the shape {tuple(weights[odd[0]].shape)}, which no network of its kind has. "
            "Download it again, or is it another model's?"
        )


def _has_axes(weight: "Tensor", count: int) -> bool:
    return weight.ndim == count and weight.numel() > 0


def some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
