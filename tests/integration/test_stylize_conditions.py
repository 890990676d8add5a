"""Conditions that come ready-made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from stylizing import LEFT_OF_PREVIEW, Bench, plain, written

from diffsynth.cli import main
from diffsynth.frames import Image
from diffsynth.images import write_png

pytestmark = pytest.mark.usefixtures("alone")


def depth_pass(folder: Path, frames: Image) -> Path:
    folder.mkdir()
    for position, frame in enumerate(frames):
        write_png(folder / f"{position}.png", 255 - frame)
    return folder


def test_a_condition_clip_is_cut_as_the_clip_is(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    folder = depth_pass(tmp_path / "depth", bench.frames)
    net = plain(bench)
    del net["processor"]
    cut = {"start": "1f", "frame_interval": 2}
    whole = render(controlnets=[{**net, "condition": str(folder)}], **cut)
    shutil.copytree(folder, tmp_path / "other")
    write_png(tmp_path / "other" / "0.png", bench.frames[3])
    write_png(tmp_path / "other" / "2.png", bench.frames[3])
    assert np.array_equal(render(controlnets=[{**net, "condition": str(tmp_path / "other")}], **cut), whole)
    assert not np.array_equal(render(controlnets=[{**net, "condition": str(folder / "0.png")}], **cut), whole)
    assert json.loads((tmp_path / "out-2" / "run.json").read_text())["frames"] == 2, "the clip's, not the picture's"


def test_a_condition_clip_of_odd_size_lies_on_the_frames(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    """The frames themselves, read as a condition, are what the tile processor makes of them."""
    size = {"frame_height": 39, "frame_width": 41}
    net = plain(bench)
    tile = render(controlnets=[net], **size)
    del net["processor"]
    assert np.array_equal(render(controlnets=[{**net, "condition": str(bench.folder / "clip")}], **size), tile)


def test_transparency_of_a_ready_condition_is_no_hole(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (32, 1))
    PIL.Image.fromarray(np.dstack([bench.frames[0], np.where(ramp < 128, 0, 255).astype(np.uint8)])).save(
        tmp_path / "clear.png"
    )
    write_png(tmp_path / "plain.png", bench.frames[0])
    net = {"model_id": str(bench.folder / "plain_net")}
    clear, plain_one = (
        render(controlnets=[{**net, "condition": str(tmp_path / name)}]) for name in ("clear.png", "plain.png")
    )
    assert np.array_equal(clear, plain_one)


def test_a_preview_and_then_the_whole(bench: Bench, tmp_path: Path) -> None:
    net = {"model_id": str(bench.folder / "plain_net"), "condition": str(depth_pass(tmp_path / "depth", bench.frames))}
    one = {"model_id": str(bench.folder / "pooled_net"), "condition": str(bench.folder / "reference.png")}
    keys = {"controlnets": [net, one], "smoother": "FastBlendSmoother", "num_inference_steps": 2}
    path = tmp_path / "my.json"
    path.write_text(json.dumps(bench.tree(str(tmp_path / "out"), **keys)))
    assert main(["run", str(path), "--quiet", "--preview", "2"]) == 0
    folder = tmp_path / "out-preview"
    assert {each.name for each in folder.iterdir()} == LEFT_OF_PREVIEW
    assert written(folder).shape == (2, 32, 40, 3)
    assert main(["run", str(path), "--quiet"]) == 0
    assert written(tmp_path / "out").shape == (4, 32, 40, 3)
