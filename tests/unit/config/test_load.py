"""Configs: what loads, what doesn't, and how plainly it is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth import config
from diffsynth.config import Override, TaskConfig, layers
from diffsynth.errors import ConfigError, MissingFileError
from diffsynth.tasks import DEFAULT_TASK, TASKS
from diffsynth.tasks.stylize import StylizeConfig

NET = "lllyasviel/control_v11f1p_sd15_depth"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").write_bytes(b"-")
    (tmp_path / "style.png").write_bytes(b"-")
    return tmp_path


def minimal(**keys: Any) -> dict[str, Any]:
    return {"model_id": "owner/name", "prompt": "winter", "input_video": "clip.mp4", "output_path": "out", **keys}


def write(folder: Path, tree: dict[str, Any], name: str = "my.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(tree))
    return path


def load(folder: Path, tree: dict[str, Any], *overrides: str) -> TaskConfig:
    return config.load(write(folder, tree), TASKS, DEFAULT_TASK, [Override.parse(each) for each in overrides])


def problems(folder: Path, tree: dict[str, Any], *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(folder, tree, *overrides)
    return raised.value.problems


def test_the_seeds_spelling_loads_without_a_task(folder: Path) -> None:
    loaded = load(
        folder,
        minimal(
            controlnet_model_id=[NET, NET],
            controlnet_processor=["ControlnetImageProcesserDepth", "ControlnetImageProcesserHED"],
            controlnet_scale=[1.0, 0],
            smoother="EbsynthSmoother",
            smoother_config={"smooth_index": [-3, 3], "cache_path": "cache"},
            combine_pattern=[-10000, -1, 0, 1],
            style_image="",
            frames_reference=[],
            extra_deflickering_range=60,
        ),
    )
    assert isinstance(loaded, StylizeConfig)
    assert [(net.processor, net.scale) for net in loaded.controlnets] == [
        ("ControlnetImageProcesserDepth", 1.0),
        ("ControlnetImageProcesserHED", 0.0),
    ]
    assert loaded.smoother_config is not None
    assert loaded.smoother_config.smooth_index == (-3, 3)  # type: ignore[union-attr]
    assert loaded.style_image is None
    assert loaded.input_video == folder / "clip.mp4"


def test_short_names_of_processors_become_the_full_ones(folder: Path) -> None:
    nets = [{"model_id": NET, "processor": "canny", "processor_config": {"low_threshold": 50}}]
    loaded = load(folder, minimal(controlnets=nets))
    listed = load(folder, minimal(controlnet_model_id=[NET], controlnet_processor=["softedge"], controlnet_scale=[1.0]))
    assert isinstance(loaded, StylizeConfig)
    assert isinstance(listed, StylizeConfig)
    assert loaded.controlnets[0].processor == "ControlnetImageProcesserCanny"
    assert loaded.controlnets[0].processor_config is not None
    assert loaded.controlnets[0].processor_config.type == "ControlnetImageProcesserCanny"
    assert listed.controlnets[0].processor == "ControlnetImageProcesserHED"
    assert loaded.to_json()["controlnets"][0]["processor"] == "ControlnetImageProcesserCanny"
    assert "is unknown" in problems(folder, minimal(controlnets=[{"model_id": NET, "processor": "cany"}]))[0]


def test_a_resolved_config_loads_to_the_same(folder: Path) -> None:
    tree = minimal(
        controlnet_model_id=[NET],
        controlnet_processor=["ControlnetImageProcesserShuffle"],
        controlnet_scale=[0.5],
        smoother="PySynthSmoother",
        smoother_config={"window_size": 30, "postprocessing": {"sharpness": 5}},
        style_image="style.png",
        start=1.5,
        end="48f",
    )
    first = load(folder, tree)
    again = config.load(write(folder, first.to_json(), "resolved.json"), TASKS, DEFAULT_TASK)
    assert again == first


@given(
    interval=st.integers(1, 1000),
    count=st.none() | st.integers(1, 10**6),
    mode=st.sampled_from(["crop", "fit", "stretch"]),
    prompt=st.text(),
    strength=st.floats(0, 1),
    pattern=st.lists(st.integers(-(10**5), 10**5), max_size=5).map(lambda offsets: [*offsets, 0]),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory,
    interval: int,
    count: int | None,
    mode: str,
    prompt: str,
    strength: float,
    pattern: list[int],
) -> None:
    folder = tmp_path_factory.mktemp("config")
    (folder / "clip.mp4").write_bytes(b"-")
    tree = minimal(
        frame_interval=interval,
        frame_maximum_count=count,
        resize_mode=mode,
        prompt=prompt,
        img2img_strength=strength,
        combine_pattern=pattern,
    )
    first = load(folder, tree)
    assert config.load(write(folder, first.to_json(), "again.json"), TASKS, DEFAULT_TASK) == first


def test_everything_wrong_is_said_at_once(folder: Path) -> None:
    found = problems(
        folder,
        minimal(
            smoother="EbsynthSmother",
            frame_interval=0,
            frame_height="512",
            promt="winter",
            combine_pattern=["reference_1", 0],
            frames_reference=["style.png"],
            input_video="nowhere.mp4",
            controlnet_model_id=[NET],
            controlnet_processor=["ControlnetImageProcesserDeth"],
            controlnet_scale=[-1],
        ),
    )
    text = "\n".join(found)
    assert len(found) == 8, text
    assert 'smoother "EbsynthSmother" is unknown. Did you mean "EbsynthSmoother"?' in text
    assert "Known: EbsynthSmoother, FastBlendSmoother, PySynthSmoother, VideoPatchMatchSmoother." in text
    assert '"frame_interval" is 0; it must be at least 1.' in text
    assert '"frame_height" is "512"; it must be a whole number.' in text
    assert '"promt" is not a known key. Did you mean "prompt"?' in text
    assert 'combine_pattern names "reference_1", but frames_reference has 1 image.' in text
    assert 'Use "reference_0"' in text
    assert '"nowhere.mp4" was not found' in text
    assert '[0] "ControlnetImageProcesserDeth" is unknown. Did you mean "ControlnetImageProcesserDepth"?' in text
    assert '"controlnet_scale[0]" is -1; it must be at least 0.' in text
    assert all(each.startswith(str(folder / "my.json")) for each in found)


def test_a_contradiction_hides_behind_no_other_problem(folder: Path) -> None:
    found = problems(folder, minimal(combine_pattern=[-1, 1], frame_interval=0))
    assert any("must contain 0" in each for each in found)


def test_a_broken_key_causes_no_false_contradiction(folder: Path) -> None:
    found = problems(folder, minimal(combine_pattern=["reference_0", 0], frames_reference=["missing.png"]))
    assert len(found) == 1
    assert "missing.png" in found[0]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"smoother_config": {"window_size": 3}}, "names nothing that it is for"),
        (
            {"smoother": "PySynthSmoother", "smoother_config": {"n_jobs": 3}},
            '"smoother_config.n_jobs" is not a known key',
        ),
        ({"smoother": "PySynthSmoother", "smoother_config": {"speed": "fast"}}, 'Did you mean "fastest"?'),
        ({"smoother": "PySynthSmoother", "smoother_config": [1]}, "must be an object"),
        (
            {"smoother": "PySynthSmoother", "smoother_config": {"type": "x"}},
            '"smoother_config.type" is not a known key',
        ),
        ({"controlnet_model_id": [NET], "controlnet_processor": []}, "equally long"),
        ({"controlnet_model_id": NET}, '"controlnet_model_id" must be a list'),
        ({"controlnet_model_id": [NET], "controlnets": []}, "say the same in two ways"),
        ({"controlnets": [{"model_id": NET}]}, "controlnets[0] takes its condition from"),
        ({"extra_deflickering_range": 3, "post_smoother": "PySynthSmoother"}, "Keep one of them"),
        ({"input_video": "$NO_SUCH_VARIABLE/a.mp4"}, '"NO_SUCH_VARIABLE", which is not set'),
        ({"input_video": ""}, '"input_video" is ""; it must be a path.'),
        ({"input_video": 3}, "must be a path in quotes"),
        ({"output_path": "a\0b"}, "must be a path"),
        ({"video": {"codec": "h265"}}, 'video.codec "h265" is unknown'),
        ({"start": -1}, "must be seconds"),
        ({"start": 1e300}, "must be seconds"),
        ({"end": "1:2:3:4"}, '"end" is "1:2:3:4"; it must be seconds'),
        ({"end": "0f"}, "leaves no frame"),
        ({"frame_interval": 10**30}, "must be at most 1000000000"),
        ({"video": {"quality": 60}}, "it is at most 51 there"),
        ({"video": {"codec": "gif", "quality": 1}}, "only h264, hevc, vp9 take it"),
        ({"input_video": "~nobody-of-this-name/a.mp4"}, "home folder of somebody"),
        ({"input_video": "\ud800.mp4"}, "half a character"),
        ({"extends": "$NO_SUCH_VARIABLE/a.json"}, '"NO_SUCH_VARIABLE", which is not set'),
        ({"start": True}, "must be seconds"),
        ({"combine_pattern": [0, True]}, "must be a list of frame offsets"),
        ({"combine_pattern": "sliding"}, "names no pattern; known are self"),
        ({"combine_pattern": "keys(0)"}, "names no pattern"),
        ({"controlnets": [{"model_id": NET, "processor": "tile", "start": 0.5, "end": 0.5}]}, "must come after"),
        ({"img2img_strength": 1.5}, "must be at most 1"),
        ({"num_inference_steps": 2.5}, "must be a whole number"),
        ({"model_id": "no such/model/anywhere"}, "A model is a folder"),
        ({"task": "styllize"}, 'task "styllize" is unknown. Did you mean "stylize"?'),
        ({"task": 7}, 'task "7" is unknown'),
    ],
)
def test_one_problem(folder: Path, keys: dict[str, Any], words: str) -> None:
    found = problems(folder, minimal(**keys))
    assert len(found) == 1, found
    assert words in found[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ('{"a": 1,}', "JSON allows no comma after the last entry"),
        ("{'a': 1}", "double quotes"),
        ('{// x\n"a": 1}', "no comments"),
        ("[1]", "a config is a JSON object"),
        ('{"a": 1, "a": 2}', '"a" appears twice'),
        ('{"a": NaN}', "NaN is not a number that JSON knows"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' + "[" * 900 + "]" * 900 + "}", "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "5000 digits is too long"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.json") as raised:
        layers.read(path)
    assert words in str(raised.value)


def test_binary_folder_and_missing_configs(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a text file"):
        layers.read(tmp_path / "image.json")
    with pytest.raises(ConfigError, match="this is a folder"):
        layers.read(tmp_path)
    with pytest.raises(MissingFileError, match=r"Did you mean image\.json"):
        layers.read(tmp_path / "imag.json")


class TestExtends:
    def test_child_wins_and_paths_stay_where_they_were_written(self, folder: Path) -> None:
        (folder / "base").mkdir()
        (folder / "base" / "other.mp4").write_bytes(b"-")
        write(folder / "base", minimal(input_video="other.mp4", video={"codec": "hevc", "quality": 20}), "base.json")
        loaded = load(folder, {"extends": "base/base.json", "output_path": "here", "video": {"quality": 18}})
        assert isinstance(loaded, StylizeConfig)
        assert loaded.input_video == folder / "base" / "other.mp4"
        assert loaded.output_path == folder / "here"
        assert (loaded.video.codec, loaded.video.quality) == ("hevc", 18)

    def test_another_smoother_does_not_inherit_settings(self, folder: Path) -> None:
        write(folder, minimal(smoother="EbsynthSmoother", smoother_config={"n_jobs": 2}), "base.json")
        loaded = load(folder, {"extends": "base.json", "smoother": "PySynthSmoother"})
        assert isinstance(loaded, StylizeConfig)
        assert loaded.smoother_config is not None
        assert loaded.smoother_config.type == "PySynthSmoother"

    def test_circle(self, folder: Path) -> None:
        write(folder, {"extends": "b.json"}, "a.json")
        write(folder, {"extends": "a.json"}, "b.json")
        with pytest.raises(ConfigError, match=r"a\.json → b\.json → a\.json"):
            layers.read(folder / "a.json")

    def test_missing_parent(self, folder: Path) -> None:
        with pytest.raises(MissingFileError, match=r"nowhere\.json.*my\.json extends"):
            load(folder, {"extends": "nowhere.json"})


class TestSet:
    def test_types_and_places(self, folder: Path) -> None:
        loaded = load(
            folder,
            minimal(controlnets=[{"model_id": NET, "processor": "ControlnetImageProcesserTile"}]),
            "frame_interval=3",
            "video.codec=vp9",
            "prompt=a fox, 3 trees",
            "controlnets.0.scale=0.25",
            "combine_pattern=[0]",
            "frame_maximum_count=null",
        )
        assert isinstance(loaded, StylizeConfig)
        assert (loaded.frame_interval, loaded.video.codec, loaded.prompt) == (3, "vp9", "a fox, 3 trees")
        assert loaded.controlnets[0].scale == 0.25
        assert loaded.controlnets[0].model_id == NET
        assert loaded.combine_pattern == (0,)

    def test_hostile_depth(self) -> None:
        with pytest.raises(ConfigError, match="nested too deeply"):
            Override.parse(".".join("a" * 3000) + "=1")
        for depth in (100, 3000):
            text = "[" * depth + "]" * depth
            assert Override.parse(f"prompt={text}").value == text

    @pytest.mark.parametrize("argument", ["frame_interval", "=3", "a..b=1", ""])
    def test_bad_argument(self, argument: str) -> None:
        with pytest.raises(ConfigError, match="expected key=value"):
            Override.parse(argument)

    def test_list_place_that_is_not_there(self, folder: Path) -> None:
        assert (
            'no entry "1" in that list of 1' in problems(folder, minimal(combine_pattern=[0]), "combine_pattern.1=2")[0]
        )


def test_seed_paths_may_start_from_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "configs").mkdir()
    monkeypatch.chdir(folder)
    loaded = config.load(write(folder / "configs", minimal()), TASKS, DEFAULT_TASK)
    assert isinstance(loaded, StylizeConfig)
    assert loaded.input_video == folder / "clip.mp4"
    assert loaded.output_path == folder / "configs" / "out"


def test_environment_variables_and_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPS", str(folder))
    monkeypatch.setenv("HOME", str(folder))
    loaded = load(folder, minimal(input_video="${CLIPS}/clip.mp4", output_path="~/out"))
    assert isinstance(loaded, StylizeConfig)
    assert (loaded.input_video, loaded.output_path) == (folder / "clip.mp4", folder / "out")


def test_values_by_frame_are_inherited_or_replaced_whole(folder: Path) -> None:
    write(folder, minimal(prompt={"0": "spring", "48": "winter"}, guidance_scale={"0": 5, "9": 7}), "base.json")
    child = {"extends": "base.json", "prompt": {"0": "summer"}}
    loaded = load(folder, child, "guidance_scale.9=8")
    assert isinstance(loaded, StylizeConfig)
    assert loaded.prompt == {0: "summer"}
    assert loaded.guidance_scale == {0: 5, 9: 8}, "one key frame of the command line"
    whole = load(folder, child, 'guidance_scale={"3": 2}')
    assert isinstance(whole, StylizeConfig)
    assert whole.guidance_scale == {3: 2}


def test_extends_knows_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASES", str(folder))
    write(folder, minimal(prompt="autumn"), "base.json")
    (folder / "below").mkdir()
    child = write(folder / "below", {"extends": "${BASES}/base.json"})
    assert config.load(child, TASKS, DEFAULT_TASK).to_json()["prompt"] == "autumn"


def test_a_name_that_holds_a_dollar_is_found(folder: Path) -> None:
    (folder / "~cash$money [1].mp4").write_bytes(b"-")
    loaded = load(folder, minimal(input_video="~cash$money [1].mp4"))
    assert loaded.to_json()["input_video"] == str(folder / "~cash$money [1].mp4")


def test_a_glob_may_reach_into_folders(folder: Path) -> None:
    (folder / "shots" / "a").mkdir(parents=True)
    (folder / "shots" / "a" / "0.png").write_bytes(b"-")
    for pattern in ("shots/*/0.png", "shots/**/*.png"):
        assert load(folder, minimal(input_video=pattern)).to_json()["input_video"] == str(folder / pattern)


@pytest.mark.parametrize("nothing", [None, "", []])
def test_no_references(folder: Path, nothing: object) -> None:
    assert load(folder, minimal(frames_reference=nothing)).to_json()["frames_reference"] == []


@pytest.mark.parametrize("start", [0.00001, 2.5, 1e-12, 0, -0.0, 1e9, 123456789.12345678])
def test_every_second_is_a_moment(folder: Path, start: float) -> None:
    loaded = load(folder, minimal(start=start))
    assert isinstance(loaded, StylizeConfig)
    assert loaded.selection().start == pytest.approx(start, abs=1e-9)
    assert config.load(write(folder, loaded.to_json(), "again.json"), TASKS, DEFAULT_TASK) == loaded


def test_configs_are_frozen(folder: Path) -> None:
    loaded = load(folder, minimal())
    with pytest.raises(ValueError, match="frozen"):
        loaded.output_path = Path("elsewhere")
