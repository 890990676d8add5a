"""Every option of a stylization, at its ends: what it changes, what it costs, and what it leaves behind."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from safetensors.torch import load_file, save_file
from stylizing import NEGATIVE, PROMPT, Bench, moving_clip, psnr, run, written
from tiny import save_tiny_sd, save_tiny_sd2
from transformers import CLIPTextModel
from window_oracle import WindowJob, decode, denoise, prepare, shared_frames, window_eps, window_frames

from diffsynth.cli import main
from diffsynth.frames import FrameWriter, Image
from diffsynth.images import read_image, write_png
from diffsynth.processors.base import PerFrame
from diffsynth.progress import Progress
from diffsynth.runtime import Runtime
from diffsynth.sd.placement import Placement
from diffsynth.sd.vae import Vae
from diffsynth.smoothers.base import Frames, Pictures
from diffsynth.smoothers.fastblend import FastBlendSmootherConfig

ROOT = Path(__file__).parents[2]
COUNT = 4
GREY_LEVELS = 0.05
"""Two orders of the same float32 sums differ in the last bits; where a value lies between two levels, one flips."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), count=COUNT, height=32, width=40)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # threads that wait for a busy core take long


@pytest.fixture
def render(bench: Bench, tmp_path: Path) -> Iterator[Callable[..., Image]]:
    """Runs a config in a folder of its own."""
    made: list[Path] = []

    def rendered(**keys: Any) -> Image:
        made.append(tmp_path / f"out-{len(made)}")
        return run(bench.config(str(made[-1]), **{"num_inference_steps": 2, **keys}))

    yield rendered
    for output in made:
        assert {each.name for each in output.iterdir()} == LEFT, "and nothing of what the stages hand to each other"


LEFT = {"frames", "video_output.mp4", "config.json", "run.json", "progress.jsonl", ".lock"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each network, and the processors, were asked."""
    counted: Counter[str] = Counter()

    def count(kind: Any, method: str, name: str) -> None:
        original = getattr(kind, method)

        def counting(self: Any, *values: Any, **keys: Any) -> Any:
            counted[name] += 1
            return original(self, *values, **keys)

        monkeypatch.setattr(kind, method, counting)

    count(UNet2DConditionModel, "forward", "unet")
    count(ControlNetModel, "forward", "controlnet")
    count(ControlNetConditioningEmbedding, "forward", "embedding")
    count(CLIPTextModel, "forward", "text")
    count(AutoencoderKL, "encode", "encode")
    count(AutoencoderKL, "decode", "decode")
    count(PerFrame, "process", "processor")
    return counted


def plain(bench: Bench, **keys: Any) -> dict[str, Any]:
    return {"model_id": str(bench.folder / "plain_net"), "processor": "tile", **keys}


# Clips


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


# What the networks are asked


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


# How it looks


@pytest.mark.parametrize("strength", [0, 0.05])
def test_a_strength_below_one_step_is_the_autoencoder_alone(
    bench: Bench, render: Callable[..., Image], calls: Counter[str], strength: float
) -> None:
    found = render(img2img_strength=strength)
    assert calls["unet"] == 0
    assert psnr(found, render(img2img_strength=1)) < 40
    vae = AutoencoderKL.from_pretrained(bench.model / "vae")
    with torch.inference_mode():
        pixels = torch.from_numpy(bench.frames).permute(0, 3, 1, 2) / 127.5 - 1
        expected = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    expected_levels = ((expected / 2 + 0.5) * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(found - expected_levels).mean() < GREY_LEVELS


def test_noise_of_each_frames_own(render: Callable[..., Image]) -> None:
    own = render(noise="per_frame", combine_pattern=[0])
    shared = render(combine_pattern=[0])
    assert np.array_equal(shared[0], shared[1]), "without a condition the same noise is the same picture"
    assert psnr(own[0], own[1]) < 30
    assert np.array_equal(
        render(noise="per_frame", combine_pattern=[0], frame_maximum_count=2, chunk_size=2)[:2],
        render(noise="per_frame", combine_pattern=[0], chunk_size=2)[:2],
    )
    assert not np.array_equal(render(noise="per_frame", combine_pattern=[0], seed_of_noise=1), own)


@pytest.mark.parametrize("mode", ["shared", "window"])
def test_plain_attention_is_torchs(bench: Bench, render: Callable[..., Image], mode: str) -> None:
    keys = {"attention_mode": mode, "controlnets": [plain(bench)]}
    differing = render(**keys, attention_backend="plain").astype(int) - render(**keys, attention_backend="sdpa")
    assert np.abs(differing).max() <= 1
    assert np.abs(differing).mean() < GREY_LEVELS


def test_low_memory_gives_the_same(bench: Bench, render: Callable[..., Image]) -> None:
    keys = {"controlnets": [plain(bench)], "smoother": "FastBlendSmoother"}
    assert np.array_equal(render(**keys, memory="low"), render(**keys))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(bench: Bench, render: Callable[..., Image], dtype: str) -> None:
    keys = {"controlnets": [plain(bench)], "img2img_strength": 0.5, "combine_pattern": [-1, 0, 1]}
    assert psnr(render(**keys, dtype=dtype), render(**keys)) > 25


def test_another_autoencoder(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    other = save_tiny_sd(tmp_path / "other", seed=9)
    shutil.copytree(bench.model / "vae", tmp_path / "copy")
    own = render(img2img_strength=0.5)
    assert np.array_equal(render(img2img_strength=0.5, vae=str(tmp_path / "copy")), own)
    assert psnr(render(img2img_strength=0.5, vae=str(other / "vae")), own) < 30


ZERO_SNR = {
    "_class_name": "DDIMScheduler",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


@pytest.mark.parametrize("strength", [1, 0.5])
def test_a_velocity_checkpoint_from_pure_noise(
    bench: Bench, render: Callable[..., Image], tmp_path: Path, strength: float
) -> None:
    model = save_tiny_sd(tmp_path / "model", prediction_type="v_prediction", scheduler=ZERO_SNR)
    found = render(model_id=str(model), smoother="FastBlendSmoother", num_inference_steps=4, img2img_strength=strength)
    assert found.std() > 5
    plain_noise = save_tiny_sd(tmp_path / "plain", prediction_type="v_prediction")
    assert not np.array_equal(
        found,
        render(
            model_id=str(plain_noise), smoother="FastBlendSmoother", num_inference_steps=4, img2img_strength=strength
        ),
    )


def test_a_checkpoint_of_the_second_generation(render: Callable[..., Image], tmp_path: Path) -> None:
    assert render(model_id=str(save_tiny_sd2(tmp_path / "model")), scheduler="ddim").std() > 5


# Smoothing


def fast_blend(source: Image, folder: Path) -> Callable[[Image], Image]:
    def smoothed(frames: Image) -> Image:
        prepared = FastBlendSmootherConfig().build(Runtime("cpu", threads=1)).prepare(Pictures(list(source)))
        folder.mkdir(exist_ok=True)
        work = folder / str(len(list(folder.iterdir())))
        return np.stack(list(prepared.smooth(Pictures([np.ascontiguousarray(each) for each in frames]), work)))

    return smoothed


class Averaging:
    """A smoother without a threshold: frames next to each other are averaged."""

    def prepare(self, guide: Frames, progress: Progress | None = None) -> "Averaging":
        return self

    def smooth(self, style: Frames, work: Path, start: int = 0) -> Iterator[Image]:
        frames = np.stack([style[position] for position in range(len(style))])
        yield from averaged(frames)[start:]


def averaged(frames: Image) -> Image:
    padded = np.concatenate([frames[:1], frames, frames[-1:]]).astype(np.uint16)
    return ((padded[:-2] + 2 * padded[1:-1] + padded[2:]) // 4).astype(np.uint8)


def smoothing_job(bench: Bench, smoother: Callable[[Image], Image], interval: int, ignored: int) -> WindowJob:
    keys: dict[str, Any] = {"smoother": smoother, "interval": interval, "ignore": ignored}
    return WindowJob(bench.model, PROMPT, NEGATIVE, bench.frames, (-1, 0, 1), steps=4, **keys)


SMOOTHING: dict[str, Any] = {
    "combine_pattern": [-1, 0, 1],
    "noise": "shared",
    "smoother": "FastBlendSmoother",
    "num_inference_steps": 4,
}


@pytest.mark.parametrize(("mode", "interval", "ignored"), [("window", 3, 0), ("shared", 2, 0), ("shared", 3, 2)])
def test_steps_are_smoothed_as_the_seed_does(
    bench: Bench, render: Callable[..., Image], monkeypatch: pytest.MonkeyPatch, mode: str, interval: int, ignored: int
) -> None:
    monkeypatch.setattr(FastBlendSmootherConfig, "build", lambda config, runtime: Averaging())
    keys = {"smoother_interval": interval, "ignore_smoother_steps": ignored}
    found = render(attention_mode=mode, **SMOOTHING, **keys)
    oracle = window_frames if mode == "window" else shared_frames
    expected = oracle(smoothing_job(bench, averaged, interval, ignored))
    assert np.abs(found.astype(int) - expected).mean() < GREY_LEVELS
    unsmoothed = render(attention_mode=mode, **SMOOTHING, ignore_smoother_steps=4)
    assert np.abs(found.astype(int) - unsmoothed).mean() > 10 * GREY_LEVELS, "it must make a difference"


def test_step_after_step_is_smoothed(
    bench: Bench, render: Callable[..., Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round through the autoencoder and 256 levels widens a difference: the bound is a part of what becomes of a
    millionth of the noise."""
    monkeypatch.setattr(FastBlendSmootherConfig, "build", lambda config, runtime: Averaging())
    found = render(attention_mode="window", **SMOOTHING, ignore_smoother_steps=1)
    whole = prepare(smoothing_job(bench, averaged, 1, 1), same_chunks=False)
    other = whole.noise * (1 + 1e-6 * torch.randn(whole.noise.shape, generator=torch.Generator().manual_seed(1)))
    expected, nudged = (decode(each.vae, denoise(each, window_eps)) for each in (whole, replace(whole, noise=other)))
    assert np.abs(found.astype(int) - expected).mean() < np.abs(nudged.astype(int) - expected).mean() / 4


def test_matching_between_steps(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    """Patch matching has thresholds: one that falls to the other side moves whole patches, hence a wider bound."""
    found = render(attention_mode="window", **SMOOTHING, smoother_interval=2)
    expected = window_frames(smoothing_job(bench, fast_blend(bench.frames, tmp_path / "work"), 2, 0))
    assert np.abs(found.astype(int) - expected).mean() < 10 * GREY_LEVELS
    unsmoothed = render(attention_mode="window", **SMOOTHING, ignore_smoother_steps=4)
    assert np.abs(found.astype(int) - unsmoothed).mean() > 30 * GREY_LEVELS


def test_extra_deflickering_is_a_post_smoother(bench: Bench, render: Callable[..., Image]) -> None:
    offsets = {"smooth_index": [-2, -1, 1, 2]}
    nets = [plain(bench)]
    extra = render(extra_deflickering_range=2, controlnets=nets)
    assert np.array_equal(
        extra, render(post_smoother="EbsynthSmoother", post_smoother_config=offsets, controlnets=nets)
    )
    assert not np.array_equal(extra, render(controlnets=nets))


# A condition from elsewhere


def depth_pass(folder: Path, frames: Image) -> Path:
    folder.mkdir()
    for position, frame in enumerate(frames):
        write_png(folder / f"{position}.png", 255 - frame)
    return folder


def test_a_condition_clip_is_cut_as_the_clip_is(bench: Bench, render: Callable[..., Image], tmp_path: Path) -> None:
    folder = depth_pass(tmp_path / "depth", bench.frames)
    net = plain(bench)
    del net["processor"]
    cut = {"start": "1f", "frame_interval": 2}
    whole = render(controlnets=[{**net, "condition": str(folder)}], **cut)
    shutil.copytree(folder, tmp_path / "other")
    write_png(tmp_path / "other" / "0.png", bench.frames[3])
    write_png(tmp_path / "other" / "2.png", bench.frames[3])
    assert np.array_equal(render(controlnets=[{**net, "condition": str(tmp_path / "other")}], **cut), whole)
    assert not np.array_equal(render(controlnets=[{**net, "condition": str(folder / "0.png")}], **cut), whole)
    assert json.loads((tmp_path / "out-2" / "run.json").read_text())["frames"] == 2, "the clip's, not the picture's"


def test_a_condition_clip_of_odd_size_lies_on_the_frames(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    """The frames themselves, read as a condition, are what the tile processor makes of them."""
    size = {"frame_height": 39, "frame_width": 41}
    net = plain(bench)
    tile = render(controlnets=[net], **size)
    del net["processor"]
    assert np.array_equal(render(controlnets=[{**net, "condition": str(bench.folder / "clip")}], **size), tile)


def test_transparency_of_a_ready_condition_is_no_hole(
    bench: Bench, render: Callable[..., Image], tmp_path: Path
) -> None:
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (32, 1))
    PIL.Image.fromarray(np.dstack([bench.frames[0], np.where(ramp < 128, 0, 255).astype(np.uint8)])).save(
        tmp_path / "clear.png"
    )
    write_png(tmp_path / "plain.png", bench.frames[0])
    net = {"model_id": str(bench.folder / "plain_net")}
    clear, plain_one = (
        render(controlnets=[{**net, "condition": str(tmp_path / name)}]) for name in ("clear.png", "plain.png")
    )
    assert np.array_equal(clear, plain_one)


# Looking ahead


def test_a_preview_and_then_the_whole(bench: Bench, tmp_path: Path) -> None:
    net = {"model_id": str(bench.folder / "plain_net"), "condition": str(depth_pass(tmp_path / "depth", bench.frames))}
    one = {"model_id": str(bench.folder / "pooled_net"), "condition": str(bench.folder / "reference.png")}
    keys = {"controlnets": [net, one], "smoother": "FastBlendSmoother", "num_inference_steps": 2}
    path = tmp_path / "my.json"
    path.write_text(json.dumps(bench.tree(str(tmp_path / "out"), **keys)))
    assert main(["run", str(path), "--quiet", "--preview", "2"]) == 0
    folder = tmp_path / "out-preview"
    assert {each.name for each in folder.iterdir()} == LEFT - {"video_output.mp4"} | {"preview.png"}
    assert written(folder).shape == (2, 32, 40, 3)
    assert main(["run", str(path), "--quiet"]) == 0
    assert written(tmp_path / "out").shape == (COUNT, 32, 40, 3)


def predicted(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], **keys: Any) -> dict[str, Any]:
    path = tmp_path / "predicted.json"
    path.write_text(json.dumps(bench.tree(str(tmp_path / "predicted"), **keys)))
    assert main(["check", str(path), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["prediction"]
    return found


def test_models_of_the_hub_tell_no_memory(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    nets = [{"model_id": "owner/net", "processor": "tile"}]
    found = predicted(bench, tmp_path, capsys, model_id="owner/model", controlnets=nets)
    assert found["memory_bytes"] is None
    assert found["disk_bytes"] > 0
    assert found["downloads"] == ["owner/model", "owner/net"]


def test_copies_of_the_weights_need_no_more_memory(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder holds them in full precision, in both, or in half: on the device all are of the run's."""
    shutil.copytree(bench.model, tmp_path / "model")
    found = [predicted(bench, tmp_path, capsys, model_id=str(tmp_path / "model"))["memory_bytes"]]
    files = [tmp_path / "model" / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    for file in files:
        half = {name: each.half() for name, each in load_file(file).items()}
        save_file(half, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    found.append(predicted(bench, tmp_path, capsys, model_id=str(tmp_path / "model"))["memory_bytes"])
    for file in files:
        file.unlink()
    found.append(predicted(bench, tmp_path, capsys, model_id=str(tmp_path / "model"))["memory_bytes"])
    assert found[1] == found[0]
    assert abs(found[2] / found[0] - 1) < 0.1, "the header is not halved"


PICTURE = "a picture"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"halo": 3, "attention_mode": "window"}, '"halo" makes no difference to "attention_mode": "window".'),
        ({"smoother_interval": 5}, '"smoother_interval" makes no difference without a "smoother".'),
        ({"ignore_smoother_steps": 1}, '"ignore_smoother_steps" makes no difference without a "smoother".'),
        (
            {"smoother": "FastBlendSmoother", "ignore_smoother_steps": 2, "img2img_strength": 0.5},
            '"ignore_smoother_steps" is 2 of 2 steps: "smoother" is never asked.',
        ),
        (
            {"frames_reference": [PICTURE]},
            '"frames_reference" makes no difference: "combine_pattern" names none of them.',
        ),
        ({"style_image": PICTURE}, '"style_image" makes no difference: no ControlNet has the shuffle processor.'),
    ],
)
def test_settings_without_effect_are_told(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], words: str
) -> None:
    text = json.dumps(keys).replace(PICTURE, str(bench.folder / "reference.png"))
    assert words in predicted(bench, tmp_path, capsys, **json.loads(text))["remarks"]
    fitting = {"halo": 3, "smoother": "FastBlendSmoother", "smoother_interval": 5, "ignore_smoother_steps": 1}
    assert len(predicted(bench, tmp_path, capsys, **fitting)["remarks"]) == 1, "that of the memory"


def test_latents_of_two_steps_and_no_more(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the disk that was foreseen holds all of it."""
    stores: list[set[str]] = []
    held: list[int] = []
    keys: dict[str, Any] = {"controlnets": [plain(bench)], "smoother": "FastBlendSmoother", "num_inference_steps": 4}
    keys |= {"frame_height": 96, "frame_width": 128, "post_smoother": "FastBlendSmoother"}
    output = tmp_path / "out"

    def looked(original: Callable[..., Any]) -> Callable[..., Any]:
        def looking(*values: Any, **named: Any) -> Any:
            stores.append({each.name for each in (output / ".work" / "latents").glob("*")})
            held.append(sum(each.stat().st_size for each in output.rglob("*") if each.is_file()))
            return original(*values, **named)

        return looking

    foreseen = predicted(bench, tmp_path, capsys, **keys)["disk_bytes"]
    monkeypatch.setattr(UNet2DConditionModel, "forward", looked(UNet2DConditionModel.forward))
    monkeypatch.setattr(AutoencoderKL, "encode", looked(AutoencoderKL.encode))
    monkeypatch.setattr(FrameWriter, "append", looked(FrameWriter.append))
    run(bench.config(str(output), **keys))
    assert max(map(len, stores)) <= 4, "two stores of latents, the edit of the step, and that of the one before"
    assert max(held) < foreseen < 8 * max(held)


@pytest.mark.slow
def test_a_longer_clip_takes_no_more_memory() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "stylize_memory.py"), "--frames", "16", "192"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(said.split()[-2]) < 50, said
