"""`preview-conditions`: the contact sheet of a config."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from media import Media

from diffsynth.cli import main
from diffsynth.contact_sheet import CELL, GREY, LINE, MARGIN, Column, sheet
from diffsynth.tasks.condition_preview import positions


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "cache"))


def config(folder: Path, clip: Path, processors: list[Any], **keys: Any) -> Path:
    nets = [each if isinstance(each, dict) else {"processor": each} for each in processors]
    tree = {
        "model_id": "owner/model",
        "prompt": "winter",
        "input_video": str(clip),
        "output_path": "out",
        "controlnets": [{"model_id": "owner/net", **net} for net in nets],
        **keys,
    }
    path = folder / "my.json"
    path.write_text(json.dumps(tree))
    return path


def cells(sheet: Path, columns: int, rows: int, height: int) -> np.ndarray:
    """(rows, columns, height, CELL, 3)."""
    picture = np.array(PIL.Image.open(sheet))
    assert picture.shape == (LINE + MARGIN + rows * (height + MARGIN), MARGIN + columns * (CELL + MARGIN), 3)
    body = picture[LINE + MARGIN :, MARGIN:].reshape(rows, height + MARGIN, columns, CELL + MARGIN, 3)
    return body.transpose(0, 2, 1, 3, 4)[:, :, :height, :CELL]


def test_frames_and_maps_side_by_side(media: Media, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = media.codec("h264-mp4")
    style = tmp_path / "style.png"
    PIL.Image.fromarray(np.full((10, 20, 3), (250, 20, 20), np.uint8)).save(style)
    path = config(tmp_path, clip, ["canny", "tile", "ControlnetImageProcesserShuffle"], style_image=str(style))
    assert main(["preview-conditions", str(path)]) == 0
    sheet = tmp_path / "out_conditions.png"
    assert str(sheet) in capsys.readouterr().out
    assert not (tmp_path / "out").exists(), "a folder with strange files would refuse the run"
    found = cells(sheet, 4, 3, round(80 / 96 * CELL))
    assert np.array_equal(found[:, 0], found[:, 2]), "tile is the frame"
    assert (found[:, 3] == (250, 20, 20)).all(), "shuffle reads the style image"
    assert not np.array_equal(found[0, 0], found[2, 0])
    grey = found[:, 1].astype(int)
    assert (np.ptp(grey, axis=-1) == 0).all()
    assert not (tmp_path / "cache").exists(), "three frames are no condition of a clip"


@pytest.mark.parametrize("beside", ["tile", "video_classic_softedge"])
def test_a_ready_made_condition_is_shown_beside_its_frames(
    media: Media, tmp_path: Path, capsys: pytest.CaptureFixture[str], beside: str
) -> None:
    clip = media.codec("h264-mp4")
    PIL.Image.fromarray(np.full((80, 96, 3), (20, 20, 250), np.uint8)).save(tmp_path / "depth.png")
    nets = [{"condition": str(clip)}, beside, {"condition": str(tmp_path / "depth.png")}]
    path = config(tmp_path, clip, nets, start="1f", frame_interval=2)
    assert main(["preview-conditions", str(path)]) == 0
    found = cells(tmp_path / "out_conditions.png", 4, 3, round(80 / 96 * CELL))
    assert np.array_equal(found[:, 0], found[:, 1]), "the clip as its own condition, cut in the same way"
    assert not np.array_equal(found[0, 1], found[2, 1])
    assert (found[:, 3] == (20, 20, 250)).all(), "one picture serves all frames"
    short = tmp_path / "short"
    short.mkdir()
    for position in range(2):
        PIL.Image.fromarray(np.zeros((80, 96, 3), np.uint8)).save(short / f"{position}.png")
    other = config(tmp_path, clip, [{"condition": str(short)}])
    assert main(["preview-conditions", str(other)]) == 2
    assert "is shorter than the clip" in capsys.readouterr().err


def test_what_looks_around_reads_the_whole_clip_and_keeps_it(
    media: Media, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(tmp_path, media.codec("h264-mp4"), ["video_classic_softedge"], frame_maximum_count=5)
    target = tmp_path / "sheet.png"
    assert main(["preview-conditions", str(path), "--sheet", str(target)]) == 0
    said = capsys.readouterr().out
    assert "read: 5/5 frames" in said, "a long clip must not be silence"
    assert "video_classic_softedge: 10/10 frames" in said
    cells(target, 2, 3, round(80 / 96 * CELL))
    [entry] = [each for each in (tmp_path / "cache").iterdir() if each.is_dir()]
    key = json.loads((entry / "key.json").read_text())
    assert key["processor"] == "VideoControlnetImageProcesserClassicSoftEdge"
    first = target.read_bytes()
    assert main(["preview-conditions", str(path), "--sheet", str(target), "--set", "prompt=summer"]) == 0
    assert target.read_bytes() == first
    assert [each for each in (tmp_path / "cache").iterdir() if each.is_dir()] == [entry]


def test_what_can_t_be_shown(media: Media, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path, media.codec("h264-mp4"), [])
    assert main(["preview-conditions", str(path)]) == 2
    assert "nothing to preview" in capsys.readouterr().err
    transcode = tmp_path / "other.json"
    transcode.write_text(
        json.dumps({"task": "transcode", "input_video": str(media.codec("h264-mp4")), "output_path": "out"})
    )
    assert main(["preview-conditions", str(transcode)]) == 2
    assert 'the task "transcode" has no ControlNets' in capsys.readouterr().err
    assert main(["preview-conditions", str(path), "--sheet", "sheet.jpg"]) == 2
    assert "--sheet sheet.jpg is no name for a PNG" in capsys.readouterr().err


def test_a_long_title_stays_in_its_column() -> None:
    narrow = np.zeros((320, 90, 3), np.uint8)
    titles = sheet([Column("video_classic_softedge", [narrow]), Column("x", [narrow])])[:LINE]
    written = (titles != GREY).any((0, 2))
    step = 90 + MARGIN
    assert written[MARGIN : MARGIN + 90].sum() > 45
    assert not written[MARGIN + 90 : MARGIN + step].any()


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (10, [0, 5, 9])])
def test_positions(count: int, expected: list[int]) -> None:
    assert positions(count) == expected
