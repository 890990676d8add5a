"""Networks from folders: all weights must be there and fit, and nothing in them is run as code."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.sd.folders import read_settings, weight_variant
from diffsynth.sd.layout import vae_class


def load_network(kind: Any, folder: Path, dtype: torch.dtype, variant: str | None = None) -> Any:
    """A diffusers or transformers network of class `kind`, on the CPU, for inference only; `variant` is the mark of the
    weights that are wanted where there are several."""
    is_diffusers = kind.__module__.startswith("diffusers")
    options = {"torch_dtype" if is_diffusers else "dtype": dtype, "variant": weight_variant(folder, variant)}
    try:
        with quiet():
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


def load_vae(folder: Path, dtype: torch.dtype, variant: str | None = None) -> Any:
    """An autoencoder, of the class that its settings name."""
    import diffusers

    kind = getattr(diffusers, vae_class(read_settings(folder / "config.json"), folder))
    return load_network(kind, folder, dtype, variant)


def filled(make: Callable[[], nn.Module], weights: Mapping[str, Tensor], dtype: torch.dtype, path: Path) -> nn.Module:
    """A network with all its weights from the file in `path`; what else that holds is of no use to it."""
    from accelerate import init_empty_weights

    with quiet(), init_empty_weights():
        network = make()
    expected = {name: tuple(each.shape) for name, each in network.state_dict().items()}
    wrong = [name for name, shape in expected.items() if getattr(weights.get(name), "shape", None) != shape]
    if wrong:
        raise ModelError(
            f"{path}: {len(wrong)} weights of its {type(network).__name__} are missing or have another shape "
            f"({', '.join(wrong[:3])}{', …' if len(wrong) > 3 else ''}). Is it for another checkpoint? Of a checkpoint "
            'that is built otherwise, name as "model_settings" a folder in diffusers\' layout that is built alike.'
        )
    network.load_state_dict({name: weights[name].to(dtype).contiguous() for name in expected}, assign=True)
    network.to(dtype)
    network.eval().requires_grad_(requires_grad=False)
    return network


def load_tokenizer(folder: Path, *, pad_token: str | None = None, model_max_length: int | None = None) -> Any:
    """A CLIP tokenizer; what pads a prompt, and how long its pieces are, where the folder is not to say it."""
    from transformers import CLIPTokenizer

    said: dict[str, Any] = {"pad_token": pad_token, "model_max_length": model_max_length}
    said = {key: value for key, value in said.items() if value is not None}
    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True, **said)
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
def quiet() -> Iterator[None]:
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
