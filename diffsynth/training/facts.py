"""What checkpoints say of themselves, and where a training run keeps them. Read without torch.

checkpoints/00002000.safetensors    all that going on needs
model.safetensors                   the averaged weights: all that sampling needs
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffsynth.errors import ModelError

FORMAT, AUTOENCODER = "diffsynth.video-model/1", "diffsynth.autoencoder/1"
MADE_BY = {FORMAT: "train", AUTOENCODER: "train_vae"}
"""The task that makes checkpoints of a format."""
FOLDER, FINAL = "checkpoints", "model.safetensors"
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself."""

    model: dict[str, Any]
    """As `VideoModelConfig`."""
    step: int
    run: dict[str, Any]
    """The data's fingerprint and the loss scale of fp16: what training goes on with beside tensors."""
    format: str = FORMAT

    def metadata(self) -> dict[str, str]:
        return {
            "format": self.format,
            "model": json.dumps(self.model),
            "step": str(self.step),
            "run": json.dumps(self.run),
        }


def checkpoint_path(run: Path, step: int) -> Path:
    return run / FOLDER / f"{step:08}.safetensors"


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    return sorted((run / FOLDER).glob("[0-9]*.safetensors"))


def forget_all_but(run: Path, keep: int) -> None:
    for path in checkpoints(run)[:-keep]:
        path.unlink()


def weights_file(place: Path) -> Path:
    """The weights in a file or the folder of a training run: the finished ones, else those of the last checkpoint."""
    if place.is_file():
        return place
    if (place / FINAL).is_file():
        return place / FINAL
    kept = checkpoints(place)
    if kept:
        return kept[-1]
    raise ModelError(
        f"{place}: holds no weights. A checkpoint is the folder of a training run (with {FINAL} or {FOLDER}/ in it), "
        "a safetensors file of one, or an official Latte .pt."
    )


def is_ours(path: Path, kind: str = FORMAT) -> bool:
    """Whether a file is a checkpoint of the task `train`, or of another by its format."""
    return path.suffix == ".safetensors" and _metadata(path).get("format") == kind


def facts_of(path: Path, kind: str = FORMAT) -> Facts:
    """What a checkpoint says of itself; `ModelError` where it is none of ours."""
    metadata = _metadata(path)
    found = metadata.get("format")
    if found != kind:
        hint = " A published Latte can be drawn from by the task `sample`." if kind == FORMAT else ""
        what = f"is of the task `{MADE_BY[found]}`" if found in MADE_BY else "does not say how its network is built"
        raise ModelError(f"{path}: {what}; a checkpoint of the task `{MADE_BY[kind]}` is needed here.{hint}")
    try:
        return Facts(json.loads(metadata["model"]), int(metadata["step"]), json.loads(metadata["run"]), kind)
    except (KeyError, ValueError) as problem:
        raise ModelError(f"{path}: what it says of itself is damaged ({problem}).") from None


def _metadata(path: Path) -> dict[str, str]:
    """The words at the head of a safetensors file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, LONGEST_HEADER)))
            words: dict[str, str] = header.get("__metadata__", {})
    except (OSError, ValueError, struct.error) as problem:
        raise ModelError(f"{path}: is no whole safetensors file ({problem}).") from None
    return words
