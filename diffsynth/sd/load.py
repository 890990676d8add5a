"""Networks from folders: all weights must be there and fit, and nothing in them is run as code."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diffsynth.errors import ModelError
from diffsynth.sd.layout import weight_variant


def load_network(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A diffusers or transformers network of class `kind`, on the CPU, for inference only."""
    is_diffusers = kind.__module__.startswith("diffusers")
    options = {"torch_dtype" if is_diffusers else "dtype": dtype, "variant": weight_variant(folder)}
    try:
        with _quiet():
            network, report = kind.from_pretrained(
                str(folder), local_files_only=True, output_loading_info=True, **options
            )
    except Exception as problem:  # damage shows as any of a dozen kinds
        raise ModelError(
            f"{folder}: doesn't load as a {kind.__name__} ({_first_line(problem)}). "
            "Is the download complete, and is it the right model?"
        ) from problem
    missing = list(report["missing_keys"]) + [str(each) for each in report["mismatched_keys"]]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights of a {kind.__name__} are missing or have another shape "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}). Copy or download it again."
        )
    network.eval().requires_grad_(requires_grad=False)
    return network


def load_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as problem:  # damage shows as any of a dozen kinds
        raise ModelError(
            f"{folder}: doesn't load as a CLIP tokenizer ({_first_line(problem)}). Copy or download it again."
        ) from problem


def channels_last(network: nn.Module) -> nn.Module:
    """Convolutions run faster with the channels of a pixel side by side, on processors and on graphics cards."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading reports, bars and warnings stay inside: what matters is checked, and said in our words."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
