"""What decides the look of a stylization: strength, noise, precision, autoencoder, and the checkpoint's kind."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from stylizing import GREY_LEVELS, Bench, plain, psnr
from tiny import save_tiny_sd, save_tiny_sd2

from diffsynth.frames import Image

pytestmark = pytest.mark.usefixtures("alone")


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
