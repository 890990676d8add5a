"""Every option of a stylization, at its ends: clips, and what the networks are asked."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from stylizing import GREY_LEVELS, NEGATIVE, PROMPT, Bench, moving_clip, plain, psnr, run
from transformers import CLIPTextModel
from window_oracle import WindowJob, window_frames

from diffsynth.cli import main
from diffsynth.frames import Image
from diffsynth.images import read_image, write_png
from diffsynth.sd.placement import Placement
from diffsynth.sd.vae import Vae

COUNT = 4
pytestmark = pytest.mark.usefixtures("alone")


SMOOTHERS = [None, "FastBlendSmoother", "PySynthSmoother", "EbsynthSmoother", "VideoPatchMatchSmoother"]


@pytest.mark.parametrize("smoother", SMOOTHERS)
@pytest.mark.parametrize("mode", ["shared", "window"])
def test_a_clip_of_one_frame(bench: Bench, render: Callable[..., Image], mode: str, smoother: str | None) -> None:
    keys = {"attention_mode": mode, "smoother": smoother, "post_smoother": smoother, "frame_maximum_count": 1}
    found = render(**keys, controlnets=[plain(bench)], combine_pattern="keys(3)" if smoother else "seed")
    assert found.shape == (1, 32, 40, 3)
    assert found.std() > 5


@pytest.mark.parametrize(("height", "width", "expected"), [(50, 67, (48, 64)), (15, 31, (8, 24)), (8, 40, (8, 40))])
def test_odd_sizes_are_floored(
    bench: Bench, render: Callable[..., Image], height: int, width: int, expected: tuple[int, int]
) -> None:
    found = render(frame_height=height, frame_width=width, controlnets=[plain(bench)], smoother="FastBlendSmoother")
    assert found.shape == (COUNT, *expected, 3)


def test_transparency_stays(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    clip = tmp_path / "clear"
    clip.mkdir()
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (32, 1))
    for position, frame in enumerate(bench.frames):
        PIL.Image.fromarray(np.dstack([frame, ramp])).save(clip / f"{position}.png")
    render(input_video=str(clip), controlnets=[plain(bench)], smoother="FastBlendSmoother", video={"codec": "vp9"})
    alphas = [read_image(path)[1] for path in sorted((tmp_path / "out-0" / "frames").iterdir())]
    assert len(alphas) == COUNT
    assert all(np.array_equal(alpha, ramp) for alpha in alphas)
    (tmp_path / "out-0" / "video_output.webm").rename(tmp_path / "out-0" / "video_output.mp4")


def test_references_of_other_sizes_are_stretched(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(moving_clip(1, 90, 20, seed=3)[0])
    picture.save(tmp_path / "tall.png")
    picture.resize((40, 32), PIL.Image.Resampling.BICUBIC).save(tmp_path / "stretched.png")
    pattern = ["reference_0", 0]
    nets = [plain(bench)]
    tall = render(combine_pattern=pattern, frames_reference=[str(tmp_path / "tall.png")], controlnets=nets)
    stretched = render(combine_pattern=pattern, frames_reference=[str(tmp_path / "stretched.png")], controlnets=nets)
    assert np.array_equal(tall, stretched)
    assert psnr(tall, render(combine_pattern=[0], controlnets=nets)) < 40


def test_references_go_by_the_asked_size_to_the_floored_one(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    """As frames do: stretched (bicubic) to what was asked for, from there (Lanczos) to multiples of 8."""
    size = {"frame_height": 39, "frame_width": 47}
    picture = PIL.Image.fromarray(moving_clip(1, 90, 20, seed=3)[0])
    picture.save(tmp_path / "tall.png")
    frames = []
    for frame in bench.frames:
        asked = PIL.Image.fromarray(frame[:, 1:39]).resize((47, 39), PIL.Image.Resampling.BICUBIC)
        frames.append(np.array(asked.resize((40, 32), PIL.Image.Resampling.LANCZOS)))
    asked = picture.resize((47, 39), PIL.Image.Resampling.BICUBIC)
    reference = np.array(asked.resize((40, 32), PIL.Image.Resampling.LANCZOS))[None]
    pattern = ("reference_0", -1, 0, 1)
    keys: dict[str, Any] = {"attention_mode": "window", "img2img_strength": 0.5, "num_inference_steps": 4, **size}
    found = render(combine_pattern=list(pattern), frames_reference=[str(tmp_path / "tall.png")], **keys)
    told = WindowJob(
        bench.model, PROMPT, NEGATIVE, np.stack(frames), pattern, steps=4, strength=0.5, references=reference
    )
    assert np.abs(found.astype(int) - window_frames(told)).mean() < GREY_LEVELS


def test_a_style_image_leads_the_shuffle(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        write_png(tmp_path / f"{name}.png", moving_clip(1, 50, 30, seed=seed)[0])
    net = {"model_id": str(bench.folder / "pooled_net"), "processor": "shuffle"}
    one, again, two = (
        render(controlnets=[net], style_image=str(tmp_path / f"{name}.png")) for name in ("one", "one", "two")
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("count", [1, 7, 30])
def test_exactly_so_many_steps(render: Callable[..., Image], calls: Counter[str], count: int) -> None:
    found = render(num_inference_steps=count, combine_pattern=[0], chunk_size=8)
    assert calls["unet"] == count
    assert found.std() > 5


def test_guidance_of_one_asks_once(bench: Bench, render: Callable[..., Image], monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    forward = UNet2DConditionModel.forward

    def heard(self: UNet2DConditionModel, sample: torch.Tensor, *values: Any, **keys: Any) -> Any:
        rows.append(len(sample))
        return forward(self, sample, *values, **keys)

    monkeypatch.setattr(UNet2DConditionModel, "forward", heard)
    nets = [plain(bench), {"model_id": str(bench.folder / "pooled_net"), "processor": "tile"}]
    one = render(guidance_scale=1, controlnets=nets, chunk_size=8)
    assert rows == [COUNT] * 2
    assert np.array_equal(one, render(guidance_scale=1, controlnets=nets, chunk_size=8, negative_prompt="ugly"))
    assert psnr(one, render(controlnets=nets, chunk_size=8)) < 40


@pytest.mark.parametrize(
    "words", [{"prompt": ""}, {"negative_prompt": ""}, {"prompt": "", "negative_prompt": ""}], ids=str
)
def test_empty_prompts(render: Callable[..., Image], words: dict[str, str]) -> None:
    assert render(**words).std() > 5


def test_words_and_conditions_are_read_once(bench: Bench, render: Callable[..., Image], calls: Counter[str]) -> None:
    keys: dict[str, Any] = {
        "controlnets": [plain(bench)],
        "chunk_size": 2,
        "frames_reference": [str(bench.folder / "reference.png")],
    }
    render(**keys, combine_pattern=["reference_0", -1, 0, 1])
    few = calls.copy()
    calls.clear()
    render(**keys, combine_pattern=["reference_0", -1, 0, 1], num_inference_steps=5)
    assert calls["unet"] == few["unet"] / 2 * 5
    assert calls["embedding"] == few["embedding"] <= COUNT + 2, "each frame, the reference, and one to learn the shape"
    assert calls["text"] == few["text"] <= 4


def test_a_net_without_weight_is_not_there(
    bench: Bench, render: Callable[..., Image], calls: Counter[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    nothing = [{"model_id": str(tmp_path / "broken"), "processor": "depth", "scale": 0.0}]
    nothing.append({"model_id": "owner/nowhere", "processor": "canny", "scale": 0})
    without = render(controlnets=[plain(bench)])
    asked = calls["controlnet"]
    assert np.array_equal(render(controlnets=[*nothing, plain(bench)]), without)
    assert calls["controlnet"] == 2 * asked
    path = tmp_path / "my.json"
    path.write_text(json.dumps(bench.tree(str(tmp_path / "checked"), controlnets=[*nothing, plain(bench)])))
    assert main(["check", str(path)]) == 0
    assert "downloads  none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("start", "end", "steps"), [(0, 0.5, [0, 1]), (0.5, 1, [2, 3]), (0.25, 0.75, [1, 2]), (0.5, 0.6, [])]
)
def test_a_net_acts_only_within_its_range(
    bench: Bench,
    render: Callable[..., Image],
    monkeypatch: pytest.MonkeyPatch,
    start: float,
    end: float,
    steps: list[int],
) -> None:
    times: list[int] = []
    forward = ControlNetModel.forward

    def heard(self: ControlNetModel, sample: torch.Tensor, timestep: int, *values: Any, **keys: Any) -> Any:
        times.append(int(timestep))
        return forward(self, sample, timestep, *values, **keys)

    monkeypatch.setattr(ControlNetModel, "forward", heard)
    render(controlnets=[plain(bench, start=start, end=end)], num_inference_steps=4, chunk_size=8)
    assert times == [[999, 749, 499, 249][step] for step in steps]


def test_a_second_prompt_reads_the_clip_from_the_cache(
    bench: Bench, render: Callable[..., Image], calls: Counter[str]
) -> None:
    keys: dict[str, Any] = {"controlnets": [plain(bench, processor="canny")], "img2img_strength": 0.5}
    first = render(**keys)
    assert calls["encode"] == COUNT
    assert calls["processor"] == 1
    calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffsynth.processors.canny.canny_edges", None)
        second = render(**keys, prompt="another lake")
    assert calls["encode"] == 0
    assert not np.array_equal(first, second)


def test_the_cache_is_bounded(
    bench: Bench, render: Callable[..., Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSYNTH_CACHE_GB", "0")
    keys: dict[str, Any] = {"controlnets": [plain(bench, processor="canny")], "img2img_strength": 0.5}
    small = render(**keys)
    assert len([each for each in (tmp_path / "cache").iterdir() if each.is_dir()]) == 1, "the one asked for last"
    monkeypatch.delenv("DIFFSYNTH_CACHE_GB")
    assert np.array_equal(render(**keys), small)


def test_the_first_sessions_threads_are_kept(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over another number of threads round differently."""
    threads: dict[str, set[int]] = {"unet": set(), "text": set()}
    stop = [True]

    def heard(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def hearing(*values: Any, **keys: Any) -> Any:
            threads[name].add(torch.get_num_threads())
            if name == "unet" and stop[0]:
                raise KeyboardInterrupt
            return forward(*values, **keys)

        return hearing

    monkeypatch.setattr(UNet2DConditionModel, "forward", heard("unet", UNet2DConditionModel.forward))
    monkeypatch.setattr(CLIPTextModel, "forward", heard("text", CLIPTextModel.forward))
    config = bench.config(str(tmp_path / "out"), num_inference_steps=1)
    torch.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt):
        run(config, threads=1)
    stop[0] = False
    torch.set_num_threads(2)
    run(config, threads=2)
    assert threads == {"unet": {1}, "text": {1}}, "words are encoded before it is known how many were there"


def test_a_large_frame_goes_through_the_autoencoder_in_tiles(bench: Bench) -> None:
    network = AutoencoderKL.from_pretrained(bench.model / "vae").eval()
    placement = Placement(torch.device("cpu"), torch.float32)
    frame = moving_clip(1, 160, 208)[0]
    whole, tiled = (Vae(network, placement, tiled_from=limit) for limit in (10**6, 100 * 100))
    latent = whole.encode([frame])
    assert tiled.encode([frame]).shape == latent.shape
    assert not torch.equal(tiled.encode([frame]), latent)
    assert tiled.decode(latent[0]).shape == frame.shape
    small = frame[:96, :96]
    assert torch.equal(tiled.encode([small]), whole.encode([small])), "and a small one doesn't, afterwards"
