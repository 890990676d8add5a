"""`smooth`, `interpolate` and `measure` as a user runs them, on good input and bad."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from diffsynth.cli import main
from diffsynth.frames import Image
from tests.flicker_scene import flickering, moving, true_style

ROOT = Path(__file__).parents[2]
COUNT = 6


def write(folder: Path, frames: list[Image]) -> Path:
    folder.mkdir()
    for t, frame in enumerate(frames):
        Pillow.fromarray(frame).save(folder / f"{t:04}.png")
    return folder


def read(folder: Path) -> list[Image]:
    return [np.array(Pillow.open(path)) for path in sorted(folder.glob("*.png"))]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def clips(tmp_path: Path) -> tuple[str, str]:
    guide = moving(COUNT)
    return str(write(tmp_path / "guide", guide)), str(write(tmp_path / "style", flickering(guide)))


def config(path: Path, **tree: Any) -> str:
    path.write_text(json.dumps(tree))
    return str(path)


def test_smooth_writes_a_clip_and_its_frames(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["smooth", *clips, "-o", str(out)]) == 0
    assert "--device" not in capsys.readouterr().out, "nobody asked for one"
    assert (out / "video_output.mp4").stat().st_size > 0
    frames = read(out / "frames")
    true = true_style(moving(COUNT))
    before = np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(read(Path(clips[1])), true, strict=True)])
    after = np.mean([np.square(a.astype(float) - b).mean() for a, b in zip(frames, true, strict=True)])
    assert after < before / 3
    assert json.loads((out / "run.json").read_text())["state"] == "complete"


@pytest.mark.parametrize("name", ["EbsynthSmoother", "PySynthSmoother", "VideoPatchMatchSmoother"])
def test_every_smoother_runs_from_a_config(clips: tuple[str, str], tmp_path: Path, name: str) -> None:
    path = config(
        tmp_path / "c.json", task="smooth", guide_video=clips[0], style_video=clips[1], smoother=name, output_path="out"
    )
    assert main(["run", path, "--quiet"]) == 0
    assert len(read(tmp_path / "out" / "frames")) == COUNT


def test_a_stopped_run_goes_on_to_the_same_bytes(
    clips: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffsynth import frames

    assert main(["smooth", *clips, "-o", str(tmp_path / "whole"), "--quiet"]) == 0
    shutil.rmtree(tmp_path / "cache")
    append = frames.FrameWriter.append
    stopped_at = []

    def stop(self: frames.FrameWriter, *args: Any, **keys: Any) -> None:
        if self.path.name == "smoothed" and self.count == 3:
            stopped_at.append(self.count)
            raise KeyboardInterrupt
        append(self, *args, **keys)

    monkeypatch.setattr(frames.FrameWriter, "append", stop)
    assert main(["smooth", *clips, "-o", str(tmp_path / "parts"), "--quiet"]) == 130
    assert stopped_at == [3]
    monkeypatch.setattr(frames.FrameWriter, "append", append)
    assert main(["smooth", *clips, "-o", str(tmp_path / "parts"), "--quiet"]) == 0
    for one, other in zip(read(tmp_path / "whole" / "frames"), read(tmp_path / "parts" / "frames"), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("store", "count"), [("guide", 3), ("level2", 1), ("smoothed", 0), ("smoothed", 4)])
def test_a_killed_run_goes_on_to_the_same_bytes(clips: tuple[str, str], tmp_path: Path, store: str, count: int) -> None:
    """SIGKILL, so that nothing is tidied up, while the store whose path ends so is written."""
    command = ["smooth", *clips, "-o", str(tmp_path / "parts"), "--quiet", "--set", "smoother_config.window_size=8"]
    code = f"""
import os, signal, sys
from diffsynth.cli import main
from diffsynth.frames import FrameWriter
append = FrameWriter.append
def kill(self, *args, **keys):
    if {store!r} in (self.path.name, self.path.parent.name) and self.count == {count}:
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, *args, **keys)
FrameWriter.append = kill
sys.exit(main({command!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert main(command) == 0
    whole = [str(tmp_path / "whole") if each == str(tmp_path / "parts") else each for each in command]
    shutil.rmtree(tmp_path / "cache")
    assert main(whole) == 0
    for one, other in zip(read(tmp_path / "whole" / "frames"), read(tmp_path / "parts" / "frames"), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("smoother", "settings"),
    [
        ("FastBlendSmoother", {"window_size": 10_000}),
        ("FastBlendSmoother", {"window_size": 10_000, "mode": "balanced", "tracking_window_size": 16}),
        ("PySynthSmoother", {"window_size": 10**12}),
        ("EbsynthSmoother", {"smooth_index": [-(10**15), 10**15], "n_jobs": 1024}),
    ],
)
def test_windows_far_larger_than_the_clip(tmp_path: Path, smoother: str, settings: dict[str, Any]) -> None:
    guide = moving(3)
    write(tmp_path / "g", guide)
    write(tmp_path / "s", flickering(guide))
    path = config(
        tmp_path / "c.json",
        task="smooth",
        guide_video="g",
        style_video="s",
        smoother=smoother,
        smoother_config=settings,
        output_path="out",
    )
    assert main(["run", path, "--quiet"]) == 0
    out = read(tmp_path / "out" / "frames")
    assert len(out) == 3
    if smoother == "EbsynthSmoother":
        np.testing.assert_array_equal(out, flickering(guide))


def test_smooth_imports_no_torch(clips: tuple[str, str], tmp_path: Path) -> None:
    code = (
        f"import sys; from diffsynth.cli import main; code = main(['smooth', *{list(clips)!r}, '-o', "
        f"{str(tmp_path / 'o')!r}, '--quiet']); assert code == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


def test_clips_of_other_length_or_size_are_named(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(clips[1]) / f"{COUNT - 1:04}.png").unlink()
    assert main(["smooth", *clips, "-o", str(tmp_path / "a"), "--quiet"]) == 2
    assert f"{clips[0]} has {COUNT} frames, but {clips[1]} has {COUNT - 1}" in capsys.readouterr().err
    small = write(tmp_path / "small", moving(COUNT, 24, 32))
    assert main(["smooth", clips[0], str(small), "-o", str(tmp_path / "b"), "--quiet"]) == 2
    assert f"{clips[0]} is 64×48, but {small} is 32×24" in capsys.readouterr().err


def test_one_frame_comes_out_as_it_went_in(tmp_path: Path) -> None:
    guide, style = write(tmp_path / "g", moving(1)), write(tmp_path / "s", true_style(moving(1)))
    assert main(["smooth", str(guide), str(style), "-o", str(tmp_path / "o"), "--quiet"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "o" / "frames")[0], true_style(moving(1))[0])


def test_one_frame_is_painted_from_its_key_and_can_t_flicker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guide, key = write(tmp_path / "g", moving(1)), write(tmp_path / "k", true_style(moving(1)))
    assert main(["interpolate", str(guide), str(key), "-o", str(tmp_path / "o"), "--quiet"]) == 0
    np.testing.assert_array_equal(read(tmp_path / "o" / "frames")[0], true_style(moving(1))[0])
    assert main(["measure", str(guide), str(key), "-o", str(tmp_path / "m"), "--quiet"]) == 2
    assert "has one frame; flicker needs two" in capsys.readouterr().err


@pytest.mark.parametrize("harm", ["gap", "corrupt"])
def test_a_lost_image_stops_the_run_or_is_filled(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    lost = Path(clips[1]) / "0003.png"
    if harm == "gap":
        lost.unlink()
    else:
        lost.write_bytes(lost.read_bytes()[:200])
    assert main(["smooth", *clips, "-o", str(tmp_path / "a"), "--quiet"]) == 2
    assert "0003.png" in capsys.readouterr().err
    assert main(["smooth", *clips, "-o", str(tmp_path / "b"), "--set", "on_error=skip"]) == 0
    assert "0003.png" in capsys.readouterr().out
    frames = read(tmp_path / "b" / "frames")
    assert len(frames) == COUNT
    true = true_style(moving(COUNT))
    assert np.abs(frames[3].astype(int) - true[3])[6:-6, 8:-8].mean() < 12, "no worse than a frame that flickers"


@pytest.mark.parametrize("given", ["folder", "indices", "names", "one picture"])
def test_interpolate_takes_key_frames_in_every_spelling(clips: tuple[str, str], tmp_path: Path, given: str) -> None:
    true = true_style(moving(COUNT))
    keys = tmp_path / "keys"
    keys.mkdir()
    for t in (0, 5):
        Pillow.fromarray(true[t]).save(keys / f"{t:04}.png")
    spelled: dict[str, Any] = {
        "folder": "keys",
        "indices": {"0": "keys/0000.png", "5": "keys/0005.png"},
        "names": {"0000.png": "keys/0000.png", "0005.png": "keys/0005.png"},
        "one picture": "keys/0005.png",
    }
    path = config(
        tmp_path / "c.json", task="interpolate", guide_video=clips[0], keyframes=spelled[given], output_path="out"
    )
    assert main(["run", path, "--quiet"]) == 0
    out = read(tmp_path / "out" / "frames")
    np.testing.assert_array_equal(out[5], true[5])
    assert np.abs(out[3].astype(int) - true[3])[8:-8, 12:-12].mean() < 2


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("0099.png", (48, 64), "is a key frame for frame 99, but the clip has frames 0 to 5"),
        ("cover.png", (48, 64), "can't be told which frame"),
        ("0002.png", (20, 20), "is 20×20, but the clip's frames are 64×48"),
    ],
)
def test_key_frames_that_don_t_fit_are_named(
    clips: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    shape: tuple[int, int],
    words: str,
) -> None:
    (tmp_path / "keys").mkdir()
    Pillow.fromarray(np.zeros((*shape, 3), np.uint8)).save(tmp_path / "keys" / name)
    assert main(["interpolate", clips[0], str(tmp_path / "keys"), "-o", str(tmp_path / "o"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert name in said


@pytest.mark.parametrize(
    ("cut", "key", "frame"),
    [
        ({"start": "2f"}, "0004.png", 2),
        ({"frame_interval": 2}, "0004.png", 2),
        ({"start": "2f"}, "0001.png", None),
        ({"frame_interval": 2}, "0003.png", None),
        ({"frame_maximum_count": 3}, "0003.png", None),
    ],
)
def test_a_key_frame_named_like_a_file_stays_with_it_when_others_are_left_out(
    clips: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    cut: dict[str, Any],
    key: str,
    frame: int | None,
) -> None:
    (tmp_path / "keys").mkdir()
    painted = true_style(moving(COUNT))[int(key[:4])]
    Pillow.fromarray(painted).save(tmp_path / "keys" / key)
    path = config(
        tmp_path / "c.json", task="interpolate", guide_video=clips[0], keyframes="keys", output_path="out", **cut
    )
    code = main(["run", path, "--quiet"])
    if frame is None:
        assert code == 2
        assert f"{key}: is a key frame for a frame of the guide that isn't used" in capsys.readouterr().err
    else:
        assert code == 0
        np.testing.assert_array_equal(read(tmp_path / "out" / "frames")[frame], painted)


def test_interpolate_stops_at_a_gap_or_fills_it(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the check, every key frame after the gap would belong to another frame."""
    (Path(clips[0]) / "0002.png").unlink()
    true = true_style(moving(COUNT))
    keys = write(tmp_path / "keys", [true[0]])
    Pillow.fromarray(true[5]).save(keys / "0005.png")
    command = ["interpolate", clips[0], str(keys), "-o", str(tmp_path / "o")]
    assert main([*command, "--quiet"]) == 2
    assert "0002.png missing" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "p"), "--set", "on_error=skip"]) == 0
    assert "0002.png is missing. Filled" in capsys.readouterr().out
    out = read(tmp_path / "p" / "frames")
    assert len(out) == COUNT
    np.testing.assert_array_equal(out[5], true[5])


def test_a_damaged_key_frame_stops_the_run_or_is_left_out(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    true = true_style(moving(COUNT))
    keys = write(tmp_path / "keys", [true[0]])
    (keys / "0003.png").write_bytes((keys / "0000.png").read_bytes()[:200])
    command = ["interpolate", clips[0], str(keys), "-o", str(tmp_path / "o")]
    assert main([*command, "--quiet"]) == 2
    assert "0003.png: cannot be read" in capsys.readouterr().err
    assert main([*command[:-1], str(tmp_path / "p"), "--set", "on_error=skip"]) == 0
    assert "0003.png: cannot be read" in capsys.readouterr().out
    out = read(tmp_path / "p" / "frames")
    assert np.abs(out[3].astype(int) - true[3])[8:-8, 12:-12].mean() < 2
    (keys / "0000.png").unlink()
    assert main([*command[:-1], str(tmp_path / "q"), "--set", "on_error=skip", "--quiet"]) == 2, "no other is left"


def test_a_missing_key_frame_is_said_before_the_run(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(
        tmp_path / "c.json", task="interpolate", guide_video=clips[0], keyframes={"0": "nowhere.png"}, output_path="out"
    )
    assert main(["run", path]) == 2
    assert "nowhere.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_measure_prints_a_table_and_writes_the_curves(
    clips: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write(tmp_path / "truth", true_style(moving(COUNT)))
    assert main(["smooth", *clips, "-o", str(tmp_path / "s"), "--quiet"]) == 0
    steady = str(tmp_path / "s" / "frames")
    assert main(["measure", clips[0], clips[1], steady, "--truth", str(truth), "-o", str(tmp_path / "m")]) == 0
    said = capsys.readouterr().out
    assert "warp_error" in said
    assert "frames " in said
    found = json.loads((tmp_path / "m" / "metrics.json").read_text())["clips"]
    assert found["frames"]["psnr"]["mean"] > found["style"]["psnr"]["mean"] + 3
    assert found["frames"]["warp_error"]["mean"] < found["style"]["warp_error"]["mean"] / 2
    assert len(found["style"]["warp_error"]["values"]) == COUNT - 1


@pytest.mark.parametrize("name", ["smooth", "interpolate", "measure"])
def test_templates_lack_nothing_but_the_clips(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(ROOT / "config" / f"{name}.json", tmp_path)
    tree = json.loads((tmp_path / f"{name}.json").read_text())
    guide = moving(COUNT)
    for key in ("guide_video", "source"):
        if key in tree:
            write(tmp_path / Path(tree[key]).stem, guide)
            tree[key] = Path(tree[key]).stem
    if "style_video" in tree:
        tree["style_video"] = str(write(tmp_path / "styled", flickering(guide)))
    if "clips" in tree:
        tree["clips"] = {clip: str(write(tmp_path / clip, guide)) for clip in tree["clips"]}
    if "keyframes" in tree:
        tree["keyframes"] = {"0": str(tmp_path / Path(tree["guide_video"]) / "0000.png")}
    assert main(["run", config(tmp_path / "filled.json", **{**tree, "output_path": "out"}), "--quiet"]) == 0, (
        capsys.readouterr().err
    )
