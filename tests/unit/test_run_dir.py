"""Run folders: claimed once, continued by the same config, never mixed or overwritten."""

import json
from pathlib import Path

import pytest

from diffsynth.errors import RunFolderError
from diffsynth.run_dir import claim
from diffsynth.tasks.transcode import TranscodeConfig


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"first")
    return path


def config_for(clip: Path, **keys: object) -> TranscodeConfig:
    return TranscodeConfig.model_validate({"input_video": clip, "output_path": clip.parent / "out", **keys})


def run(config: TranscodeConfig, *, fresh: bool = False, finish: bool = True) -> bool:
    """Claim the folder and pretend to work; returns whether it was complete before."""
    with claim(config.output_path, config, config.inputs(), fresh=fresh) as folder:
        if folder.is_complete:
            return True
        (folder.work("input")).write_text("half done")
        if finish:
            made = folder.path / "video_output.mp4"
            made.write_bytes(b"video")
            folder.complete([made])
        return False


def test_a_finished_run_is_complete_and_its_work_is_gone(clip: Path) -> None:
    config = config_for(clip)
    assert not run(config)
    assert not (config.output_path / ".work").exists()
    assert run(config)
    record = json.loads((config.output_path / "run.json").read_text())
    assert record["state"] == "complete"
    assert record["inputs"]["input_video"]["sha256"]
    assert json.loads((config.output_path / "config.json").read_text()) == config.to_json()


def test_an_unfinished_run_continues(clip: Path) -> None:
    config = config_for(clip)
    run(config, finish=False)
    assert (config.output_path / ".work" / "input").read_text() == "half done"
    assert not run(config)
    assert json.loads((config.output_path / "run.json").read_text())["sessions"] == 2


def test_a_result_that_was_deleted_or_cut_is_made_again(clip: Path) -> None:
    config = config_for(clip)
    run(config)
    (config.output_path / "video_output.mp4").write_bytes(b"vid")
    assert not run(config)
    (config.output_path / "video_output.mp4").unlink()
    assert not run(config)


def test_another_config_is_refused_and_named(clip: Path) -> None:
    run(config_for(clip))
    with pytest.raises(RunFolderError, match=r"frame_interval \(1 there, 2 now\).*--fresh.*--output"):
        run(config_for(clip, frame_interval=2))


def test_fresh_moves_the_old_run_aside(clip: Path) -> None:
    first = config_for(clip)
    for interval in (2, 3, 4):
        run(first if interval == 2 else config_for(clip, frame_interval=interval - 1), fresh=True)
    aside = sorted(each.name for each in clip.parent.glob("out.old-*"))
    assert aside == ["out.old-1", "out.old-2"]
    assert (clip.parent / "out.old-1" / "video_output.mp4").exists()


def test_a_link_to_another_place_stays_one(clip: Path) -> None:
    real = clip.parent / "big-disk" / "real"
    real.mkdir(parents=True)
    (clip.parent / "out").symlink_to(real)
    for fresh in (False, True):
        run(config_for(clip), fresh=fresh)
    assert (clip.parent / "out").is_symlink()
    assert (real / "video_output.mp4").exists()
    assert (real.parent / "real.old-1" / "video_output.mp4").exists()


def test_the_same_path_with_other_content_is_another_run(clip: Path) -> None:
    run(config_for(clip))
    clip.write_bytes(b"second")
    with pytest.raises(RunFolderError, match=r"input_video \(its content is another\)"):
        run(config_for(clip))


@pytest.mark.parametrize("key", ["keyframes[3]", "caption"])
def test_files_that_are_no_key_of_their_own_count_too(clip: Path, key: str) -> None:
    config, beside = config_for(clip), clip.with_name("beside")
    inputs = {**config.inputs(), key: beside}
    for words in ("first", "first", "second"):
        beside.write_text(words)
        if words == "second":
            with pytest.raises(RunFolderError, match=r"(keyframes\[3\]|caption) \(its content is another\)"):
                claim(config.output_path, config, inputs, fresh=False).__enter__()
        else:
            with claim(config.output_path, config, inputs, fresh=False):
                pass


def test_the_same_content_at_another_path_is_the_same_run(clip: Path) -> None:
    run(config_for(clip))
    moved = clip.rename(clip.with_name("moved.mp4"))
    assert run(config_for(moved))


def test_foreign_folders_and_files_are_never_touched(clip: Path) -> None:
    config = config_for(clip)
    config.output_path.mkdir()
    (config.output_path / "thesis.txt").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(RunFolderError, match=r"holds other files \(thesis\.txt\)"):
            run(config, fresh=fresh)
    assert [each.name for each in config.output_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(RunFolderError, match="this is a file"):
        run(config_for(clip, output_path=clip))


def test_a_folder_in_use_is_refused(clip: Path) -> None:
    config = config_for(clip)
    with claim(config.output_path, config, config.inputs(), fresh=False):
        for fresh in (False, True):
            with pytest.raises(RunFolderError, match="another process is working"):
                run(config, fresh=fresh)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_record_is_said_and_kept(clip: Path, text: str) -> None:
    config = config_for(clip)
    run(config)
    (config.output_path / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"run\.json"):
        run(config)


def test_a_folder_that_cannot_be_made(clip: Path) -> None:
    with pytest.raises(RunFolderError, match="can't be made"):
        run(config_for(clip, output_path=clip / "below" / "a" / "file"))
