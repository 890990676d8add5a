"""What changes over a clip, what is kept of it, and what saves time."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stylizing import Bench, close, moving_clip, psnr, run, written
from training_runs import tree, write

from diffsynth.cli import main
from diffsynth.errors import ConfigError, MediaError
from diffsynth.frames import Image
from diffsynth.images import write_png

COUNT, HEIGHT, WIDTH = 5, 32, 48
STEPS = 4
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), COUNT, HEIGHT, WIDTH)


@pytest.fixture
def steps() -> int:
    return STEPS


ALONE: dict[str, Any] = {"combine_pattern": "self"}


@pytest.mark.parametrize("mode", ["shared", "window"])
@pytest.mark.parametrize(
    ("key", "over", "between"),
    [
        ("guidance_scale", {"0": 2.0, "4": 10.0}, 6.0),
        ("img2img_strength", {"0": 1.0, "4": 0.5}, 0.75),
        ("img2img_strength", {"0": 0.75, "4": 0.25}, 0.5),
    ],
)
def test_each_frame_comes_out_as_with_its_own_value(
    render: Callable[..., Image], key: str, over: dict[str, float], between: float, mode: str
) -> None:
    """Frames that attend to none but themselves don't know what the others are given."""
    found = render(**{key: over}, **ALONE, attention_mode=mode)
    for frame, value in ((0, over["0"]), (2, between), (4, over["4"])):
        alone = render(**{key: value}, **ALONE, attention_mode=mode)
        # A frame that is held until its strength begins comes there by float32 sums instead of at once.
        assert close(found[frame], alone[frame]), f"frame {frame}"
    assert not close(found[0], render(**{key: over["4"]}, **ALONE)[0])


@pytest.mark.parametrize("pooled", [False, True])
def test_a_controlnet_weighs_each_frame_by_itself(bench: Bench, render: Callable[..., Image], *, pooled: bool) -> None:
    def net(scale: Any) -> list[dict[str, Any]]:
        folder = bench.folder / ("pooled_net" if pooled else "plain_net")
        return [{"model_id": str(folder), "processor": "canny", "scale": scale}]

    found = render(controlnets=net({"0": 0.0, "4": 2.0}), **ALONE)
    for frame, value in ((1, 0.5), (4, 2.0)):
        assert close(found[frame], render(controlnets=net(value), **ALONE)[frame])
    assert close(found[0], render(**ALONE)[0]), "at 0 it says nothing"


def test_one_value_for_all_frames_is_the_same_in_both_spellings(render: Callable[..., Image]) -> None:
    plain = render(guidance_scale=5.0, seed_of_noise=3)
    assert np.array_equal(plain, render(guidance_scale={"2": 5.0}, seed_of_noise={"0": 3, "9": 3}))


def test_the_seed_travels(render: Callable[..., Image]) -> None:
    found = render(seed_of_noise={"0": 1, "4": 2}, **ALONE)
    assert close(found[0], render(seed_of_noise=1, **ALONE)[0])
    assert close(found[4], render(seed_of_noise=2, **ALONE)[4])
    assert not close(found[2], render(seed_of_noise=1, **ALONE)[2])


def test_still_frames_are_rendered_once(bench: Bench, tmp_path: Path) -> None:
    order = [0, 0, 1, 2, 2, 2, 3]
    (tmp_path / "clip").mkdir()
    for position, frame in enumerate(order):
        write_png(tmp_path / "clip" / f"{position}.png", bench.frames[frame])
    (tmp_path / "apart").mkdir()
    for frame in range(4):
        write_png(tmp_path / "apart" / f"{frame}.png", bench.frames[frame])
    nets = [{"model_id": str(bench.folder / "plain_net"), "condition": str(tmp_path / "clip")}]
    apart = [{"model_id": str(bench.folder / "plain_net"), "condition": str(tmp_path / "apart")}]
    keys: dict[str, Any] = {"num_inference_steps": STEPS}
    expected = run(bench.config("apart", input_video=str(tmp_path / "apart"), controlnets=apart, **keys))
    found = run(bench.config("skipped", input_video=str(tmp_path / "clip"), controlnets=nets, skip_still=0, **keys))
    assert np.array_equal(found, expected[order])
    track = {"0": 2.0, "6": 8.0}
    moved = run(
        bench.config("moved", input_video=str(tmp_path / "clip"), skip_still=0, guidance_scale=track, **ALONE, **keys)
    )
    plain = run(bench.config("plain", input_video=str(tmp_path / "clip"), guidance_scale=5.0, **ALONE, **keys))
    assert close(moved[3], plain[3]), "frames keep their numbers of the clip"


def test_a_preview_shows_frames_with_the_values_that_they_have_in_the_clip(bench: Bench, tmp_path: Path) -> None:
    track = {"0": 2.0, "4": 10.0}
    config = bench.config(str(tmp_path / "few"), preview=1, guidance_scale=track, num_inference_steps=STEPS, **ALONE)
    run(config)
    whole = run(bench.config(str(tmp_path / "all"), guidance_scale=track, num_inference_steps=STEPS, **ALONE))
    assert close(written(config.output_path)[0], whole[COUNT // 2])


def test_noise_that_rides_on_the_clip_is_resumed_and_chunked_alike(render: Callable[..., Image]) -> None:
    whole = render(noise="warped")
    assert close(whole, render(noise="warped", chunk_size=2, halo=4))
    assert not close(whole, render())
    assert not close(whole, render(noise="warped", seed_of_noise=1))


@pytest.mark.parametrize("net", [None, "plain_net", "pooled_net"])
def test_steps_through_the_outer_blocks_follow_the_whole_networks(
    bench: Bench, render: Callable[..., Image], net: str | None
) -> None:
    nets = [{"model_id": str(bench.folder / net), "processor": "canny"}] if net else []
    keys: dict[str, Any] = {
        "controlnets": nets,
        "num_inference_steps": 8,
        "frames_reference": [str(bench.folder / "reference.png")],
        "combine_pattern": [-1, 0, "reference_0"],
    }
    plain = render(**keys)
    found = render(**keys, feature_cache=2)
    assert not np.array_equal(found, plain)
    # Measured: 29 to 33 dB; with features of other frames or of no step it is below 20.
    assert psnr(found, plain) > 25
    assert close(found, render(**keys, feature_cache=2, chunk_size=2, halo=8))


def test_merged_tokens_change_the_result_by_degrees(render: Callable[..., Image]) -> None:
    plain = render()
    errors = [psnr(render(token_merging=share), plain) for share in (0.75, 0.05)]
    assert errors[0] < errors[1] < float("inf")


@pytest.mark.slow
def test_compiled_networks_paint_the_same(render: Callable[..., Image]) -> None:
    # The compiler puts sums together in another order.
    assert close(render(compile=True, num_inference_steps=2), render(num_inference_steps=2))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"guidance_scale": {"0": 0.5}}, 'guidance_scale.0" is 0.5; it must be at least 1'),
        ({"guidance_scale": {"a": 2}}, "must be the number of a frame in quotes"),
        ({"guidance_scale": {}}, "must not be empty"),
        ({"guidance_scale": {"7": 2, "07": 3}}, "must be the number of a frame in quotes"),
        ({"guidance_scale": {"9" * 5000: 2}}, "must be the number of a frame in quotes"),
        ({"prompt": []}, "must not be empty"),
        ({"prompt": "a lake (photo: 1998)"}, r'"\(photo: ?1998\)" would count more than 10 times'),
        ({"negative_prompt": {"0": "((a:5) b:3)"}}, "would count more than 10 times"),
        ({"negative_prompt": ["a", "b"]}, "must be text"),
        ({"seed_of_noise": {"0": 1, "4": 2}, "noise": "warped"}, "carries one noise"),
        ({"combine_pattern": [0, "keyframe_before"]}, '"keyframes" is empty'),
        ({"feature_cache": 2, "attention_mode": "window"}, "through them in several windows"),
        ({"token_merging": 0.8}, "at most 0.75"),
        ({"keyframes": {"0": "missing.png"}}, "was not found"),
        ({"mask": "missing.png"}, "was not found"),
    ],
)
def test_what_does_not_go_together_is_said(bench: Bench, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        bench.config(**keys)


def test_each_frame_hears_its_own_prompt(render: Callable[..., Image]) -> None:
    found = render(prompt={"0": "a lake", "4": "the oil"}, negative_prompt={"0": "ugly", "1": "blurry"}, **ALONE)
    assert close(found[4], render(prompt="the oil", negative_prompt="blurry", **ALONE)[4])
    assert close(found[0], render(prompt="a lake", negative_prompt="ugly", **ALONE)[0])
    assert not close(found[2], found[0])
    window = render(
        prompt={"0": "a lake", "4": "the oil"},
        negative_prompt={"0": "ugly", "1": "blurry"},
        attention_mode="window",
        **ALONE,
    )
    assert close(found, window)


def test_each_shot_hears_its_own_prompt(render: Callable[..., Image], tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    shots = [moving_clip(3, HEIGHT, WIDTH, seed=1), 255 - moving_clip(3, HEIGHT, WIDTH, seed=4)]
    for number, frame in enumerate(np.concatenate(shots)):
        write_png(tmp_path / "clip" / f"{number}.png", frame)
    clip = {"input_video": str(tmp_path / "clip"), **ALONE}
    found = render(prompt=["a lake", "the oil", "unused"], **clip)
    assert close(found[:3], render(prompt="a lake", **clip)[:3])
    assert close(found[3:], render(prompt="the oil", **clip)[3:])
    one = render(prompt=["a lake"], **clip)
    assert close(one, render(prompt="a lake", **clip))


def test_a_clips_caption_is_part_of_its_prompt(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    shutil.copytree(bench.folder / "clip", tmp_path / "clip")
    keys = {"input_video": str(tmp_path / "clip"), "prompt": "{caption}, the oil"}
    with pytest.raises(ConfigError, match="there is no"):
        render(**keys)
    (tmp_path / "clip" / "caption.txt").write_text("a snowy\nlake\n")
    found = render(**keys)
    assert np.array_equal(found, render(**{**keys, "prompt": "a snowy lake, the oil"}))
    (tmp_path / "clip.txt").write_text("  ")
    with pytest.raises(MediaError, match="this caption is empty"):
        render(**keys)


def test_a_drawn_clip_is_its_own_caption(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    """By the name of its class here; known before it is drawn."""
    body = tree(tmp_path / "run", steps=1)
    body |= {"dataset": {"type": "moving_digits", "size": 16, "frames": 2, "clips": 4}}
    assert main(["run", str(write(tmp_path / "t.json", body)), "--quiet"]) == 0
    clip = {"sample": str(tmp_path / "run"), "label": "seven", "steps": 1}
    keys = {"input_video": clip, "frame_height": 32, "frame_width": 32}
    found = render(prompt="{caption}, the oil", **keys)
    assert np.array_equal(found, render(prompt="seven, the oil", **keys))
    body |= {"condition": {"type": "none"}, "output_path": str(tmp_path / "untold")}
    assert main(["run", str(write(tmp_path / "t.json", body)), "--quiet"]) == 0
    untold = {**keys, "input_video": {"sample": str(tmp_path / "untold")}}
    with pytest.raises(ConfigError, match="the model that draws the clip is told nothing"):
        render(prompt="{caption}, the oil", **untold)
