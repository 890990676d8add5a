"""The cache: made once, kept by content, bounded, and safe to share."""

import errno
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest
from moving import moving, nothing, stored

from diffsynth.cache import ContentCache, digest, frames_digest
from diffsynth.disk import disk_errors
from diffsynth.errors import ConfigError, StoreError
from diffsynth.frames import FrameStore
from diffsynth.processors.base import Stills
from diffsynth.processors.classic_soft_edge import ControlnetImageProcessorClassicSoftEdgeConfig
from diffsynth.processors.conditions import condition
from diffsynth.processors.video_depth import VideoControlnetImageProcessorDepthConfig
from diffsynth.runtime import Runtime


def write_bytes(count: int):  # type: ignore[no-untyped-def]
    def make(folder: Path) -> Path:
        (folder / "data").write_bytes(b"x" * count)
        return folder

    return make


def test_the_second_time_costs_nothing(tmp_path: Path) -> None:
    frames = moving(3, 48, 64)
    first, second = stored(tmp_path / "one", frames), stored(tmp_path / "two", frames)
    cache = ContentCache(tmp_path / "cache")
    processor = ControlnetImageProcessorClassicSoftEdgeConfig().build(Runtime("cpu"))
    found = condition(processor, first, cache, nothing)

    class Unused:
        """The same processor, for a clip of the same content: it only may open what is there."""

        fingerprint, passes, looks_around = processor.fingerprint, 1, False

        def process(self, clip: object, folder: Path, advance: object) -> FrameStore:
            assert (folder / "maps" / "complete.json").is_file(), "it was to be computed again"
            return FrameStore(folder / "maps")

    again = condition(Unused(), second, cache, nothing)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    other = ControlnetImageProcessorClassicSoftEdgeConfig(texture=0.5).build(Runtime("cpu"))
    assert not np.array_equal(condition(other, first, cache, nothing)[0], found[0])
    assert len([each for each in cache.folder.iterdir() if each.is_dir()]) == 2


def test_the_key_is_the_content(tmp_path: Path) -> None:
    frames = moving(3, 48, 64)
    kept = frames_digest(stored(tmp_path / "a", frames))
    assert kept == frames_digest(stored(tmp_path / "b", frames))
    frames[1][5, 5, 0] ^= 1
    assert kept != frames_digest(stored(tmp_path / "c", frames))
    assert kept != frames_digest(stored(tmp_path / "d", frames[:2]))
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})


def test_settings_that_change_nothing_are_no_part_of_the_key() -> None:
    settings = VideoControlnetImageProcessorDepthConfig(batch_size=2, device="cpu").fingerprint()
    assert settings == VideoControlnetImageProcessorDepthConfig().fingerprint()
    assert settings != VideoControlnetImageProcessorDepthConfig(sigmoid=True).fingerprint()


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path, limit=2500)
    paths = [cache.get({"number": number}, write_bytes(1000)) for number in range(2)]
    for age, path in zip((200, 100), paths, strict=True):
        os.utime(path, (time.time() - age,) * 2)
    cache.get({"number": 0}, lambda folder: folder)  # used just now: it is no longer the oldest
    cache.get({"number": 2}, write_bytes(1000))
    assert [path.exists() for path in paths] == [True, False]


def test_what_is_asked_for_is_kept_however_large(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path, limit=10)
    assert (cache.get({"large": 1}, write_bytes(1000)) / "data").stat().st_size == 1000


def test_what_is_open_can_be_dropped(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path / "cache", limit=1)
    frames = moving(2, 48, 64)
    processor = ControlnetImageProcessorClassicSoftEdgeConfig().build(Runtime("cpu"))
    found = condition(processor, stored(tmp_path / "clip", frames), cache, nothing)
    cache.get({"other": 1}, write_bytes(10))
    assert not found.path.exists()
    expected = processor.process(Stills(frames), tmp_path / "expected", nothing)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_unfinished_work_is_continued(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path)

    def stopped(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get({"a": 1}, stopped)
    assert cache.get({"a": 1}, lambda folder: (folder / "half").is_file())


def _append(folder: Path) -> None:
    before = (folder / "log").read_text() if (folder / "log").is_file() else ""
    time.sleep(0.05)
    (folder / "log").write_text(before + "x")


def _in_process(folder: Path) -> None:
    ContentCache(folder).get({"shared": True}, _append)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_in_process, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert ContentCache(tmp_path).get({"shared": True}, lambda folder: (folder / "log").read_text()) == "xxx"


class TestADiskThatSaysNo:
    def test_a_full_one(self, tmp_path: Path) -> None:
        """Whoever writes in the cache knows of output folders, or of no file at all; the cache says what to do."""

        def bare(folder: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def a_store(folder: Path) -> None:
            with disk_errors(folder / "maps"):
                bare(folder)

        for make in (bare, a_store):
            with pytest.raises(StoreError, match=f"^{tmp_path}: No space left on device. This is the cache; set DIFF"):
                ContentCache(tmp_path).get({}, make)

    def test_what_is_not_the_cache_s_is_not_blamed_on_it(self, tmp_path: Path) -> None:
        def elsewhere(folder: Path) -> None:
            (tmp_path / "cached" / "other").read_bytes()

        def damaged(folder: Path) -> None:
            raise StoreError("frame 3 is damaged")

        with pytest.raises(FileNotFoundError) as found:
            ContentCache(tmp_path / "cache").get({}, elsewhere)
        assert not isinstance(found.value, StoreError)
        with pytest.raises(StoreError, match=r"^frame 3 is damaged$"):
            ContentCache(tmp_path / "cache").get({}, damaged)


class TestOfUser:
    def test_variables(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "here"))
        monkeypatch.setenv("DIFFSYNTH_CACHE_GB", "1.5")
        assert ContentCache.of_user() == ContentCache(tmp_path / "here", 1_500_000_000)
        monkeypatch.delenv("DIFFSYNTH_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert ContentCache.of_user().folder == tmp_path / "diffsynth"
        monkeypatch.setenv("DIFFSYNTH_CACHE_GB", "much")
        with pytest.raises(ConfigError, match='DIFFSYNTH_CACHE_GB is "much"'):
            ContentCache.of_user()

    def test_a_place_that_can_t_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match="This is the cache; set DIFFSYNTH_CACHE"):
            ContentCache(tmp_path / "file" / "cache").get({}, lambda folder: folder)
