"""`ControlnetImageProcesserDWPose`: whole-body key points, found by the networks of DWPose as OpenCV runs them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.config import ModelRef
from diffsynth.errors import ModelError
from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, Processor, ProcessorSettings
from diffsynth.processors.detection import detection_size, to_frame
from diffsynth.processors.people import Person, Points, drawing
from diffsynth.processors.weights import require, weight_file, weights_identity
from diffsynth.runtime import Runtime

REPOSITORY = "yzd-v/DWPose"
DETECTOR, POSE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"

SIDE, STRIDES = 640, (8, 16, 32)
"""The square that the detector reads, and the grids that its answers lie on."""
PERSON = 5
"""Where in an answer of the detector the score of its first class stands, after the box and how sure it is of one."""
SURE, OVERLAP = 0.3, 0.45

CROP_WIDTH, CROP_HEIGHT = 288, 384
MARGIN = 1.25
MEAN, DEVIATION = (np.array(each, np.float32) for each in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
FINER = 2
"""Answers of the pose network for each pixel of its crop."""

NECK = 133
BODY_ORDER = (0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose's 18 points of a body among the 17 of COCO; the neck, which COCO doesn't have, is between the shoulders."""
SHOULDERS = [5, 6]
FACE, LEFT_HAND, RIGHT_HAND = slice(23, 91), slice(91, 112), slice(112, 133)


class ControlnetImageProcessorDWPoseConfig(ProcessorSettings):
    """Key points of body, hands and face, found by DWPose; runs on the CPU."""

    type: Literal["ControlnetImageProcesserDWPose"] = Field(default="ControlnetImageProcesserDWPose", exclude=True)
    model_path: ModelRef = REPOSITORY
    """A folder with `yolox_l.onnx` and `dw-ll_ucoco_384.onnx`, or a repository of the hub."""
    detect_resolution: Annotated[int, Field(ge=64, le=8192)] = 512
    """Shorter side at which the figures are drawn; people are found in the frame as it is."""
    hands: bool = True
    """Draw hands too."""
    face: bool = True
    """Draw the face's landmarks too."""

    def models(self) -> tuple[str, ...]:
        return (self.model_path,)

    def build(self, runtime: Runtime) -> Processor:
        name = self.name()
        require("controlnet_aux", name)
        files = [weight_file(self.model_path, each, name, REPOSITORY) for each in (DETECTOR, POSE)]
        resolution = self.detect_resolution

        @contextmanager
        def opened() -> Iterator[Mapper]:
            draw = drawing(name)
            detector, pose = (Onnx(each, name) for each in files)

            def figures(frame: Image) -> Image:
                people = [_person(pose, frame, box) for box in find_boxes(detector, frame)]
                shown = tuple(each.wanted(hands=self.hands, face=self.face) for each in people)
                height, width = frame.shape[:2]
                return to_frame(draw(shown, *detection_size(height, width, resolution)), height, width)

            yield lambda frames: [figures(frame) for frame in frames]

        return PerFrame(self.fingerprint(weights=[weights_identity(each) for each in files]), opened)


class Onnx:
    """A network in a file of ONNX, which holds no code. OpenCV runs it on the CPU."""

    def __init__(self, file: Path, processor: str) -> None:
        import cv2

        self._file, self._processor = file, processor
        try:
            self._network = cv2.dnn.readNetFromONNX(str(file))
        except cv2.error as problem:
            raise self.unfit(str(problem)) from problem

    def __call__(self, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(H, W, 3) in, what the network says of it out."""
        import cv2

        try:
            self._network.setInput(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))
            found: Sequence[Any] = self._network.forward(self._network.getUnconnectedOutLayersNames())
        except cv2.error as problem:
            raise self.unfit(str(problem)) from problem
        return [np.asarray(each, np.float32) for each in found]

    def unfit(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._processor}: {self._file} can't be used as the network it is named after ({reason.strip()[:200]}). "
            "Is the download complete?"
        )


def find_boxes(detector: Onnx, frame: Image) -> NDArray[np.float32]:
    """(N, 4) boxes `x0 y0 x1 y1` of people in pixels of the frame, the surest first."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(SIDE / height, SIDE / width)
    fitted = cv2.resize(frame, (max(int(width * scale), 1), max(int(height * scale), 1)))
    square = np.full((SIDE, SIDE, 3), 114, np.float32)
    square[: fitted.shape[0], : fitted.shape[1]] = fitted[..., ::-1]  # it was trained on BGR, 0 to 255
    answers = detector(square)[0].reshape(-1, 85)
    cells = [(x, y, stride) for stride in STRIDES for y in range(SIDE // stride) for x in range(SIDE // stride)]
    if len(answers) != len(cells):
        raise detector.unfit(f"{len(answers)} boxes, not {len(cells)}")
    corner, stride = np.array([each[:2] for each in cells]), np.array([each[2:] for each in cells])
    scores = answers[:, 4] * answers[:, PERSON]
    likely = np.flatnonzero(scores > SURE)
    centres = (answers[likely, :2] + corner[likely]) * stride[likely]
    sizes = np.exp(answers[likely, 2:4]) * stride[likely]
    first = centres - sizes / 2
    kept = cv2.dnn.NMSBoxes(np.hstack([first, sizes]).tolist(), scores[likely].tolist(), SURE, OVERLAP)
    chosen = np.asarray(kept, np.intp).ravel()
    return np.asarray(np.hstack([first, first + sizes])[chosen] / scale, np.float32)


def find_points(pose: Onnx, frame: Image, box: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(133, 2) points `x y` in pixels of the frame and how sure each is, in the order of COCO-WholeBody."""
    import cv2

    centre, size = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * MARGIN
    scale = min(CROP_WIDTH / max(float(size[0]), 1e-3), CROP_HEIGHT / max(float(size[1]), 1e-3))
    shift = np.array([CROP_WIDTH, CROP_HEIGHT]) / 2 - scale * centre
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = cv2.warpAffine(frame, matrix, (CROP_WIDTH, CROP_HEIGHT), flags=cv2.INTER_LINEAR)
    found = {each.shape[-1]: each.reshape(-1, each.shape[-1]) for each in pose((crop - MEAN) / DEVIATION)}
    across, down = (found.get(side * FINER) for side in (CROP_WIDTH, CROP_HEIGHT))
    if across is None or down is None or not len(across) == len(down) == NECK:
        raise pose.unfit(f"answers of the shapes {[each.shape for each in found.values()]}")
    places = np.stack([across.argmax(1), down.argmax(1)], 1) / FINER
    return (places - shift) / scale, np.minimum(across.max(1), down.max(1))


def _person(pose: Onnx, frame: Image, box: NDArray[np.float32]) -> Person:
    points, scores = find_points(pose, frame, box)
    return person(points / (frame.shape[1], frame.shape[0]), scores)


def person(points: NDArray[np.float64], scores: NDArray[np.float32]) -> Person:
    """From the 133 points of COCO-WholeBody, as shares of the frame, to OpenPose's parts."""
    points = np.vstack([points, points[SHOULDERS].mean(0)])
    scores = np.append(scores, scores[SHOULDERS].min())
    seen: Points = tuple(
        (float(x), float(y)) if score > SURE else None for (x, y), score in zip(points, scores, strict=True)
    )
    return Person(
        tuple(seen[each] for each in BODY_ORDER),
        seen[LEFT_HAND],
        seen[RIGHT_HAND],
        tuple(each or (-1.0, -1.0) for each in seen[FACE]),
    )
