"""Weights that are damaged, another network's, or an attack: the error names the file, and nothing in it is run."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotators import Annotators, needs_annotators
from moving import moving, nothing
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from diffsynth.errors import MissingFileError, ModelError
from diffsynth.processors import ProcessorConfig, canonical_name
from diffsynth.processors.base import Stills
from diffsynth.runtime import Runtime

FRAMES = moving(1, 64, 64)


def maps(name: str, folder: Path, frames: list[Any] = FRAMES, **keys: Any) -> list[Any]:
    settings: Any = TypeAdapter(ProcessorConfig).validate_python({"type": canonical_name(name), **keys})
    return list(settings.build(Runtime("cpu", threads=1)).process(Stills(frames), folder, nothing))


class Attack:
    """Unpickled by a careless reader, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def bare_pickle(path: Path, ran: Path) -> None:
    path.write_bytes(pickle.dumps({"a": Attack(ran)}, protocol=2))


def checkpoint(path: Path, ran: Path) -> None:
    torch.save({"state_dict": {"a": Attack(ran)}}, path)


@needs_annotators
@pytest.mark.parametrize("write", [bare_pickle, checkpoint])
@pytest.mark.parametrize(("name", "file"), [("pidinet", "table5_pidinet.pth"), ("openpose", "body_pose_model.pth")])
def test_code_in_a_checkpoint_is_not_run(
    name: str, file: str, write: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    write(tmp_path / file, tmp_path / "ran")
    with pytest.raises(ModelError, match=rf"{file} is no checkpoint, or holds more than tensors"):
        maps(name, tmp_path / "out", model_path=str(tmp_path))
    assert not (tmp_path / "ran").exists()


@needs_annotators
@pytest.mark.parametrize(("name", "file"), [("pidinet", "table5_pidinet.pth"), ("openpose", "body_pose_model.pth")])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as weights"),
        (b"<html>not found</html>", "is no checkpoint"),
        ([torch.zeros(3)], "holds a list"),
        ({"state_dict": 5, "other": torch.zeros(3)}, "holds a int|another network's"),
        ({1: torch.zeros(3)}, "holds a dict, not the weights"),
        ({"other": torch.zeros(3)}, "another network's weights"),
    ],
)
def test_damage_is_named(name: str, file: str, content: Any, message: str, tmp_path: Path) -> None:
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    else:
        torch.save(content, tmp_path / file)
    with pytest.raises(ModelError, match=rf"{file}.*({message})"):
        maps(name, tmp_path / "out", model_path=str(tmp_path))


@needs_annotators
def test_a_download_that_broke_off(annotators: Annotators, tmp_path: Path) -> None:
    whole = Path(annotators.with_file("table5_pidinet.pth"), "table5_pidinet.pth").read_bytes()
    (tmp_path / "part.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"part\.pth can't be read as weights.*Is the download complete"):
        maps("pidinet", tmp_path / "out", model_path=str(tmp_path / "part.pth"))


@needs_annotators
def test_values_that_are_no_numbers_are_no_black_map(annotators: Annotators, tmp_path: Path) -> None:
    state = torch.load(Path(annotators.with_file("sk_model.pth"), "sk_model.pth"), weights_only=True)
    torch.save({key: value * float("inf") for key, value in state.items()}, tmp_path / "sk_model.pth")
    with pytest.raises(ModelError, match="ControlnetImageProcesserLineart: the network's values are no numbers"):
        maps("lineart", tmp_path / "out", model_path=str(tmp_path))


class TestFolders:
    """Models of transformers."""

    @pytest.fixture
    def folder(self, annotators: Annotators, tmp_path: Path) -> Path:
        return Path(shutil.copytree(annotators.depth(), tmp_path / "model"))

    @staticmethod
    def keep(folder: Path, wanted: Callable[[str], bool]) -> None:
        state = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in state.items() if wanted(k)}, folder / "model.safetensors", {"format": "pt"})

    def test_another_kind(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip_text_model"}))
        with pytest.raises(ModelError, match="AutoModelForDepthEstimation"):
            maps("depth", tmp_path / "out", model_path=str(tmp_path))
        (tmp_path / "file").write_bytes(b"-")
        with pytest.raises(MissingFileError, match="This model is a folder"):
            maps("depth", tmp_path / "out", model_path=str(tmp_path / "file"))

    def test_a_download_that_broke_off(self, folder: Path, tmp_path: Path) -> None:
        weights = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        with pytest.raises(ModelError, match="can't be loaded as the model"):
            maps("depth", tmp_path / "out", model_path=str(folder))

    @pytest.mark.parametrize("write", [bare_pickle, checkpoint])
    def test_code_in_the_weights_is_not_run(
        self, write: Callable[[Path, Path], None], folder: Path, tmp_path: Path
    ) -> None:
        (folder / "model.safetensors").unlink()
        write(folder / "pytorch_model.bin", tmp_path / "ran")
        with pytest.raises(ModelError, match="can't be loaded as the model"):
            maps("depth", tmp_path / "out", model_path=str(folder))
        assert not (tmp_path / "ran").exists()

    def test_code_beside_the_weights_is_not_run_nor_asked_about(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        described = json.loads((folder / "config.json").read_text())
        described |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForDepthEstimation": "own.M"}}
        (folder / "config.json").write_text(json.dumps(described))
        (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        asked: list[str] = []
        monkeypatch.setattr("builtins.input", lambda prompt="": asked.append(prompt) or "y")
        with pytest.raises(ModelError, match="can't be loaded as the model"):
            maps("depth", tmp_path / "out", model_path=str(folder))
        assert not asked
        assert not (tmp_path / "ran").exists()

    def test_weights_that_are_left_out_are_not_made_up(self, folder: Path, tmp_path: Path) -> None:
        self.keep(folder, lambda key: not key.startswith("head."))
        with pytest.raises(ModelError, match=r"leaves out 6 weights of its network \(head\.head\.0\.bias"):
            maps("depth", tmp_path / "out", model_path=str(folder))

    def test_weights_that_no_network_uses_may_be_left_out(self, folder: Path, tmp_path: Path) -> None:
        """As in the published DPT: what is missing from it is never looked at, so the map is the same."""
        [whole] = maps("depth", tmp_path / "whole", model_path=str(folder))
        self.keep(folder, lambda key: not key.startswith("neck.fusion_stage.layers.0.residual_layer1."))
        [found] = maps("depth", tmp_path / "out", model_path=str(folder))
        assert np.array_equal(found, whole)

    @pytest.mark.parametrize("height", [1, 3])
    def test_a_frame_is_never_taken_for_its_colours(self, height: int, folder: Path, tmp_path: Path) -> None:
        [found] = maps("depth", tmp_path / "out", [FRAMES[0][:height]], model_path=str(folder))
        assert found.shape == (height, 64, 3)
