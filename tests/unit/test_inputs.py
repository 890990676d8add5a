"""What `--input` names, and the folders that results go to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.errors import MissingFileError
from diffsynth.inputs import expand, folder_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.mp4",
        "a.mp4",
        "a.mov",
        "frames/0.png",
        "frames/1.png",
        "clips/x.mp4",
        "clips/y.webm",
        "clips/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_a_glob_of_videos_is_many_clips_and_of_images_is_one(folder: Path) -> None:
    assert [Path(each).name for each in expand([f"{folder}/*.mp4"])] == ["a.mp4", "b.mp4"]
    assert expand([f"{folder}/frames/*.png"]) == [f"{folder}/frames/*.png"]


def test_all_that_is_missing_is_said_and_a_clip_counts_once(folder: Path) -> None:
    with pytest.raises(MissingFileError, match=r"(?s)none1.*~nobody-of-this-name/x") as raised:
        expand(["none1.mp4", f"{folder}/a.mp4", "~nobody-of-this-name/x"])
    assert "a.mp4" not in str(raised.value)
    assert expand([f"{folder}/a.mp4", f"{folder}/*.mp4"]) == [f"{folder}/a.mp4", f"{folder}/b.mp4"]


def test_a_folder_of_videos_is_many_clips_and_of_images_is_one(folder: Path) -> None:
    assert [Path(each).name for each in expand([str(folder / "clips")])] == ["x.mp4", "y.webm"]
    assert expand([str(folder / "frames")]) == [str(folder / "frames")]


def test_nothing_there(folder: Path) -> None:
    with pytest.raises(MissingFileError, match="nothing is there"):
        expand([f"{folder}/*.avi"])


def test_names_are_as_short_as_they_can_be(folder: Path) -> None:
    paths = [folder / "b.mp4", folder / "a.mp4", folder / "a.mov", folder / "clips" / "a.mov"]
    assert folder_names(paths) == ["b", "a.mp4", f"{folder.name}_a.mov", "clips_a.mov"]


@given(st.lists(st.text(min_size=1).filter(lambda name: "\0" not in name), max_size=20))
def test_names_are_distinct_and_stay_in_their_folder(names: list[str]) -> None:
    chosen = folder_names([Path(name) for name in names])
    assert len(set(chosen)) == len(names)
    assert all(name and "/" not in name and name not in (".", "..") for name in chosen)
