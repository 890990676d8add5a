"""Models of the hub: which are on this machine already, told from the cache's folders alone, and how others come."""

import os
from collections.abc import Sequence
from pathlib import Path

from diffsynth.errors import UnavailableError

MOVED = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
}
"""Ids that configs in the wild still name, and where the same weights are now."""


def cache_folder() -> Path:
    """Where the hub's client keeps its downloads, by the same environment variables."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def is_cached(model_id: str) -> bool:
    """Whether some snapshot of the model was downloaded."""
    snapshots = cache_folder() / f"models--{model_id.replace('/', '--')}" / "snapshots"
    return snapshots.is_dir() and any(snapshots.iterdir())


def snapshot(model_id: str, patterns: Sequence[str], key: str) -> Path:
    """The folder of a model of the hub, with the files that match `patterns`; fetched where they aren't here yet.

    `key` names, for messages, what of the config asks for it.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model_id, allow_patterns=list(patterns)))
    except (OSError, ValueError) as problem:  # all the hub's own errors are one or the other
        moved = f" That id was removed from the hub: use {MOVED[model_id]}." if model_id in MOVED else ""
        raise UnavailableError(
            f"{model_id}: is not on this machine and can't be fetched ({type(problem).__name__}).{moved} "
            f"Give {key} a local folder, or run once with a connection to the hub."
        ) from problem
