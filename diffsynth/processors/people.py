"""People as key points: found by OpenPose, kept on disk, drawn as the figures that ControlNets read."""

import colorsys
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np

from diffsynth.frames import Image
from diffsynth.processors.network import DetectorSettings, Place
from diffsynth.processors.weights import (
    annotator,
    other_weights,
    read_weights,
    require,
    weight_file,
    weights_identity,
)
from diffsynth.runtime import Runtime

Point = tuple[float, float]
"""x and y as shares of the width and height; negative where a landmark was not found."""
Points = tuple[Point | None, ...]

HAND_LINKS = tuple(
    (4 * finger + joint if joint else 0, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
"""The wrist is point 0; finger f has the points 4f + 1 to 4f + 4."""

BODY, HAND, FACE = "body_pose_model.pth", "hand_pose_model.pth", "facenet.pth"


@dataclass(frozen=True)
class Person:
    """The key points of one person, in OpenPose's order."""

    body: Points
    left_hand: Points | None = None
    right_hand: Points | None = None
    face: tuple[Point, ...] | None = None

    def wanted(self, *, hands: bool, face: bool) -> Self:
        """Without the parts that aren't wanted."""
        return replace(
            self,
            left_hand=self.left_hand if hands else None,
            right_hand=self.right_hand if hands else None,
            face=self.face if face else None,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        def points(key: str) -> Any:
            given = value[key]
            return None if given is None else tuple(None if each is None else tuple(each) for each in given)

        return cls(points("body"), points("left_hand"), points("right_hand"), points("face"))


People = tuple[Person, ...]
Detect = Callable[[Image], People]
Draw = Callable[[People, int, int], Image]


@dataclass(frozen=True)
class OpenPose:
    """The weights of OpenPose and which parts of a person are wanted."""

    files: tuple[Path, ...]
    """Of the body, and of hands and face where they are wanted."""
    hands: bool
    face: bool
    place: Place
    processor: str

    @classmethod
    def find(cls, config: DetectorSettings, runtime: Runtime, *, hands: bool, face: bool) -> Self:
        name = config.name()
        require("controlnet_aux", name)
        wanted = [BODY, *([HAND] if hands else []), *([FACE] if face else [])]
        reference = config.model_path
        if Path(reference).is_file():  # the others lie beside it
            reference = str(Path(reference).parent)
        files = tuple(weight_file(reference, each, name) for each in wanted)
        return cls(files, hands, face, config.place(runtime), name)

    def fingerprint(self, config: DetectorSettings) -> dict[str, Any]:
        weights = [weights_identity(each) for each in self.files]
        return config.fingerprint(weights=weights, precision=self.place.precision)

    @contextmanager
    def detecting(self) -> Iterator[Detect]:
        """The networks on the device while the block lasts."""
        import torch

        aux = annotator("open_pose", self.processor)
        made: dict[str, Any] = {}

        def load() -> torch.nn.Module:
            kinds = [aux.Body, *([aux.Hand] if self.hands else []), *([aux.Face] if self.face else [])]
            parts = [_part(kind, file, self.processor) for kind, file in zip(kinds, self.files, strict=True)]
            made.update({kind.__name__.lower(): part for kind, part in zip(kinds, parts, strict=True)})
            for part in parts:
                _compute_in_own_precision(part.model)
            return torch.nn.ModuleList([part.model for part in parts])

        with self.place.holding(load):
            detector = aux.OpenposeDetector(made["body"], made.get("hand"), made.get("face"))
            yield lambda frame: _people(detector.detect_poses(frame, include_hand=self.hands, include_face=self.face))


def _part(kind: Callable[[io.BytesIO], Any], file: Path, processor: str) -> Any:
    """A part of OpenPose. It opens its file by itself, in whatever way torch does by default, so it is given a copy of
    what was read with care: tensors alone, on the CPU."""
    import torch

    copy = io.BytesIO()
    torch.save(read_weights(file, processor), copy)
    copy.seek(0)
    try:
        return kind(copy)
    except (KeyError, RuntimeError) as problem:
        raise other_weights(file, processor, problem) from problem


def _compute_in_own_precision(network: Any) -> None:
    """Let a network of any precision take and give single precision, which is all that its callers know."""

    def lower(module: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        dtype = next(module.parameters()).dtype
        return tuple(each.to(dtype) for each in arguments)

    def raise_(module: Any, arguments: tuple[Any, ...], result: Any) -> Any:
        return type(result)(each.float() for each in result) if isinstance(result, list | tuple) else result.float()

    network.register_forward_pre_hook(lower)
    network.register_forward_hook(raise_)


def _people(found: Sequence[Any]) -> People:
    """From controlnet_aux's results to ours."""

    def points(given: Any) -> Any:
        return (
            None if given is None else tuple(None if each is None else (float(each.x), float(each.y)) for each in given)
        )

    return tuple(
        Person(points(each.body.keypoints), points(each.left_hand), points(each.right_hand), points(each.face))
        for each in found
    )


def drawing(processor: str) -> Draw:
    """The figures in the colours and strokes that the ControlNets were trained on."""
    aux = annotator("open_pose", processor)
    return lambda people, height, width: draw(aux, people, height, width)


def draw(aux: ModuleType, people: People, height: int, width: int) -> Image:
    def keypoints(given: Points) -> Any:
        return [None if each is None else aux.Keypoint(*each) for each in given]

    canvas = np.zeros((height, width, 3), np.uint8)
    for each in people:
        canvas = aux.util.draw_bodypose(canvas, keypoints(each.body))
        for hand in (each.left_hand, each.right_hand):
            draw_hand(canvas, hand or ())
        canvas = aux.util.draw_facepose(canvas, keypoints(each.face or ()))
    return canvas


def draw_hand(canvas: Image, points: Points) -> None:
    """Five fingers of four links each, from the wrist on, in the colours of the rainbow.

    controlnet_aux's own drawing imports matplotlib for these colours, which it does not bring.
    """
    import cv2

    height, width = canvas.shape[:2]
    places = [None if each is None else (int(each[0] * width), int(each[1] * height)) for each in points]
    seen = [place if place is not None and min(place) > 0 else None for place in places]
    for number, (start, end) in enumerate(HAND_LINKS if seen else ()):
        first, second = seen[start], seen[end]
        if first is not None and second is not None:
            colour = [255 * part for part in colorsys.hsv_to_rgb(number / len(HAND_LINKS), 1, 1)]
            cv2.line(canvas, first, second, colour, 2)
    for place in seen:
        if place is not None:
            cv2.circle(canvas, place, 4, (0, 0, 255), -1)


class PeopleFile:
    """The people of each frame as lines of JSON; only where the lines begin is kept in memory."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        self._starts = [0]
        self._file.seek(0)
        for line in self._file:
            if line.endswith(b"\n"):
                self._starts.append(self._starts[-1] + len(line))
        self._file.truncate(self._starts[-1])  # what an interruption tore

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, people: People) -> None:
        line = json.dumps([asdict(each) for each in people], separators=(",", ":")).encode() + b"\n"
        self._file.write(line)
        self._starts.append(self._starts[-1] + len(line))

    def __getitem__(self, position: int) -> People:
        self._file.flush()
        start, end = self._starts[position], self._starts[position + 1]
        return tuple(Person.from_json(each) for each in json.loads(os.pread(self._file.fileno(), end - start, start)))

    def close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
