"""Networks of transformers: folders of weights that say by themselves what they are."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsynth.errors import MissingFileError, ModelError
from diffsynth.frames import Image
from diffsynth.processors.weights import downloaded, weights_identity

if TYPE_CHECKING:
    import torch

UNUSED = re.compile(r"neck\.fusion_stage\.layers\.0\.residual_layer1\.")
"""Weights that no network uses and published checkpoints leave out: DPT's first fusion has nothing to add."""


def model_folder(reference: str, processor: str) -> Path:
    """The folder of a transformers model that `model_path` leads to."""
    path = Path(reference)
    if path.is_dir():
        if (path / "config.json").is_file():
            return path
        raise MissingFileError(
            f'{processor}: "model_path" is {path}, which holds no config.json. Give the folder of a transformers '
            'model (one that save_pretrained wrote), or an id of the hub like "owner/name".'
        )
    if path.is_file():
        raise MissingFileError(
            f'{processor}: "model_path" is {path}, a file. This model is a folder: config.json, '
            "preprocessor_config.json and the weights."
        )
    folder = Path(downloaded(reference, ["*.json", "*.safetensors"], processor))
    if not any(folder.glob("*.safetensors")):
        folder = Path(downloaded(reference, ["*.json", "*.bin"], processor))
    return folder


def folder_identity(folder: Path) -> str:
    """What a model's folder holds, short."""
    parts = sorted(each for each in folder.iterdir() if each.suffix in {".json", ".safetensors", ".bin"})
    return hashlib.sha256("\n".join(f"{each.name} {weights_identity(each)}" for each in parts).encode()).hexdigest()[
        :16
    ]


def pretrained(kind: str, folder: Path, processor: str) -> "torch.nn.Module":
    """A network from a local folder, all its weights from there; no code in the folder is run."""
    network, report = _loaded(kind, folder, processor, {"output_loading_info": True})
    missing = sorted(key for key in report["missing_keys"] if not UNUSED.match(key))
    if missing:
        raise ModelError(
            f"{processor}: {folder} leaves out {len(missing)} weights of its network ({', '.join(missing[:3])}, …); "
            "they would be random. Give a model that was trained for this."
        )
    whole: torch.nn.Module = network
    return whole


def image_processor(folder: Path, processor: str) -> Any:
    """What prepares pictures for a network. Pillow does it whether or not torchvision is there, so that its presence
    changes no map."""
    return _loaded("AutoImageProcessor", folder, processor, {"backend": "pil"})


def _loaded(kind: str, folder: Path, processor: str, options: Mapping[str, Any]) -> Any:
    import transformers
    from transformers.utils import logging

    showed = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a run has a bar of its own
    try:
        part = getattr(transformers, kind)
        return part.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except Exception as problem:  # damage shows as any of a dozen kinds
        raise ModelError(
            f"{processor}: {folder} can't be loaded as the model that it needs, {kind} ({str(problem)[:300]})."
        ) from problem
    finally:
        if showed:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def prepared(preparation: Any, frames: Sequence[Image], resolution: int | None, like: "torch.Tensor") -> "torch.Tensor":
    """Frames as a network reads them, on the device and in the precision of `like`."""
    size = {} if resolution is None else {"size": {"height": resolution, "width": resolution}}
    # Said outright, for a frame that is 1 or 3 pixels high would be taken for a picture with its colours in front.
    inputs = preparation(images=list(frames), return_tensors="pt", input_data_format="channels_last", **size)
    ready: torch.Tensor = inputs["pixel_values"].to(like.device, like.dtype)
    return ready
