"""Arrays on disk: whole appends or none, read by position."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffsynth.arrays import ArrayStore, ArrayWriter, committed
from diffsynth.errors import StoreError


def records(start: int, stop: int) -> np.ndarray:
    return np.arange(start * 6, stop * 6, dtype=np.float32).reshape(-1, 2, 3)


def test_what_was_appended_is_read_in_any_order(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a", (2, 3)) as writer:
        writer.append(records(0, 3))
        writer.append(records(3, 5))
    store = ArrayStore(tmp_path / "a")
    assert len(store) == 5
    np.testing.assert_array_equal(store.read([4, 0, 4]), records(0, 5)[[4, 0, 4]])
    with pytest.raises(IndexError):
        store.read([5])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(torn=st.integers(0, 100))
def test_what_a_crash_left_behind_the_last_commit_is_written_again(tmp_path: Path, torn: int) -> None:
    path = tmp_path / f"torn{torn}"
    with ArrayWriter(path, (2, 3)) as writer:
        writer.append(records(0, 2)) if writer.count == 0 else None
    with (path / "data.bin").open("ab") as file:
        file.write(os.urandom(torn))
    with ArrayWriter(path, (2, 3)) as writer:
        assert writer.count == 2
        writer.append(records(2, 4))
        np.testing.assert_array_equal(ArrayStore(path).read(range(4)), records(0, 4))
    (path / "commit.json").write_text(json.dumps({"count": 2}))


def test_other_shapes_and_kinds_are_refused(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a", (2, 3)) as writer, pytest.raises(ValueError, match="holds"):
        writer.append(np.zeros((1, 3, 2), np.float32))
    with pytest.raises(StoreError, match="another kind"):
        ArrayWriter(tmp_path / "a", (2, 4))


def test_nothing_there_counts_nothing(tmp_path: Path) -> None:
    assert committed(tmp_path / "none") == 0
    with pytest.raises(StoreError, match="can't be read"):
        ArrayStore(tmp_path / "none")


def test_damage_is_named(tmp_path: Path) -> None:
    with ArrayWriter(tmp_path / "a", (2, 3)) as writer:
        writer.append(records(0, 2))
    os.truncate(tmp_path / "a" / "data.bin", 30)
    with pytest.raises(StoreError, match="ends before record 1"):
        ArrayStore(tmp_path / "a").read([1])
    (tmp_path / "a" / "commit.json").write_text("{")
    with pytest.raises(StoreError, match=r"commit\.json: damaged"):
        committed(tmp_path / "a")
