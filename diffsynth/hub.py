"""Which models of the hub are on this machine already, told from the cache's folders alone."""

import os
from pathlib import Path

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
