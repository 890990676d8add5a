"""What of a clip is kept, whatever else is asked for: the outside of a mask, and frames that the user painted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stylizing import Bench, close, half_mask, moving_clip, psnr

from diffsynth.errors import ConfigError
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


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_outside_of_the_mask_the_clip_stays(
    bench: Bench, render: Callable[..., Image], tmp_path: Path, strength: float
) -> None:
    found = render(mask=half_mask(tmp_path, HEIGHT, WIDTH), mask_feather=0, img2img_strength=strength)
    assert np.array_equal(found[:, :, : WIDTH // 2], bench.frames[:, :, : WIDTH // 2])
    assert psnr(found[:, :, WIDTH // 2 :], bench.frames[:, :, WIDTH // 2 :]) < 30
    soft = render(mask=half_mask(tmp_path, HEIGHT, WIDTH), mask_feather=16, img2img_strength=strength)
    assert np.array_equal(soft[:, :, : WIDTH // 2 - 16], bench.frames[:, :, : WIDTH // 2 - 16])
    assert not np.array_equal(soft[:, :, WIDTH // 2 - 8 : WIDTH // 2], bench.frames[:, :, WIDTH // 2 - 8 : WIDTH // 2])


def test_a_white_mask_is_none_and_a_black_one_is_the_clip(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    for name, level in (("white", 255), ("black", 0)):
        write_png(tmp_path / f"{name}.png", np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    assert close(render(mask=str(tmp_path / "white.png")), render())
    assert np.array_equal(render(mask=str(tmp_path / "black.png")), bench.frames)


def test_a_clip_of_masks_goes_with_the_frames(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for frame in range(COUNT):
        write_png(tmp_path / "masks" / f"{frame}.png", np.full((HEIGHT, WIDTH, 3), 255 * (frame % 2), np.uint8))
    found = render(mask_video=str(tmp_path / "masks"))
    assert np.array_equal(found[::2], bench.frames[::2])
    assert not close(found[1], bench.frames[1])
    (tmp_path / "masks" / "4.png").unlink()
    with pytest.raises(ConfigError, match="has 4 pictures where the clip has 5 frames"):
        render(mask=str(tmp_path / "masks"))


def test_painted_frames_stay_and_the_others_attend_to_them(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    picture = moving_clip(1, HEIGHT, WIDTH, seed=9)[0]
    write_png(tmp_path / "painted.png", picture)
    found = render(keyframes={"3": str(tmp_path / "painted.png")}, combine_pattern=[0])
    assert np.array_equal(found[3], picture)
    assert not close(found[0], render(combine_pattern=[0])[0])
    alone = render(keyframes={"3": str(tmp_path / "painted.png")}, combine_pattern=[0, "keyframe_after"])
    assert close(
        alone[4], render(keyframes={"3": str(tmp_path / "painted.png")}, combine_pattern=[0, "keyframe_before"])[4]
    )
    with pytest.raises(ConfigError, match="holds frame 5, but the clip has 5 frames"):
        render(keyframes={"5": str(tmp_path / "painted.png")})


@pytest.mark.parametrize("mode", ["shared", "window"])
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_the_background_can_have_a_prompt_of_its_own(
    bench: Bench, render: Callable[..., Image], tmp_path: Path, mode: str, guidance: float
) -> None:
    keys: dict[str, Any] = {"guidance_scale": guidance, "attention_mode": mode, "mask_feather": 0}
    keys["controlnets"] = [{"model_id": str(bench.folder / "pooled_net"), "processor": "canny"}]
    found = render(mask=half_mask(tmp_path, HEIGHT, WIDTH), prompt="a lake", background_prompt="the oil", **keys)
    assert not close(found[:, :, : WIDTH // 2], bench.frames[:, :, : WIDTH // 2]), "nothing is kept"
    same = render(mask=half_mask(tmp_path, HEIGHT, WIDTH), prompt="a lake", background_prompt="a lake", **keys)
    assert close(same, render(prompt="a lake", **{**keys, "mask_feather": 8}))
    for level, prompt in ((255, "a lake"), (0, "the oil")):
        write_png(tmp_path / "all.png", np.full((HEIGHT, WIDTH, 3), level, np.uint8))
        one = render(mask=str(tmp_path / "all.png"), prompt="a lake", background_prompt="the oil", **keys)
        assert close(one, render(prompt=prompt, **{**keys, "mask_feather": 8}))


def test_smoothing_and_repeating_leave_alone_what_is_kept(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    picture = moving_clip(1, HEIGHT, WIDTH, seed=9)[0]
    write_png(tmp_path / "painted.png", picture)
    # A picture of twice the clip's height is cut as the clip would be.
    keys: dict[str, Any] = {"mask": half_mask(tmp_path, 2 * HEIGHT, WIDTH), "mask_feather": 0}
    keys["keyframes"] = {"2": str(tmp_path / "painted.png")}
    for more in ({"post_smoother": "PySynthSmoother"}, {"skip_still": 200}):
        found = render(**keys, **more)
        rest = [0, 1, 3, 4]
        assert np.array_equal(found[2], picture)
        assert np.array_equal(found[rest, :, : WIDTH // 2], bench.frames[rest, :, : WIDTH // 2])
        assert psnr(found[rest, :, WIDTH // 2 :], bench.frames[rest, :, WIDTH // 2 :]) < 30


def test_painted_frames_are_cut_as_the_clip_is(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    write_png(tmp_path / "painted.png", bench.frames[1])
    keys: dict[str, Any] = {"keyframes": {"1": str(tmp_path / "painted.png")}, "frame_width": 32, "frame_height": 32}
    assert np.array_equal(render(**keys)[1], bench.frames[1][:, 8:40])
    assert np.array_equal(render(**keys, preview=1)[0], bench.frames[1][:, 8:40])


def test_a_masks_transparency_is_not_painted(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, WIDTH // 2 :] = 255
    write_png(tmp_path / "cut_out.png", np.full((HEIGHT, WIDTH, 3), 255, np.uint8), alpha)
    cut_out = render(mask=str(tmp_path / "cut_out.png"))
    assert np.array_equal(cut_out, render(mask=half_mask(tmp_path, HEIGHT, WIDTH)))


def test_a_border_wider_than_the_picture(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    found = render(mask=half_mask(tmp_path, HEIGHT, WIDTH), mask_feather=512)
    assert not close(found[:, :, 0], bench.frames[:, :, 0]), "even the side that is black hears of the other"


def test_a_preview_with_a_painted_frame_beyond_the_clip(render: Callable[..., Image], tmp_path: Path) -> None:
    write_png(tmp_path / "painted.png", moving_clip(1, HEIGHT, WIDTH)[0])
    with pytest.raises(ConfigError, match="holds frame 99, but the clip has 5 frames"):
        render(keyframes={"99": str(tmp_path / "painted.png")}, preview=2)


def test_a_preview_with_everything_shows_the_painted_frames_next_to_its_own(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    """Of five frames the third is previewed, with the painted ones before and after it, and not the first."""
    pictures = moving_clip(3, HEIGHT, WIDTH, seed=9)
    for number, picture in enumerate(pictures):
        write_png(tmp_path / f"painted_{number}.png", picture)
    (tmp_path / "masks").mkdir()
    for frame in range(COUNT):
        write_png(tmp_path / "masks" / f"{frame}.png", np.full((HEIGHT, WIDTH, 3), 255 * (frame != 2), np.uint8))
    found = render(
        preview=1,
        keyframes={str(frame): str(tmp_path / f"painted_{k}.png") for k, frame in enumerate((0, 1, 4))},
        mask=str(tmp_path / "masks"),
        prompt=["a lake", "the oil"],
        skip_still=0,
        noise="warped",
        feature_cache=2,
        guidance_scale={"0": 2.0, "4": 8.0},
        smoother="FastBlendSmoother",
        post_smoother="PySynthSmoother",
    )
    assert np.array_equal(found, np.stack([pictures[1], bench.frames[2], pictures[2]]))
