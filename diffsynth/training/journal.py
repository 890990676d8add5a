"""How training went: `metrics.jsonl`, and TensorBoard's files where that package is installed."""

import json
from pathlib import Path
from typing import Any

from diffsynth.disk import disk_errors, json_text

METRICS, BOARD = "metrics.jsonl", "tensorboard"


class Journal:
    """One line of JSON an entry. What an earlier run wrote beyond `step` is dropped: it comes again."""

    def __init__(self, run: Path, step: int, *, board: bool) -> None:
        self._path = run / METRICS
        self._drop_beyond(step)
        self._board = _board(run / BOARD, step) if board else None

    def _drop_beyond(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # a kill cut it off
            if entry["step"] > step:
                break
            kept.append(line + "\n")
        with disk_errors(self._path):
            self._path.write_text("".join(kept), encoding="utf-8")

    def enter(self, step: int, **values: float) -> None:
        with disk_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json_text({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def picture(self, name: str, step: int, pixels: Any) -> None:
        """(H, W, 3) bytes."""
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an extra, and not installed
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
