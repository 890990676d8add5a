"""The commands as a user types them, in the process that they run in."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from diffsynth.cli import main
from diffsynth.config.schema import json_schema, reference
from diffsynth.tasks import DEFAULT_TASK, TASKS

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "config").glob("[0-9]_*.json"))


def write(path: Path, **tree: Any) -> Path:
    path.write_text(json.dumps(tree))
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.new("RGB", (96, 64), (200, 100, 50)).save(path)
    return path


def test_the_schema_that_editors_read_is_current() -> None:
    committed = json.loads((ROOT / "config" / "schema.json").read_text())
    assert committed == json.loads(json.dumps(json_schema(TASKS, DEFAULT_TASK))), "run: make docs"


def test_the_page_of_keys_is_current() -> None:
    assert (ROOT / "docs" / "config.md").read_text() == reference(TASKS), "run: make docs"


def test_the_schema_and_the_loader_agree() -> None:
    schema = json_schema(TASKS, DEFAULT_TASK)
    jsonschema.Draft202012Validator.check_schema(schema)
    valid = jsonschema.Draft202012Validator(schema)
    for path in (ROOT / "config").glob("*.json"):
        if path.name != "schema.json":
            tree = json.loads(path.read_text())
            assert tree["$schema"] == "schema.json"
            assert not list(valid.iter_errors(tree)), path.name
    good = {"task": "transcode", "input_video": "a.mp4", "output_path": "out"}
    assert valid.is_valid(good)
    for wrong in ({"frame_interval": 0}, {"prompt": "x"}, {"video": {"codec": "h265"}}, {"task": "transcod"}):
        assert not valid.is_valid(good | wrong), wrong
    seed = {"model_id": "a/b", "prompt": "", "input_video": "a.mp4", "output_path": "out"}
    assert valid.is_valid(seed | {"smoother": "EbsynthSmoother", "smoother_config": {"n_jobs": 2}})
    assert not valid.is_valid(seed | {"smoother": "PySynthSmoother", "smoother_config": {"n_jobs": 2}})


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_the_seeds_five_templates_are_valid(template: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"style_image": str(picture), "frames_reference": json.dumps([str(picture)])}
    tree = json.loads(template.read_text())
    overrides = [part for key, value in files.items() if key in tree for part in ("--set", f"{key}={value}")]
    assert main(["check", str(template), "--input", str(picture), *overrides]) == 0
    said = capsys.readouterr().out
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in said
    assert f"frames     1, {tree['frame_width']}×{tree['frame_height']}" in said


def test_there_are_five_templates() -> None:
    assert len(TEMPLATES) == 5


def test_a_model_that_is_not_here_is_named(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(picture.parent / "s.json", model_id="a/b", prompt="x", input_video=picture.name, output_path="out")
    assert main(["run", str(config)]) == 2
    assert "a/b: is not on this machine and can't be fetched" in capsys.readouterr().err
    assert not (picture.parent / "out" / "frames").exists()


def test_a_moved_model_gets_a_hint(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(
        picture.parent / "s.json",
        model_id="runwayml/stable-diffusion-v1-5",
        prompt="x",
        input_video=picture.name,
        output_path="out",
    )
    assert main(["check", str(config)]) == 0
    assert "use stable-diffusion-v1-5/stable-diffusion-v1-5" in capsys.readouterr().out


def test_a_config_with_faults_exits_with_2_and_no_traceback(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(picture.parent / "t.json", task="transcode", input_vido="x", frame_interval=0)
    assert main(["run", str(config)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert 'Did you mean "input_video"?' in said
    assert '"frame_interval" is 0' in said
    assert '"input_video" is required' in said
    assert '"output_path" is required' in said


def test_faults_of_all_configs_are_said_before_any_runs(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(picture.parent / "a.json", task="transcode", input_video=picture.name, output_path="out")
    bad = write(picture.parent / "b.json", task="transcode", input_video="nowhere.png", output_path="out2", x=1)
    assert main(["run", str(good), str(bad)]) == 2
    said = capsys.readouterr().err
    assert '"x" is not a known key' in said
    assert "nowhere.png" in said
    assert not (picture.parent / "out").exists()


def test_new_writes_a_config_that_only_lacks_what_it_must(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in TASKS:
        path = tmp_path / f"{task}.json"
        assert main(["new", task, str(path)]) == 0
        capsys.readouterr()
        tree = json.loads(path.read_text())
        schema = json.loads((tmp_path / tree["$schema"]).read_text())
        values = {"clips": {"mine": "a.mp4"}, "model_id": "a/b"}
        filled = tree | {key: values.get(key, "a.mp4") for key, value in tree.items() if value == ""}
        assert not list(jsonschema.Draft202012Validator(schema).iter_errors(filled))
        complete = "" not in tree.values()  # a training begins with drawn digits
        assert main(["check", str(path)]) == (0 if complete else 2)
        said = capsys.readouterr().err
        assert complete or (TASKS[task].INPUT_KEY or "was not found") in said or "must be a path" in said
        assert "is not a known key" not in said
        assert main(["new", task, str(path)]) == 2
        assert "was not touched" in capsys.readouterr().err


def test_list_names_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for name in (*TASKS, "ControlnetImageProcesserDepth", "PySynthSmoother", "native"):
        assert name in said


def test_info(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(picture)]) == 0
    assert "96" in capsys.readouterr().out
    assert main(["info", str(picture), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["width"] == 96
    for source in (picture.parent, picture.parent / "*.png"):
        assert main(["info", str(source), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["frame_count"] == 1
    assert main(["info", str(picture.parent / "none.mp4")]) == 2
    assert "none.mp4" in capsys.readouterr().err


def test_check_json(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write(picture.parent / "t.json", task="transcode", input_video=picture.name, output_path="out")
    assert main(["check", str(config), "--json", "--set", "frame_width=48"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["prediction"]["width"] == 48
    assert said["prediction"]["height"] == 32
    assert said["config"]["task"] == "transcode"


def test_check_imports_no_torch(picture: Path) -> None:
    config = write(picture.parent / "t.json", task="transcode", input_video=picture.name, output_path="out")
    code = (
        "import sys; from diffsynth.cli import main; "
        f"code = main(['check', {str(config)!r}]); assert code == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_run_DiffSynth_is_the_same_as_run(picture: Path) -> None:  # noqa: N802 - the seed's name
    config = write(picture.parent / "t.json", task="transcode", input_video=picture.name, output_path="out")
    done = subprocess.run(
        [sys.executable, ROOT / "run_DiffSynth.py", config],
        capture_output=True,
        text=True,
        check=False,
        cwd=picture.parent,
    )
    assert done.returncode == 0, done.stderr
    assert (picture.parent / "out" / "video_output.mp4").is_file()
    assert (picture.parent / "out" / "frames" / "00000.png").is_file()


def test_debug_is_known_behind_the_command_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", "--debug", "--help"])
    assert left.value.code == 0
    assert "--debug" in capsys.readouterr().out


def test_a_terminal_without_unicode_gets_all_the_same(picture: Path) -> None:
    config = write(picture.parent / "ü.json", task="transcode", input_video=picture.name, output_path="ö")
    command = [sys.executable, "-m", "diffsynth", "check", str(config)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, check=True, capture_output=True, env=environment)
    assert b"96\\xd764" in said.stdout


def test_inputs_of_several_options_and_of_one_name_get_a_folder_each(picture: Path) -> None:
    clips = [picture.parent / folder / "clip.png" for folder in ("a", "b")]
    for clip in clips:
        clip.parent.mkdir()
        clip.write_bytes(picture.read_bytes())
    config = write(picture.parent / "t.json", task="transcode", input_video=picture.name, output_path="out")
    options = [part for clip in clips for part in ("--input", str(clip))]
    assert main(["run", str(config), *options, "--quiet"]) == 0
    assert sorted(each.name for each in (picture.parent / "out").iterdir()) == ["a_clip.png", "b_clip.png"]


def test_two_configs_never_share_a_folder(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (picture.parent / "real").mkdir()
    (picture.parent / "link").symlink_to("real")
    paths = [
        write(picture.parent / f"{name}.json", task="transcode", input_video=picture.name, output_path=name)
        for name in ("real", "link")
    ]
    assert main(["run", *map(str, paths)]) == 2
    assert "real and link would both write to" in capsys.readouterr().err
    assert not list((picture.parent / "real").iterdir())
