"""The autoencoder for frames: published sizes, its forward against a restatement, and configs that make none."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from videogeneration_oracle import decoded, encoded

from diffsynth.models.video_vae import latents_of
from diffsynth.models.video_vae_config import KlVaeConfig, VideoVaeConfig

GREY: dict[str, Any] = {}
"""As published for 72×128×1; it is the default."""
COLOUR = {
    "down_channels": [128, 256, 384, 512],
    "mid_channels": [512],
    "down_sample": [True, True, True],
    "attn_down": [False, False, False],
    "num_heads": 4,
    "num_down_layers": 2,
    "num_mid_layers": 2,
    "num_up_layers": 2,
}
SMALL = {"z_channels": 3, "norm_channels": 4, "num_heads": 2}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {"down_channels": [8, 12], "mid_channels": [12], "down_sample": [True], "attn_down": [False]},
    "attention": {"down_channels": [8, 12, 16], "mid_channels": [16, 8, 16], "down_sample": [True, False],
                  "attn_down": [False, True], "num_down_layers": 2, "num_mid_layers": 2, "num_up_layers": 3},
}  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "channels", "count", "size", "latent"),
    [(GREY, 1, 1_107_941, (72, 128), (8, 18, 32)), (COLOUR, 3, 41_577_703, (256, 256), (8, 32, 32))],
    ids=["72x128x1", "256x256x3"],
)
def test_published_sizes(
    keys: dict[str, Any], channels: int, count: int, size: tuple[int, int], latent: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = VideoVaeConfig.model_validate(keys).build(channels)
        assert sum(each.numel() for each in network.parameters()) == count
        moments = network.moments(torch.empty(1, channels, *size))
        assert moments.shape[1:] == latent
        assert network.decode(moments[:, :4]).shape[1:] == (channels, *size)


@torch.no_grad()
@pytest.mark.parametrize("keys", SHAPES.values(), ids=SHAPES)
def test_its_forward_is_the_restated_one(keys: dict[str, Any]) -> None:
    network = VideoVaeConfig.model_validate(SMALL | keys).build(2).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    weights = network.state_dict()
    pictures = torch.randn(2, 2, 8, 12, dtype=torch.float64)
    moments = network.moments(pictures)
    again = network.decode(moments[:, :3])
    for index in range(2):
        told = encoded(weights, pictures[[index]], 4, 2)
        # Float64 on both sides; sums are in another order.
        assert torch.allclose(moments[[index]], told, rtol=1e-9, atol=1e-9)
        assert torch.allclose(again[[index]], decoded(weights, told[:, :3], 4, 2), rtol=1e-9, atol=1e-9)


def test_latents_are_drawn_as_moments_say() -> None:
    drawn = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    moments = torch.tensor([3.0, 2 * torch.log(torch.tensor(0.5)).item()]).view(1, 2, 1, 1).expand(20_000, -1, 1, 1)
    latents = latents_of(moments, drawn)
    # Five deviations of the mean of 20,000 draws.
    assert latents.mean().item() == pytest.approx(3, abs=5 * 0.5 / 20_000**0.5)
    assert latents.std().item() == pytest.approx(0.5, rel=0.03)
    assert torch.equal(latents_of(moments, None), moments[:, :1])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"down_sample": [True]}, "must have 2 entries"),
        ({"attn_down": [True, False, True]}, "must have 2 entries"),
        ({"mid_channels": [64, 128]}, "begin and end with 128"),
        ({"norm_channels": 24}, "24 divides not 32"),
        ({"attn_down": [False, True], "num_heads": 24}, "24 divides not 64"),
        ({"codebook_size": 20}, "Extra inputs"),
    ],
)
def test_a_config_that_is_no_autoencoder_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        VideoVaeConfig.model_validate(keys)


def test_heads_need_only_divide_what_has_attention() -> None:
    assert VideoVaeConfig.model_validate({"num_heads": 24}).factor == 4
    assert KlVaeConfig().factor == 8


def test_configs_of_autoencoders_need_no_torch() -> None:
    code = (
        "import sys; from diffsynth.models.video_vae_config import KlVaeConfig, VideoVaeConfig; VideoVaeConfig(); "
        "import diffsynth.training.autoencoders, diffsynth.tasks.train_vae, diffsynth.tasks.save_latents; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
