"""Where a network's weights come from: a local file, a local folder, or the hub."""

import importlib
import importlib.util
import pickle
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from diffsynth.errors import MissingFileError, ModelError, UnavailableError
from diffsynth.identity import identify

if TYPE_CHECKING:
    import torch

SHA256 = re.compile(r"[0-9a-f]{64}")

ANNOTATORS = "lllyasviel/Annotators"
"""The hub repository that holds the weights of most annotators, under the file names used here."""


def annotator(module: str, processor: str) -> ModuleType:
    """A module of controlnet_aux, which defines the annotators' networks."""
    require("controlnet_aux", processor)
    with warnings.catch_warnings():
        # It imports all its detectors at once, and each speaks of parts that only another one needs.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(f"controlnet_aux.{module}" if module else "controlnet_aux")
        except ImportError as problem:
            raise UnavailableError(
                f"{processor} needs controlnet_aux, which is installed but doesn't import ({problem}). "
                'Install its parts anew: pip install --force-reinstall "diffsynth[annotators]"'
            ) from problem


def require(package: str, processor: str) -> None:
    """Raise an error that names the extra, where a package of the extra `annotators` is missing."""
    if importlib.util.find_spec(package) is None:
        raise UnavailableError(
            f'{processor} needs the package {package}. Install it with: pip install "diffsynth[annotators]"'
        )


def weight_file(reference: str, filename: str, processor: str, published: str = ANNOTATORS) -> Path:
    """The file that `model_path` leads to: itself, `filename` in a folder, or `filename` in a repository."""
    path = Path(reference)
    if path.is_file():
        return path
    if path.is_dir():
        if (path / filename).is_file():
            return path / filename
        raise MissingFileError(
            f'{processor}: "model_path" is {path}, which holds no {filename}. '
            f"Give the file itself, or a folder with {filename} in it ({published} on the hub has one)."
        )
    return Path(downloaded(reference, [filename], processor)) / filename


def downloaded(repository: str, patterns: Sequence[str], processor: str) -> str:
    """The snapshot of a hub repository, fetched where it isn't on this machine yet."""
    from huggingface_hub import snapshot_download

    wanted = ", ".join(patterns)
    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except (OSError, ValueError) as problem:  # all the hub's own errors are one or the other
        raise UnavailableError(
            f"{processor}: {wanted} of {repository} is not on this machine and can't be fetched "
            f"({type(problem).__name__}). Give a local copy as "
            '"model_path" in its processor_config, or run once with a connection to the hub.'
        ) from problem
    if not any(any(folder.glob(pattern)) for pattern in patterns):
        raise UnavailableError(
            f"{processor}: {repository} holds no {wanted}, or the part of it on this machine doesn't and there is no "
            'connection to the hub. Give a local copy as "model_path" in its processor_config.'
        )
    return str(folder)


def weights_identity(file: Path) -> str:
    """What the weights hold, short: the same for copies in different places."""
    stored = file.resolve()
    if stored.parent.name == "blobs" and SHA256.fullmatch(stored.name):
        return stored.name[:16]  # the hub's client names large files by their content
    return str(identify(file)["sha256"])[:16]


def read_weights(file: Path, processor: str, inside: str = "") -> dict[str, Any]:
    """A checkpoint as saved by torch, on the CPU; nothing in it is run. `inside` is the key that the weights lie under
    where they don't lie at its top."""
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        raise ModelError(
            f"{processor}: {file} is no checkpoint, or holds more than tensors, and none of that is run. "
            "Take the file from where it was published."
        ) from problem
    except Exception as problem:  # damage shows as any of a dozen kinds
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
        raise ModelError(
            f"{processor}: {file} can't be read as weights ({reason}). Is the download complete?"
        ) from problem
    weights = found.get(inside, found) if isinstance(found, dict) else found
    if not isinstance(weights, dict) or not all(isinstance(key, str) for key in weights):
        raise ModelError(f"{processor}: {file} holds a {type(weights).__name__}, not the weights of a network.")
    return weights


def fill(network: "torch.nn.Module", weights: dict[str, Any], file: Path, processor: str) -> "torch.nn.Module":
    """Put weights into a network. All must fit; the `module.` that parallel training leaves in names is taken off."""
    state = {key.removeprefix("module."): value for key, value in weights.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as problem:
        raise other_weights(file, processor, problem) from problem
    return network


def other_weights(file: Path, processor: str, problem: Exception) -> ModelError:
    """What to raise for weights that don't fit the network."""
    return ModelError(f"{processor}: {file} holds another network's weights. {str(problem)[:400]}")
