"""Matches come back as they were, or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from diffsynth.errors import StoreError
from diffsynth.smoothers.match_cache import MatchCache, digest, open_cache


def nnf(seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.stack([draw.integers(0, height, (height, width)), draw.integers(0, width, (height, width))], -1).astype(
        np.int16
    )


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    cache = MatchCache(tmp_path)
    cache.put("ab1", nnf(1))
    np.testing.assert_array_equal(MatchCache(tmp_path).get("ab1"), nnf(1))
    assert cache.get("ab2") is None


def test_a_damaged_entry_counts_as_missing(tmp_path: Path) -> None:
    cache = MatchCache(tmp_path)
    cache.put("ab1", nnf(1))
    (path,) = tmp_path.rglob("*.nnf")
    whole = path.read_bytes()
    for broken in (whole[:-3], b"", whole[:40] + b"\0" + whole[41:]):
        path.write_bytes(broken)
        assert cache.get("ab1") is None


def test_it_stays_within_its_limit_and_keeps_what_this_run_uses(tmp_path: Path) -> None:
    old = MatchCache(tmp_path)
    for seed in range(4):
        old.put(f"a{seed}x", nnf(seed))
    for path in tmp_path.rglob("*.nnf"):
        os.utime(path, (1, 1))
    size = max(path.stat().st_size for path in tmp_path.rglob("*.nnf"))
    cache = MatchCache(tmp_path, limit=size * 4 + size // 2)
    assert cache.get("a0x") is not None
    for seed in range(10, 16):
        cache.put(f"b{seed}", nnf(seed))
    used = sum(path.stat().st_size for path in tmp_path.rglob("*.nnf"))
    assert used <= cache.limit
    assert cache.get("a0x") is not None, "used in this run"
    assert cache.get("b10") is not None
    assert cache.get("a1x") is None, "from an earlier run, and not used since"
    assert cache.get("b15") is None, "there was no room left"


def test_a_disk_without_room_costs_nothing_but_the_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = MatchCache(tmp_path)
    cache.put("ab1", nnf(1))

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    cache.put("ab2", nnf(2))
    monkeypatch.undo()
    cache.put("ab3", nnf(3))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab1.nnf"]
    assert cache.get("ab1") is not None


def test_a_folder_that_can_t_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r'matches can\'t be kept here .*"cache_path"'):
        open_cache(tmp_path / "file" / "folder", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert open_cache(None, 1) is None


def test_names_tell_parts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", b"b") == digest(b"a", "b")


def test_no_room_means_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_cache(tmp_path, 0) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = open_cache(None, 1)
    assert cache is not None
    assert tmp_path in cache.folder.parents
