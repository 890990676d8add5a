"""Records of what files hold, and files that are whole or absent."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from diffsynth import disk, hub
from diffsynth.errors import MissingFileError
from diffsynth.identity import SAMPLE, glance, identify


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 3_000_000)
    assert identify(path)["sha256"] == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_glance_sees_names_sizes_and_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    plain = bytes(range(256)) * 4000
    path.write_bytes(plain)
    first = glance([path])
    os.utime(path, (1, 1))
    assert glance([path]) == first
    for changed in (b"x" + plain[1:], plain[:-1] + b"x", plain + b"x", plain[: SAMPLE // 2], b""):
        path.write_bytes(changed)
        assert glance([path]) != first
    path.write_bytes(plain)
    assert glance([path.rename(tmp_path / "b.bin")]) != first


def test_a_known_record_spares_the_reading_only_while_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    record = identify(path) | {"sha256": "remembered"}
    assert identify(path, record)["sha256"] == "remembered"
    path.write_bytes(b"two")
    os.utime(path, ns=(0, record["modified"] + 1))
    assert identify(path, record)["sha256"] == hashlib.sha256(b"two").hexdigest()


def test_what_is_left_out_of_a_folder_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_text("picture")
    before = identify(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.png").write_text("result")
    assert identify(tmp_path, None, lambda folder: folder.name == "out") == before
    assert identify(tmp_path) != before


def test_folders_and_globs(tmp_path: Path) -> None:
    for name in ("0.png", "1.png", "notes.txt"):
        (tmp_path / name).write_text(name)
    folder, pattern = identify(tmp_path), identify(tmp_path / "*.png")
    assert (folder["files"], pattern["files"]) == (3, 2)
    (tmp_path / "1.png").rename(tmp_path / "2.png")
    assert identify(tmp_path / "*.png")["sha256"] != pattern["sha256"]
    with pytest.raises(MissingFileError):
        identify(tmp_path / "*.jpg")


def test_an_atomic_write_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    disk.write_json(path, {"a": 1})
    disk.write_json(path, {"a": "ü"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ü"}
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    disk.write_aside(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk.write_aside(path, b"new")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_models_that_are_here_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert not hub.is_cached("owner/name")
    (tmp_path / "hub" / "models--owner--name" / "snapshots" / "abc").mkdir(parents=True)
    assert hub.is_cached("owner/name")


def test_the_cache_is_where_the_hubs_client_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import subprocess
    import sys

    for variable, value in (
        ("HF_HOME", tmp_path / "a"),
        ("HF_HUB_CACHE", tmp_path / "b"),
        ("XDG_CACHE_HOME", tmp_path / "c"),
    ):
        environment = {key: each for key, each in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
        environment[variable] = str(value)
        code = (
            "from huggingface_hub import constants; from diffsynth import hub; "
            "print(constants.HF_HUB_CACHE, hub.cache_folder())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        theirs, ours = done.stdout.split()
        assert theirs == ours, variable
