"""Faces smoothed over time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from moving import nothing
from scipy.signal import savgol_filter

from diffsynth.frames import Image
from diffsynth.processors.base import Stills
from diffsynth.processors.people import Detect, People, PeopleFile, Person
from diffsynth.processors.video_openpose import WINDOW, SteadyPeople, face_runs, with_smooth_faces

BODY = ((0.5, 0.5), None)


def person(points: np.ndarray | None) -> Person:
    return Person(BODY, face=None if points is None else tuple((float(x), float(y)) for x, y in points))


def write(path: Path, frames: list[People]) -> None:
    with PeopleFile(path) as file:
        for people in frames:
            file.append(people)


def smoothed(path: Path, frames: list[People]) -> list[People]:
    write(path, frames)
    with PeopleFile(path) as file:
        runs = face_runs(file)
        return [with_smooth_faces(file, position, runs[position]) for position in range(len(file))]


def track(count: int, landmarks: int = 5, seed: int = 0) -> np.ndarray:
    """(T, landmarks, 2) that jitter about a slow path."""
    generator = np.random.Generator(np.random.PCG64(seed))
    start = generator.uniform(0.3, 0.6, (landmarks, 2))
    return start + np.linspace(0, 0.1, count)[:, None, None] + generator.normal(0, 0.01, (count, landmarks, 2))


def faces(frames: list[People]) -> np.ndarray:
    return np.array([[each.face for each in people] for people in frames])


def test_the_interior_is_scipys(tmp_path: Path) -> None:
    points = track(20)
    found = faces(smoothed(tmp_path / "people", [(person(each),) for each in points]))[:, 0]
    expected = savgol_filter(points, WINDOW, 2, axis=0)
    assert np.allclose(found[3:-3], expected[3:-3], atol=1e-12)
    # At the right frame: shifted by one, the distance would be many times as large.
    assert np.abs(found - points).mean() < np.abs(found[:-1] - points[1:]).mean()


def test_steady_motion_is_left_alone_up_to_the_ends(tmp_path: Path) -> None:
    points = np.linspace(0.2, 0.8, 15)[:, None, None] + np.zeros((1, 4, 2))
    found = faces(smoothed(tmp_path / "people", [(person(each),) for each in points]))[:, 0]
    assert np.allclose(found, points, atol=1e-12)


def test_short_runs_stay(tmp_path: Path) -> None:
    points = track(14)
    frames = [(person(None if t == 6 else each),) for t, each in enumerate(points)]
    found = smoothed(tmp_path / "people", frames)
    with PeopleFile(tmp_path / "people") as file:
        assert [len(run) for run in face_runs(file)] == [6] * 6 + [1] + [7] * 7
    assert found[:7] == frames[:7], "six frames are no run"
    assert all(a != b for a, b in zip(found[7:], frames[7:], strict=True)), "seven are"


def test_a_landmark_that_was_missed_is_not_dragged_in(tmp_path: Path) -> None:
    points = track(12)
    points[5, 2] = -1 / 512
    found = faces(smoothed(tmp_path / "people", [(person(each),) for each in points]))[:, 0]
    assert np.array_equal(found[2:9, 2], points[2:9, 2]), "near the gap it stays as it was found"
    assert not np.array_equal(found[2:9, 1], points[2:9, 1])


def test_people_who_change_places_in_the_list_are_told_apart(tmp_path: Path) -> None:
    left, right = track(10, seed=1) * 0.4, track(10, seed=2) * 0.4 + 0.5
    straight = [(person(a), person(b)) for a, b in zip(left, right, strict=True)]
    swapped = [people[::-1] if t % 2 else people for t, people in enumerate(straight)]
    expected = smoothed(tmp_path / "straight", straight)
    found = smoothed(tmp_path / "swapped", swapped)
    assert [people[::-1] if t % 2 else people for t, people in enumerate(found)] == expected


def test_a_torn_line_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "people"
    people = (person(track(1)[0]), Person(BODY, left_hand=((0.1, 0.2), None)))
    write(path, [people, ()])
    with path.open("ab") as file:
        file.write(b'[{"body": [[0.1')
    with PeopleFile(path) as file:
        assert len(file) == 2
        file.append(people)
        assert (file[0], file[1], file[2]) == (people, (), people)


class TestSteadyPeople:
    """The whole processor, with a detector that finds what is written."""

    @staticmethod
    def processor(points: np.ndarray, stop_at: int | None = None) -> tuple[SteadyPeople, list[int]]:
        calls: list[int] = []

        @contextmanager
        def detecting() -> Iterator[Detect]:
            def detect(frame: Image) -> People:
                position = int(frame[0, 0, 0])
                if position == stop_at:
                    raise KeyboardInterrupt
                calls.append(position)
                return (person(points[position]),)

            yield detect

        def draw(people: People, height: int, width: int) -> Image:
            canvas = np.zeros((height, width, 3), np.uint8)
            for x, y in people[0].face or ():
                canvas[int(y * height), int(x * width)] = 255
            return canvas

        return SteadyPeople({"processor": "test"}, detecting, lambda: draw, 64), calls

    def test_each_frame_is_looked_at_once(self, tmp_path: Path) -> None:
        points = track(9)
        frames = [np.full((64, 64, 3), t, np.uint8) for t in range(9)]
        processor, calls = self.processor(points)
        whole = list(processor.process(Stills(frames), tmp_path / "whole", nothing))
        assert calls == list(range(9))
        assert all(each.any() for each in whole)
        stopped, before = self.processor(points, stop_at=5)
        with pytest.raises(KeyboardInterrupt):
            stopped.process(Stills(frames), tmp_path / "parts", nothing)
        continued, after = self.processor(points)
        parts = list(continued.process(Stills(frames), tmp_path / "parts", nothing))
        assert before + after == list(range(9))
        assert all(np.array_equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_frames_without_anybody(tmp_path: Path) -> None:
    assert smoothed(tmp_path / "people", [()] * 9) == [()] * 9
