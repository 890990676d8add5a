"""The task `transcode` through the runner, on real clips, whole and interrupted."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL.Image
import pytest
from media import CODECS, Media, pixels, shown_frames

from diffsynth.cli import main
from diffsynth.video.options import CODEC_SUFFIXES, Codec

ROOT = Path(__file__).parents[2]


def config(folder: Path, source: Path | str, name: str = "job", **keys: Any) -> Path:
    path = folder / f"{name}.json"
    tree = {"task": "transcode", "input_video": str(source), "output_path": f"{name}-out", **keys}
    path.write_text(json.dumps(tree))
    return path


def result(folder: Path, name: str = "job") -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / f"{name}-out" / "run.json").read_text())
    return record


def all_files(folder: Path) -> dict[str, bytes]:
    """Everything a run made, without what tells of times."""
    told = {"run.json", "progress.jsonl"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in told
    }


@pytest.mark.parametrize("name", sorted(CODECS))
def test_frames_rate_and_sound_of_every_codec(media: Media, tmp_path: Path, name: str) -> None:
    source = media.codec(name)
    assert main(["run", str(config(tmp_path, source)), "--quiet"]) == 0
    made = tmp_path / "job-out" / "video_output.mp4"
    before, after = shown_frames(source), shown_frames(made)
    assert len(after) == len(before) == len(list((tmp_path / "job-out" / "frames").iterdir()))
    frame = 1 / CODECS[name].seconds * CODECS[name].frames
    assert abs((after[-1].begin - after[0].begin) - (before[-1].begin - before[0].begin)) <= 1 / frame
    record = result(tmp_path)
    assert record["audio"] == ("none" if name == "gif" else record["audio"])
    assert record["state"] == "complete"
    if name != "gif":
        assert record["audio"] in ("copied", "encoded")


def test_the_range_and_size_that_were_asked_for(media: Media, tmp_path: Path) -> None:
    keys = {
        "start": "6f",
        "end": "18f",
        "frame_interval": 2,
        "frame_maximum_count": 5,
        "frame_height": 40,
        "frame_width": 40,
    }
    assert main(["run", str(config(tmp_path, media.codec("h264-mp4"), **keys)), "--quiet"]) == 0
    made = shown_frames(tmp_path / "job-out" / "video_output.mp4")
    assert len(made) == 5
    assert made[1].begin - made[0].begin == pytest.approx(2 / 25)
    assert pixels(tmp_path / "job-out" / "video_output.mp4", 40, 40).shape == (5, 40, 40, 3)


@pytest.mark.parametrize("codec", get_args(Codec))
def test_every_codec_out(media: Media, tmp_path: Path, codec: Codec) -> None:
    keys = {"video": {"codec": codec}, "frame_width": 32, "frame_maximum_count": 4}
    assert main(["run", str(config(tmp_path, media.codec("h264-mp4"), **keys)), "--quiet"]) == 0
    made = tmp_path / "job-out" / f"video_output{CODEC_SUFFIXES[codec][0]}"
    assert made.stat().st_size > 0
    assert result(tmp_path)["frames"] == 4
    if codec != "webp":  # FFmpeg, which looks into the others, reads no animated WebP
        assert len(shown_frames(made)) == 4


def test_a_file_name_in_another_encoding(media: Media, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9 $x [1].mp4")
    shutil.copy(media.codec("h264-mp4"), tmp_path / odd)
    job = config(tmp_path, "none", frame_width=32, frame_maximum_count=2)
    for _ in range(2):  # the second finds the first's record
        assert main(["run", str(job), "--input", str(tmp_path / odd), "--quiet"]) == 0
    again = ["run", str(tmp_path / "job-out" / "config.json"), "--output", str(tmp_path / "again"), "--quiet"]
    assert main(again) == 0


def test_a_disk_that_is_full_stops_it_with_a_sentence_and_the_next_run_goes_on(media: Media, tmp_path: Path) -> None:
    job = config(tmp_path, media.codec("h264-mp4"))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)); "
        f"from diffsynth.cli import main; sys.exit(main(['run', {str(job)!r}, '--quiet']))"
    )
    stopped = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=ROOT)
    assert stopped.returncode == 2
    assert "cannot be written" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert result(tmp_path)["state"] == "stopped"
    assert main(["run", str(job), "--quiet"]) == 0
    assert (result(tmp_path)["state"], result(tmp_path)["sessions"]) == ("complete", 2)


def test_results_inside_the_clips_folder_are_no_part_of_the_clip(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        PIL.Image.new("RGB", (16, 16), (number, 0, 0)).save(pictures / f"{number}.png")
    job = config(tmp_path, pictures, output_path="pictures/out")
    for _ in range(2):
        assert main(["run", str(job), "--quiet"]) == 0
    assert json.loads((pictures / "out" / "run.json").read_text())["frames"] == 3


def test_lossless_is_lossless(media: Media, tmp_path: Path) -> None:
    source = media.codec("h264-mp4")
    assert main(["run", str(config(tmp_path, source, video={"codec": "ffv1"})), "--quiet"]) == 0
    made = pixels(tmp_path / "job-out" / "video_output.mkv", 80, 96)
    pictures = sorted((tmp_path / "job-out" / "frames").iterdir())
    from diffsynth.images import read_image

    for frame, picture in zip(made, pictures, strict=True):
        np.testing.assert_array_equal(frame, read_image(picture)[0])


def test_many_clips_and_a_bad_one(media: Media, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video at all")
    job = config(tmp_path, media.codec("h264-mp4"))
    sources = [str(media.codec("h264-mp4")), str(bad), str(media.codec("vp9-webm"))]
    assert main(["run", str(job), "--input", *sources, "--output", str(tmp_path / "all"), "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "2 of 3 done, 1 failed:" in said
    assert "bad.mp4" in said
    assert sorted(each.name for each in (tmp_path / "all").iterdir()) == ["bad", "h264-mp4", "vp9-webm"]
    assert (tmp_path / "all" / "vp9-webm" / "video_output.mp4").is_file()


def test_one_bad_clip_alone_is_an_error_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"")
    assert main(["run", str(config(tmp_path, bad))]) == 2
    assert "bad.mp4" in capsys.readouterr().err


def test_again_is_nothing_and_another_config_is_refused(
    media: Media, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = config(tmp_path, media.codec("h264-mp4"))
    assert main(["run", str(job)]) == 0
    before = all_files(tmp_path / "job-out")
    stamp = (tmp_path / "job-out" / "video_output.mp4").stat().st_mtime_ns
    assert main(["run", str(job)]) == 0
    assert "complete already" in capsys.readouterr().out
    assert (tmp_path / "job-out" / "video_output.mp4").stat().st_mtime_ns == stamp
    assert main(["run", str(job), "--set", "frame_interval=2"]) == 2
    assert "--fresh" in capsys.readouterr().err
    assert all_files(tmp_path / "job-out") == before
    assert main(["run", str(job), "--set", "frame_interval=2", "--fresh"]) == 0
    assert all_files(tmp_path / "job-out.old-1") == before


def test_the_settings_lie_in_the_video(media: Media, tmp_path: Path) -> None:
    from diffsynth.video.probe import read_settings

    assert main(["run", str(config(tmp_path, media.codec("h264-mp4"))), "--quiet"]) == 0
    settings = read_settings(tmp_path / "job-out" / "video_output.mp4")
    assert settings is not None
    assert json.loads(settings)["task"] == "transcode"


@pytest.mark.slow
def test_killed_at_any_moment_it_continues_to_the_same_bytes(media: Media, tmp_path: Path) -> None:
    source = media.codec("h264-mp4")
    whole = config(tmp_path, source, "whole", frame_width=480)
    assert main(["run", str(whole), "--quiet"]) == 0
    expected = all_files(tmp_path / "whole-out")

    job = config(tmp_path, source, "killed", frame_width=480)
    command = [sys.executable, str(ROOT / "run_DiffSynth.py"), str(job), "--quiet"]
    moments = random.Random(0)
    kills = 0
    for attempt in range(40):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        # The start of Python takes most of the time of such a small clip; aim behind it.
        deadline = time.monotonic() + moments.uniform(0.2, 1.0)
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        if process.poll() is None and kills < 8:
            os.kill(process.pid, signal.SIGKILL if attempt % 2 else signal.SIGTERM)
            kills += 1
        errors = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode in (-signal.SIGKILL, -signal.SIGTERM, 130), errors
    assert kills >= 3
    found = all_files(tmp_path / "killed-out")
    # The configs differ by their output path alone, in config.json and in the settings that the video carries.
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"config.json", "video_output.mp4"}:
        assert found[name] == expected[name], name
    np.testing.assert_array_equal(
        pixels(tmp_path / "killed-out" / "video_output.mp4", 400, 480),
        pixels(tmp_path / "whole-out" / "video_output.mp4", 400, 480),
    )
