"""The oracle against diffusers' own pipelines, and against what must hold for any weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
import window_oracle as oracle
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
)
from diffusers.models.attention_processor import Attention
from transformers import CLIPTextModel, CLIPTokenizer
from window_oracle import Frames, OracleNet, WindowJob

TOLERANCE = 2e-4
"""Of the latents' deviation. Float32 alone is worth 5e-5: the first step divides a small difference of rounded
numbers by 0.07, after guidance has multiplied it by 7.5. Twice that for two computations, and twice for safety."""

Latents = Callable[[WindowJob], torch.Tensor]


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE * float(expected.std()))


def blocks(count: int, seed: int, height: int = 48, width: int = 64) -> Frames:
    colours = np.random.default_rng(seed).integers(0, 256, (count, height // 16, width // 16, 3), np.uint8)
    return colours.repeat(16, axis=1).repeat(16, axis=2)


@dataclass(frozen=True)
class Folders:
    sd: Path
    net: Path
    pooled: Path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    root = tmp_path_factory.mktemp("tiny")
    sd = tiny.save_tiny_sd(root / "sd")
    net = tiny.save_tiny_controlnet(root / "net", sd)
    return Folders(sd, net, tiny.save_tiny_controlnet(root / "pooled", sd, seed=3, global_pool_conditions=True))


@pytest.fixture(scope="module")
def plain(folders: Folders) -> WindowJob:
    """No net, no neighbour."""
    return WindowJob(folders.sd, "a red cat", "blurry", blocks(2, 0), (0,), steps=4, seed=5)


@pytest.fixture(scope="module")
def steered(plain: WindowJob, folders: Folders) -> WindowJob:
    """Three frames that differ by their conditions, and a reference."""
    net = OracleNet(folders.net, 1.0, blocks(3, 1), blocks(1, 2))
    return replace(plain, frames=blocks(3, 3), references=blocks(1, 4), nets=(net,), steps=2)


def pipeline(kind: Any, job: WindowJob, scheduler: Any = DDIMScheduler, **parts: Any) -> Any:
    pipe = kind.from_pretrained(job.model, **parts)
    extra = (
        {"set_alpha_to_one": True, "clip_sample": False}
        if scheduler is DDIMScheduler
        else {"solver_order": 1, "final_sigmas_type": "zero"}
    )
    known = {key: pipe.scheduler.config[key] for key in ("beta_start", "beta_end", "beta_schedule", "prediction_type")}
    pipe.scheduler = scheduler(**known, **extra, timestep_spacing="trailing")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn(pipe: Any, job: WindowJob, output: str = "latent", **inputs: Any) -> Any:
    return pipe(
        job.prompt,
        negative_prompt=job.negative_prompt,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator().manual_seed(job.seed),
        output_type=output,
        **inputs,
    ).images


def test_a_frame_alone_is_diffusers_text_to_image(plain: WindowJob) -> None:
    for job in (
        plain,
        replace(plain, steps=10, guidance_scale=3.0, seed=1, prompt="the oil, of a sea", negative_prompt=""),
    ):
        pipe = pipeline(StableDiffusionPipeline, job)
        expected = drawn(pipe, job, height=48, width=64)
        assert_same(oracle.window_latents(job), expected.repeat(2, 1, 1, 1))
    picture = drawn(pipe, job, "np", height=48, width=64)
    levels = np.abs(oracle.window_frames(job) - 255 * picture.repeat(2, axis=0))
    assert levels.max() < 0.51  # half a level, and what TOLERANCE is worth


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("steps", [7, 30])
def test_steps_that_do_not_divide_1000_are_the_first_order_solver(plain: WindowJob, steps: int) -> None:
    """An exponential integrator of first order is DDIM, and goes from each timestep to the next in its own way."""
    job = replace(plain, steps=steps, frames=plain.frames[:1])
    pipe = pipeline(StableDiffusionPipeline, job, DPMSolverMultistepScheduler)
    assert_same(oracle.window_latents(job), drawn(pipe, job, height=48, width=64))


@pytest.mark.parametrize("steps", [1, 4, 7, 10, 20, 30, 50])
def test_the_timesteps(steps: int) -> None:
    every = oracle.timesteps(steps, 1.0)
    assert len(every) == steps
    assert every[0] == 999
    if 1000 % steps == 0:
        assert every == list(range(999, -1, -(1000 // steps)))
    assert oracle.timesteps(steps, 0.6) == every[steps - int(steps * 0.6) :]


@pytest.mark.parametrize("strength", [0.6, 0.3])
def test_image_to_image_is_diffusers(plain: WindowJob, strength: float) -> None:
    job = replace(plain, steps=10, strength=strength)
    pipe = pipeline(StableDiffusionImg2ImgPipeline, job)
    pixels = torch.from_numpy(job.frames / np.float32(127.5) - 1).permute(0, 3, 1, 2)
    for frame, found in enumerate(oracle.window_latents(job)):
        with torch.no_grad():
            mean = pipe.vae.encode(pixels[frame : frame + 1]).latent_dist.mode() * pipe.vae.config.scaling_factor
        expected = drawn(pipe, job, image=mean, strength=strength)
        assert_same(found[None], expected)


def controlled(job: WindowJob) -> torch.Tensor:
    nets = [ControlNetModel.from_pretrained(net.folder) for net in job.nets]
    pipe = pipeline(StableDiffusionControlNetPipeline, job, controlnet=nets if len(nets) > 1 else nets[0])
    scales = [net.scale for net in job.nets]
    frames = []
    for frame in range(len(job.frames)):
        shown = [torch.from_numpy(net.conditions[frame] / np.float32(255)).permute(2, 0, 1)[None] for net in job.nets]
        inputs = {"image": shown, "controlnet_conditioning_scale": scales}
        if len(nets) == 1:
            inputs = {"image": shown[0], "controlnet_conditioning_scale": scales[0]}
        frames.append(drawn(pipe, job, **inputs))
    return torch.cat(frames)


def test_nets_act_as_in_diffusers(plain: WindowJob, folders: Folders) -> None:
    one = OracleNet(folders.net, 0.7, blocks(2, 1))
    for nets in ((one,), (one, replace(one, scale=0.4, conditions=blocks(2, 2)))):
        job = replace(plain, nets=nets)
        found = oracle.window_latents(job)
        assert_same(found, controlled(job))
        assert (found[0] - found[1]).std() > 0.05


def test_a_pooled_net_acts_as_in_diffusers_and_beside_others(plain: WindowJob, folders: Folders) -> None:
    """On the conditional side only, averaged; a net beside it keeps both sides."""
    pooled = OracleNet(folders.pooled, 0.7, blocks(2, 1))
    job = replace(plain, nets=(pooled,))
    assert_same(oracle.window_latents(job), controlled(job))

    silent = OracleNet(folders.net, 0.0, blocks(2, 2))
    for nets in ((pooled, silent), (silent, pooled)):
        assert_same(oracle.window_latents(replace(job, nets=nets)), controlled(job))


@pytest.mark.parametrize("words", [1, 75, 76, 152, 153])
@pytest.mark.parametrize("model", [tiny.save_tiny_sd, tiny.save_tiny_sd2])
def test_long_prompts_are_padded_and_encoded_in_chunks(
    plain: WindowJob, tmp_path: Path, words: int, model: Any
) -> None:
    job = replace(plain, model=model(tmp_path))
    prompt = " ".join("abcdefg"[word % 7] for word in range(words))
    chunks = -(-(words + 2) // 77)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(tmp_path / "text_encoder")
    for more in (0, 1):
        length = 77 * (chunks + more)
        ids = tokenizer(prompt, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        assert ids.shape == (1, length)
        with torch.no_grad():
            expected = encoder(ids.reshape(-1, 77)).last_hidden_state.flatten(0, 1)[None]
        found = oracle.text_states(job, prompt, length if more else 0)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_prompts_of_different_length(plain: WindowJob) -> None:
    """Two passes pad each prompt by itself; one batch pads both to the same length, and that is another picture."""
    job = replace(plain, prompt="the oil " * 50, steps=2)
    separate, same = (oracle.prepare(job, same_chunks=same) for same in (False, True))
    assert [states.shape[1] for states in (separate.positive, separate.negative)] == [154, 77]
    assert [states.shape[1] for states in (same.positive, same.negative)] == [154, 154]
    assert (oracle.window_latents(job) - oracle.shared_latents(job)).abs().max() > 0.01


def test_attention_sees_what_it_should() -> None:
    torch.manual_seed(0)
    attn = Attention(query_dim=16, heads=2, dim_head=8)
    tokens = torch.randn(3, 5, 16)

    def plainly(row: int, seen: list[int]) -> torch.Tensor:
        others = torch.cat([tokens[other] for other in seen])
        q, k, v = attn.to_q(tokens[row]), attn.to_k(others), attn.to_v(others)
        heads = [((q[:, at] @ k[:, at].T) / 8**0.5).softmax(dim=-1) @ v[:, at] for at in (slice(0, 8), slice(8, 16))]
        return attn.to_out[0](torch.cat(heads, dim=-1))

    together = torch.stack([plainly(row, [0, 1, 2]) for row in range(3)])
    torch.testing.assert_close(oracle.all_to_all(attn, tokens), together)
    table = [[0, 0, 1], [1, 2], [2]]
    by_table = torch.stack([plainly(row, seen) for row, seen in enumerate(table)])
    torch.testing.assert_close(oracle.by_table(table)(attn, tokens), by_table)


def test_the_rows_of_a_pattern() -> None:
    pattern = (-10000, "first", -1, 0, 1, 10000, "reference_0", "reference_2")
    assert [oracle.row_of(entry, 0, 5) for entry in pattern] == [0, 0, 0, 0, 1, 4, 5, 7]
    assert [oracle.row_of(entry, 4, 5) for entry in pattern] == [0, 0, 3, 4, 4, 4, 5, 7]


def test_references_are_noised_as_diffusers_does(plain: WindowJob) -> None:
    run = oracle.prepare(plain, same_chunks=False)
    clean = oracle.encode(run.vae, plain.frames)
    scheduler = pipeline(StableDiffusionPipeline, plain).scheduler
    for t in (999, 499, 0):
        expected = scheduler.add_noise(clean, run.noise.repeat(2, 1, 1, 1), torch.tensor([t, t]))
        assert_same(oracle.noised(run, clean, t), expected)


@pytest.mark.parametrize("latents", [oracle.window_latents, oracle.shared_latents])
def test_equal_frames_stay_equal_and_see_nothing_new(latents: Latents, steered: WindowJob) -> None:
    (net,) = steered.nets
    job = replace(
        steered,
        frames=steered.frames[:1].repeat(3, axis=0),
        nets=(replace(net, conditions=net.conditions[:1].repeat(3, axis=0)),),
        references=None,
    )
    alone = latents(job)
    assert_same(alone, alone[:1].repeat(3, 1, 1, 1))
    for pattern in ((0, 0), (-10000, -1, 0, 1)):
        assert_same(latents(replace(job, pattern=pattern)), alone)


@pytest.mark.parametrize("latents", [oracle.window_latents, oracle.shared_latents])
def test_neighbours_and_references_show(latents: Latents, steered: WindowJob) -> None:
    alone, anchored = latents(steered), latents(replace(steered, pattern=(-10000, 0)))
    assert_same(anchored[0], alone[0])  # the first frame twice
    for frame in (1, 2):
        assert (anchored[frame] - alone[frame]).std() > 0.05
    for same in (("first", 0), (0, -10000)):
        assert_same(latents(replace(steered, pattern=same)), anchored)

    job = replace(steered, pattern=("reference_0", 0))
    found = latents(job)
    (net,) = steered.nets
    other_first = np.concatenate([blocks(1, 6), net.conditions[1:]])
    moved = latents(replace(job, nets=(replace(net, conditions=other_first),)))
    assert_same(moved[1:], found[1:])  # a reference sees no frame, and so brings none to others
    assert (moved[0] - found[0]).std() > 0.01
    other_net = replace(net, reference_conditions=blocks(1, 8))
    for other in (replace(job, references=blocks(1, 9)), replace(job, nets=(other_net,))):
        assert (latents(other) - found).std() > 0.01


@pytest.mark.parametrize("latents", [oracle.window_latents, oracle.shared_latents])
def test_a_reference_that_is_the_frame_adds_nothing_in_its_first_step(latents: Latents, steered: WindowJob) -> None:
    """Both are the same picture under the same noise."""
    net = replace(steered.nets[0], reference_conditions=steered.nets[0].conditions[:1])
    job = replace(steered, frames=steered.frames[:1], nets=(replace(net, conditions=net.conditions[:1]),), strength=0.5)
    twin = replace(job, pattern=("reference_0", 0), references=job.frames)
    assert_same(latents(twin), latents(job))
    assert (latents(replace(twin, references=255 - job.frames)) - latents(job)).std() > 0.01


def test_alone_window_and_shared_agree_and_together_they_do_not(steered: WindowJob) -> None:
    assert_same(oracle.shared_latents(steered), oracle.window_latents(steered))
    job = replace(steered, pattern=(-1, 0, 1))
    assert (oracle.shared_latents(job) - oracle.window_latents(job)).std() > 0.01


@pytest.mark.parametrize(
    ("steps", "strength", "interval", "ignore", "due"),
    [(7, 1.0, 1, 0, [0, 1, 2, 3, 4, 5, 6]), (7, 1.0, 3, 2, [0, 3]), (10, 0.6, 2, 1, [0, 2, 4]), (2, 1.0, 1, 2, [])],
)
def test_when_the_smoother_is_called(
    plain: WindowJob, steps: int, strength: float, interval: int, ignore: int, due: list[int]
) -> None:
    """A smoother that is called in step k changes all later steps' latents, so its calls are told by their input."""
    inputs = []

    def note(frames: Frames) -> Frames:
        inputs.append(frames)
        return frames

    run = oracle.prepare(
        replace(plain, steps=steps, strength=strength, smoother=note, interval=interval, ignore=ignore),
        same_chunks=False,
    )
    seen_at = []

    def blank(_: oracle.Run, x: torch.Tensor, t: int) -> torch.Tensor:
        seen_at.append(len(inputs))
        return torch.zeros_like(x)

    oracle.denoise(run, blank)
    calls = [later - earlier for earlier, later in zip(seen_at, [*seen_at[1:], len(inputs)], strict=True)]
    assert [step for step, count in enumerate(calls) if count] == due
    assert sum(calls) == len(due)


def test_after_smoothing_the_noise_is_what_the_smoothed_lacks(plain: WindowJob) -> None:
    """Begun from noised frames, a smoother that puts these frames back keeps to their straight way out of the noise."""
    run = oracle.prepare(
        replace(plain, steps=10, strength=0.6, smoother=lambda _: plain.frames, interval=2), same_chunks=False
    )
    clean = oracle.encode(run.vae, plain.frames)
    scheduler = pipeline(StableDiffusionPipeline, plain).scheduler
    noise = run.noise.repeat(2, 1, 1, 1)

    def wrong_where_it_is_smoothed(_: oracle.Run, x: torch.Tensor, t: int) -> torch.Tensor:
        assert_same(x, scheduler.add_noise(clean, noise, torch.tensor([t, t])))
        step = oracle.timesteps(10, 0.6).index(t)
        return torch.zeros_like(x) if step % 2 == 0 else noise

    assert_same(oracle.denoise(run, wrong_where_it_is_smoothed), clean)


def test_a_smoother_in_the_last_step_has_the_last_word(plain: WindowJob) -> None:
    painted = blocks(2, 7)
    job = replace(plain, smoother=lambda frames: painted + 0 * frames)
    expected = oracle.encode(oracle.prepare(job, same_chunks=False).vae, painted)
    assert_same(oracle.window_latents(job), expected)
    assert (oracle.window_latents(replace(job, ignore=1)) - expected).std() > 0.1
