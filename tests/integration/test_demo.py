"""The demo's configs with the model that the project ships: every task of the seed, offline, on painted clips."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from demo.material import prepare
from diffsynth.cli import main
from diffsynth.frames import Image
from diffsynth.images import read_image
from diffsynth.metrics import measure
from diffsynth.processors.base import Stills

ROOT = Path(__file__).parents[2]
FRAMES, STEPS = 4, 4
CONFIGS = sorted((ROOT / "config" / "demo").glob("*.json"))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the configs beside the model and freshly painted material."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "demo").mkdir()
    (folder / "demo" / "model").symlink_to(ROOT / "demo" / "model")
    prepare(folder / "demo" / "work", FRAMES)
    yield folder
    shutil.rmtree(folder)


def frames_of(output: Path) -> list[Image]:
    return [read_image(path)[0] for path in sorted((output / "frames").iterdir())]


def test_there_is_a_demo_of_each_template() -> None:
    templates = {path.name for path in (ROOT / "config").glob("[1-5]_*.json")}
    assert {path.name for path in CONFIGS} == templates


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_each_task_of_the_seed_runs_offline(house: Path, config: Path) -> None:
    output = house / "output" / config.stem
    given = ["--set", f"num_inference_steps={STEPS}", "--set", f"frame_maximum_count={FRAMES}", "--quiet"]
    assert main(["run", str(house / "config" / "demo" / config.name), "--output", str(output), *given]) == 0
    frames = frames_of(output)
    assert [frame.shape for frame in frames] == [(192, 256, 3)] * FRAMES
    assert (output / "video_output.mp4").stat().st_size > 0
    assert json.loads((output / "run.json").read_text())["state"] == "complete"
    source = [read_image(path)[0] for path in sorted((house / "demo/work/clip/frames").iterdir())]
    assert all(frame.std() > 10 for frame in frames), "a picture, and not a blank"
    change = np.abs(frames[0].astype(int) - source[0]).mean()
    if config.stem == "4_video_restoring":
        assert change < 10, "the picture is the source's still"
    else:
        assert change > 10, "another picture than the source"


def test_the_demo_holds_still_and_follows_its_prompt(house: Path) -> None:
    def run(name: str, **keys: str) -> list[Image]:
        output = house / "output" / name
        given = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
        config = str(house / "config" / "demo.json")
        steps = ["--set", "num_inference_steps=5", "--set", f"frame_maximum_count={FRAMES}"]
        assert main(["run", config, "--output", str(output), "--quiet", *steps, *given]) == 0
        return frames_of(output)

    winter = "photo of a winter landscape at day"
    ours = run("ours", prompt=winter)
    alone = run(
        "alone", prompt=winter, combine_pattern="self", noise="per_frame", smoother="null", post_smoother="null"
    )
    night = run("night", prompt="photo of a summer landscape at night")
    source = [read_image(path)[0] for path in sorted((house / "demo/work/clip/frames").iterdir())]
    found = measure(Stills(source), {"alone": Stills(alone), "ours": Stills(ours)})
    still, restless = found["ours"]["warp_error"], found["alone"]["warp_error"]
    assert still is not None
    assert restless is not None
    assert still < restless / 2
    assert np.mean(ours) > np.mean(night) + 0.3 * 255
