"""Configs that are refused, as a user sees it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from stylizing import Bench

from diffsynth.cli import main


class Case:
    """One config in a folder of its own, on copies of the bench's models."""

    def __init__(self, bench: Bench, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bench, self.folder, self.capsys = bench, folder, capsys

    @property
    def output(self) -> Path:
        return self.folder / "out"

    def copied(self, name: str) -> Path:
        """A model's folder; its files are links until they are replaced."""
        shutil.copytree(self.bench.folder / name, self.folder / name, copy_function=os.link)
        return self.folder / name

    def run(self, *arguments: str, **keys: Any) -> int:
        path = self.folder / "my.json"
        tree = self.bench.tree(**{"num_inference_steps": 1, **keys})
        path.write_text(json.dumps({**tree, "output_path": str(self.output)}))
        return main(["run", str(path), "--quiet", *arguments])

    def refused(self, *arguments: str, **keys: Any) -> str:
        assert self.run(*arguments, **keys) == 2
        words = self.capsys.readouterr().err
        assert "Traceback" not in words
        assert not (self.output / "frames").exists()
        return words

    def net(self, folder: Path, **keys: Any) -> list[dict[str, Any]]:
        return [{"model_id": str(folder), "processor": "tile", **keys}]


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def resettle(path: Path, **keys: Any) -> None:
    """Change keys of a JSON file that is a link to another folder's."""
    replace(path, json.dumps({**json.loads(path.read_text()), **keys}).encode())
