"""`VideoControlnetImageProcesserOpenpose`: body, hands and face, the face's landmarks smoothed over time."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from diffsynth.frames import FrameStore, FrameWriter, is_complete
from diffsynth.processors.base import MAPS, Advance, Frames, Processor
from diffsynth.processors.detection import detection_size, to_detection, to_frame
from diffsynth.processors.network import DetectorSettings
from diffsynth.processors.people import Detect, Draw, OpenPose, People, PeopleFile, drawing
from diffsynth.runtime import Runtime

WINDOW = 7
HALF = WINDOW // 2
ORDER = 2
PEOPLE = "people.jsonl"

Faces = NDArray[np.float64]
"""(faces, landmarks, x y)."""


class VideoControlnetImageProcessorOpenposeConfig(DetectorSettings):
    """Key points of body, hands and face, the face's smoothed over time."""

    type: Literal["VideoControlnetImageProcesserOpenpose"] = Field(
        default="VideoControlnetImageProcesserOpenpose", exclude=True
    )
    detect_resolution: Annotated[int, Field(ge=64, le=8192)] = 512
    """Shorter side at which people are found and drawn."""
    hands: bool = True
    """Find and draw hands too."""
    face: bool = True
    """Find and draw the face's landmarks too."""

    def build(self, runtime: Runtime) -> Processor:
        openpose = OpenPose.find(self, runtime, hands=self.hands, face=self.face)
        return SteadyPeople(
            openpose.fingerprint(self), openpose.detecting, lambda: drawing(openpose.processor), self.detect_resolution
        )


@dataclass(frozen=True)
class SteadyPeople:
    """Finds people in each frame, smooths their faces over time, and draws them."""

    fingerprint: Mapping[str, Any]
    detecting: Callable[[], AbstractContextManager[Detect]]
    drawing: Callable[[], Draw]
    resolution: int
    passes: int = 2
    looks_around: bool = True

    def process(self, frames: Frames, folder: Path, advance: Advance) -> FrameStore:
        if is_complete(folder / MAPS):
            advance(self.passes * len(frames))
            return FrameStore(folder / MAPS)
        folder.mkdir(parents=True, exist_ok=True)
        with PeopleFile(folder / PEOPLE) as people:
            self._find(frames, people, advance)
            store = self._draw(frames, people, folder / MAPS, advance)
        (folder / PEOPLE).unlink()
        return store

    def _find(self, frames: Frames, people: PeopleFile, advance: Advance) -> None:
        advance(len(people))
        if len(people) == len(frames):
            return
        with self.detecting() as detect:
            for position in range(len(people), len(frames)):
                people.append(detect(to_detection(frames[position], self.resolution)))
                advance(1)

    def _draw(self, frames: Frames, people: PeopleFile, folder: Path, advance: Advance) -> FrameStore:
        draw = self.drawing()
        height, width = frames.height, frames.width
        canvas = detection_size(height, width, self.resolution)
        runs = face_runs(people)
        with FrameWriter(folder, height, width) as writer:
            advance(writer.count)
            for position in range(writer.count, len(people)):
                shown = with_smooth_faces(people, position, runs[position])
                writer.append(to_frame(draw(shown, *canvas), height, width))
                advance(1)
            return writer.finish()


def face_runs(people: PeopleFile) -> list[range]:
    """For each frame the run that it is in: neighbouring frames with as many faces, of as many landmarks each."""
    runs: list[range] = []
    start, before = 0, None
    for position in range(len(people)):
        counts = sorted(len(each.face) for each in people[position] if each.face)
        if counts != before:
            runs += [range(start, position)] * (position - start)
            start, before = position, counts
    return runs + [range(start, len(people))] * (len(people) - start)


def with_smooth_faces(people: PeopleFile, position: int, run: range) -> People:
    """The people of a frame, their faces smoothed by those before and after in its run; short runs stay as they are."""
    own = people[position]
    if len(run) < WINDOW or len({len(each.face) for each in own if each.face}) != 1:
        return own
    centre = _faces(own)
    around = [_near(people, position + shift, run, centre) for shift in range(-HALF, HALF + 1)]
    smooth = iter(smooth_landmarks(np.stack(around)).tolist())
    return tuple(replace(each, face=tuple((x, y) for x, y in next(smooth))) if each.face else each for each in own)


def smooth_landmarks(around: NDArray[np.float64]) -> Faces:
    """(WINDOW, faces, landmarks, x y) to the middle frame's, by a Savitzky-Golay filter of order 2.

    A landmark that was not found in one of the frames (negative there) stays where the middle frame has it.
    """
    from scipy.signal import savgol_coeffs

    middle = around[HALF]
    smooth = np.tensordot(savgol_coeffs(WINDOW, ORDER, use="dot"), around, 1)
    found = np.all(around >= 0, axis=(0, 3))
    return np.where(np.expand_dims(found, -1), smooth, middle)


def _near(people: PeopleFile, position: int, run: range, centre: Faces) -> Faces:
    """The faces of a frame of the run, in the order of `centre`. Past the run's ends it goes on as it came: each step
    out mirrors one step in at the end's own place, so that steady motion stays steady."""
    if position in run:
        return _in_order(_faces(people[position]), centre)
    end = run[0] if position < run[0] else run[-1]
    edge, inner = (_in_order(_faces(people[each]), centre) for each in (end, 2 * end - position))
    known = (edge >= 0) & (inner >= 0)
    # What a mirror puts beyond the frame's border is no landmark that was missed.
    return np.where(known, np.maximum(2 * edge - inner, 0), -1)


def _faces(people: People) -> Faces:
    return np.array([each.face for each in people if each.face], dtype=np.float64)


def _in_order(faces: Faces, centre: Faces) -> Faces:
    """The faces so that each stands where the nearest one of `centre` stands: detection has no order of its own."""
    if len(faces) == 1:
        return faces
    from scipy.optimize import linear_sum_assignment

    apart = np.linalg.norm(centre.mean(1)[:, None] - faces.mean(1)[None], axis=-1)
    ordered: Faces = faces[linear_sum_assignment(apart)[1]]
    return ordered
