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
CRITIC = "diffsynth.critic/1"
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
        """One entry: of several, safetensors writes them in another order each time, and the same training would leave
        other bytes."""
        return {self.format: json.dumps({"model": self.model, "step": self.step, "run": self.run})}


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
    return path.suffix == ".safetensors" and kind in _metadata(path)


def facts_of(path: Path, kind: str = FORMAT) -> Facts:
    """What a checkpoint says of itself; `ModelError` where it is none of ours."""
    metadata = _metadata(path)
    if kind not in metadata:
        hint = " A published Latte can be drawn from by the task `sample`." if kind == FORMAT else ""
        found = next((each for each in MADE_BY if each in metadata), None)
        what = f"is of the task `{MADE_BY[found]}`" if found else "does not say how its network is built"
        needed = f"a checkpoint of the task `{MADE_BY[kind]}`" if kind in MADE_BY else "an imported discriminator"
        raise ModelError(f"{path}: {what}; {needed} is needed here.{hint}")
    try:
        words = _table(json.loads(metadata[kind]))
        return Facts(_table(words["model"]), int(words["step"]), _table(words["run"]), kind)
    except (KeyError, TypeError, ValueError, RecursionError) as problem:
        raise ModelError(f"{path}: what it says of itself is damaged ({problem}). Use another checkpoint.") from None


def _metadata(path: Path) -> dict[str, Any]:
    """The words at the head of a safetensors file."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, LONGEST_HEADER)))
        return _table(_table(header).get("__metadata__") or {})
    except (OSError, ValueError, TypeError, RecursionError, struct.error) as problem:
        raise ModelError(
            f"{path}: is no whole safetensors file ({problem}). If it is damaged, delete it: a run goes on from its "
            "checkpoint before that."
        ) from None


def _table(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError(f"a table was expected, and {type(found).__name__} is there")
    return found
