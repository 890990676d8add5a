"""State on disk that survives being killed at any moment."""

from pathlib import Path

import torch


def save(path: Path, state: dict[str, object]) -> None:
    fresh = path.with_suffix(".part")
    torch.save(state, fresh)
    fresh.replace(path)


def load(path: Path) -> dict[str, object] | None:
    return torch.load(path, weights_only=True) if path.exists() else None
