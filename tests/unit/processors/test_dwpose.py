"""DWPose: its answers read as its authors' networks give them, by networks whose answers are known."""

from pathlib import Path

import numpy as np
import onnx_files
import pytest
from annotators import needs_annotators
from moving import moving, nothing
from numpy.typing import NDArray

from diffsynth.errors import MissingFileError, ModelError
from diffsynth.processors.base import Stills
from diffsynth.processors.dwpose import (
    DETECTOR,
    POSE,
    ControlnetImageProcessorDWPoseConfig,
    Onnx,
    find_boxes,
    find_points,
    person,
)
from diffsynth.runtime import Runtime

COCO = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow",
    "right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle",
    "right ankle",
)  # fmt: skip
OPENPOSE = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist",
    "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye",
    "right ear", "left ear",
)  # fmt: skip


def answer(box: tuple[float, float, float, float], sure: float, kind: int = 0) -> tuple[int, NDArray[np.float32]]:
    """The place and the content of what YOLOX says of a box `x0 y0 x1 y1`, on its middle grid."""
    stride, grid = 16, 640 // 16
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    column, row = int(x // stride), int(y // stride)
    found = np.zeros(85, np.float32)
    found[:2] = x / stride - column, y / stride - row
    found[2:4] = np.log((box[2] - box[0]) / stride), np.log((box[3] - box[1]) / stride)
    found[4], found[5 + kind] = 1, sure
    return 80 * 80 + row * grid + column, found


def save_detector(path: Path, *found: tuple[int, NDArray[np.float32]]) -> None:
    answers = np.zeros((8400, 85), np.float32)
    for position, each in found:
        answers[position] = each
    onnx_files.detector(path, answers)


def test_people_are_boxes_of_the_first_kind_each_once(tmp_path: Path) -> None:
    save_detector(
        tmp_path / DETECTOR,
        answer((100, 100, 200, 300), 0.8),
        answer((116, 100, 216, 300), 0.6),  # the same person, in the next cell
        answer((300, 50, 380, 250), 0.9),
        answer((400, 100, 500, 200), 0.95, kind=16),  # a dog
        answer((500, 200, 600, 300), 0.2),
    )
    frame = np.zeros((720, 1280, 3), np.uint8)
    found = find_boxes(Onnx(tmp_path / DETECTOR, "test"), frame)
    # The frame is shown to the network at half its size.
    assert np.allclose(found, [[600, 100, 760, 500], [200, 200, 400, 600]], atol=0.01)


@pytest.mark.parametrize("box", [(40, 20, 240, 180), (100, 10, 160, 190), (-30, 50, 330, 120)])
def test_a_point_is_found_where_it_is(box: tuple[float, ...], tmp_path: Path) -> None:
    sure = np.linspace(0.01, 1, 133, dtype=np.float32)
    onnx_files.brightest_point(tmp_path / POSE, sure)
    frame = np.full((200, 300, 3), 20, np.uint8)
    frame[88:93, 118:123] = 255
    points, scores = find_points(Onnx(tmp_path / POSE, "test"), frame, np.array(box, np.float32))
    # The dot is 5 wide and the first of its pixels is taken; a pixel of the crop is up to 1.6 of the frame's.
    assert np.abs(points - (120, 90)).max() <= 2 + 1.6
    assert (points == points[0]).all()
    assert (np.diff(scores) > 0).all()


def test_parts_have_openposes_order() -> None:
    points = np.arange(266, dtype=np.float64).reshape(133, 2) / 266
    scores = np.ones(133, np.float32)
    scores[[COCO.index("left knee"), 25, 95]] = 0.1
    found = person(points, scores)
    for name, point in zip(OPENPOSE, found.body, strict=True):
        if name == "neck":
            expected = points[[COCO.index("left shoulder"), COCO.index("right shoulder")]].mean(0)
        else:
            expected = points[COCO.index(name)]
        assert point == (None if name == "left knee" else tuple(expected))
    # After the body's 17 come 6 of the feet, 68 of the face, and 21 of each hand.
    assert found.face is not None
    assert found.left_hand is not None
    assert found.right_hand is not None
    assert (len(found.face), len(found.left_hand), len(found.right_hand)) == (68, 21, 21)
    assert (found.face[0], found.face[2]) == (tuple(points[23]), (-1, -1))
    assert (found.left_hand[0], found.left_hand[4]) == (tuple(points[91]), None)
    assert found.right_hand[-1] == tuple(points[132])
    scores[COCO.index("right shoulder")] = 0.2
    assert person(points, scores).body[1] is None, "no neck without shoulders"


@needs_annotators
def test_figures_are_drawn_where_people_are(tmp_path: Path) -> None:
    save_detector(tmp_path / DETECTOR, answer((20, 20, 300, 300), 0.9))
    onnx_files.brightest_point(tmp_path / POSE, np.ones(133, np.float32))
    frame = np.full((128, 128, 3), 20, np.uint8)
    frame[30:35, 40:45] = 255
    [found] = (
        ControlnetImageProcessorDWPoseConfig(model_path=str(tmp_path), detect_resolution=128)
        .build(Runtime("cpu"))
        .process(Stills([frame]), tmp_path / "out", nothing)
    )
    y, x = np.nonzero(found.any(-1))
    assert abs(x.mean() - 42) < 3
    assert abs(y.mean() - 32) < 3
    save_detector(tmp_path / DETECTOR)
    [empty] = (
        ControlnetImageProcessorDWPoseConfig(model_path=str(tmp_path))
        .build(Runtime("cpu"))
        .process(Stills([frame]), tmp_path / "nobody", nothing)
    )
    assert not empty.any()


@needs_annotators
def test_what_is_missing_or_another_network(tmp_path: Path) -> None:
    settings = ControlnetImageProcessorDWPoseConfig(model_path=str(tmp_path))
    with pytest.raises(MissingFileError, match=r"holds no yolox_l\.onnx.*yzd-v/DWPose on the hub has one"):
        settings.build(Runtime("cpu"))
    onnx_files.brightest_point(tmp_path / POSE, np.ones(133, np.float32))
    for content in (b"", b"<html>", (tmp_path / POSE).read_bytes()[:1000]):
        (tmp_path / DETECTOR).write_bytes(content)
        with pytest.raises(ModelError, match=r"yolox_l\.onnx can't be used as the network"):
            settings.build(Runtime("cpu")).process(Stills(moving(1, 64, 64)), tmp_path / "out", nothing)
    onnx_files.detector(tmp_path / DETECTOR, np.zeros((100, 85), np.float32))
    with pytest.raises(ModelError, match=r"yolox_l\.onnx.*100 boxes, not 8400"):
        settings.build(Runtime("cpu")).process(Stills(moving(1, 64, 64)), tmp_path / "out", nothing)
    save_detector(tmp_path / POSE)
    save_detector(tmp_path / DETECTOR, answer((20, 20, 300, 300), 0.9))
    with pytest.raises(ModelError, match=r"dw-ll_ucoco_384\.onnx"):
        settings.build(Runtime("cpu")).process(Stills(moving(1, 64, 64)), tmp_path / "out", nothing)
