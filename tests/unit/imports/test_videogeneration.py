"""VideoGeneration-PyTorch's checkpoints: the imported networks compute what a restatement under their names does."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from videogeneration_oracle import Weights, decoded, encoded, latte

from diffsynth.config import Override
from diffsynth.errors import ConfigError, DiffSynthError, ModelError
from diffsynth.imports import import_file
from diffsynth.models.patch_critic import PatchCritic
from diffsynth.models.video_vae_config import VideoVaeConfig
from diffsynth.runtime import Runtime
from diffsynth.training.autoencoders import autoencoder
from diffsynth.training.loading_model import load_model

HIDDEN, DEPTH, HEADS, PATCH, CHANNELS, FRAMES = 16, 4, 2, 2, 3, 3
HEIGHT, WIDTH = 4, 6
VAE = {
    "z_channels": CHANNELS,
    "down_channels": [8, 16],
    "mid_channels": [16, 16],
    "down_sample": [True],
    "attn_down": [False],
    "norm_channels": 4,
    "num_heads": 2,
}


def random(*shape: int) -> Tensor:
    return torch.randn(shape) * 0.3


def latte_weights() -> dict[str, Tensor]:
    """As `torch.save(model.state_dict())` of theirs."""
    values = PATCH**2 * CHANNELS
    layers = {
        "patch_embed_layer.patch_embed.0": (HIDDEN, values),
        "t_proj.0": (HIDDEN, 256),
        "t_proj.2": (HIDDEN, HIDDEN),
        "adaptive_norm_layer.1": (2 * HIDDEN, HIDDEN),
        "proj_out": (values, HIDDEN),
    }
    for index in range(DEPTH):
        layers |= {
            f"layers.{index}.attn_block.qkv_proj": (3 * HIDDEN, HIDDEN),
            f"layers.{index}.attn_block.output_proj.0": (HIDDEN, HIDDEN),
            f"layers.{index}.mlp_block.0": (4 * HIDDEN, HIDDEN),
            f"layers.{index}.mlp_block.2": (HIDDEN, 4 * HIDDEN),
            f"layers.{index}.adaptive_norm_layer.1": (6 * HIDDEN, HIDDEN),
        }
    return {
        f"{name}.{kind}": random(*(shape if kind == "weight" else shape[:1]))
        for name, shape in layers.items()
        for kind in ("weight", "bias")
    }


@pytest.fixture
def vae_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = VideoVaeConfig.model_validate(VAE).build(1)
    torch.save({name: random(*each.shape) for name, each in network.state_dict().items()}, tmp_path / "vae.pth")
    return tmp_path / "vae.pth"


def sets(*texts: str) -> list[Override]:
    return [Override.parse(each) for each in texts]


def imported_vae(path: Path) -> Path:
    found = import_file(path, None, sets("autoencoder.num_heads=2", "autoencoder.norm_channels=4"))
    assert found.path == path.with_suffix(".safetensors")
    return found.path


def doubles(weights: Weights) -> Weights:
    return {name: each.double() for name, each in weights.items()}


@torch.no_grad()
def test_the_autoencoder_computes_the_same(vae_file: Path) -> None:
    weights = doubles(torch.load(vae_file, weights_only=True))
    found = autoencoder(str(imported_vae(vae_file)))
    assert (found.frame_channels, found.channels, found.factor, found.scale) == (1, CHANNELS, 2, 1.0)
    coder = found.load()
    assert isinstance(coder, torch.nn.Module)
    coder.double()
    picture = torch.randn(1, 1, 8, 12, dtype=torch.float64)
    told = encoded(weights, picture, 4, 2)
    assert torch.allclose(coder.moments(picture), told, rtol=1e-9, atol=1e-9)
    assert torch.allclose(coder.decode(told[:, :CHANNELS]), decoded(weights, told[:, :CHANNELS], 4, 2), rtol=1e-9)


@torch.no_grad()
def test_latte_computes_the_same(vae_file: Path, tmp_path: Path) -> None:
    vae = imported_vae(vae_file)
    weights = latte_weights()
    torch.save(weights, tmp_path / "dit_ckpt.pth")
    keys = (f"size=[{2 * HEIGHT}, {2 * WIDTH}]", f"frames={FRAMES}", f"vae={vae}", f"backbone.heads={HEADS}")
    found = import_file(tmp_path / "dit_ckpt.pth", None, sets(*keys))
    model = load_model(found.path, Runtime("cpu"))
    assert (model.config.frame_channels, model.config.size) == (1, (2 * HEIGHT, 2 * WIDTH))
    video = torch.randn(FRAMES, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)
    for t in (0.0, 17.0, 999.0):
        ours = model.network.double()(video[None], torch.tensor([t], dtype=torch.float64))[0]
        # The tables of places are kept in float32.
        assert torch.allclose(ours, latte(doubles(weights), video, t, HEADS, PATCH), atol=1e-5)


def test_each_swap_is_needed(vae_file: Path, tmp_path: Path) -> None:
    """The restatement tells the layouts apart: without any one of them the answers differ."""
    weights, video = doubles(latte_weights()), torch.randn(FRAMES, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)
    right = latte(weights, video, 17.0, HEADS, PATCH)
    for name in ("t_proj.0.weight", "patch_embed_layer.patch_embed.0.weight"):
        one, other = weights[name].chunk(2, 1)
        assert not torch.allclose(
            right, latte({**weights, name: torch.cat([other, one], 1)}, video, 17.0, HEADS, PATCH), atol=1e-3
        )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), 'don\'t tell "size".*\n.*"frames".*\n.*"vae"'),
        (("size=[8, 12]", "frames=3"), '"vae"'),
        (("size=[8, 12]", "frames=3", "vae={vae}", "backbone.patch=1"), "latents of 12 channels, but those of"),
        (("size=[8, 12]", "frames=3", "vae={vae}", "backbone.patch=5"), "no multiple of 5×5"),
        (("size=[8, 12]", "frames=3", "vae={vae}", "backbone.heads=3"), "heads"),
    ],
)
def test_what_weights_do_not_tell_is_asked_for(
    vae_file: Path, tmp_path: Path, keys: tuple[str, ...], words: str
) -> None:
    vae = imported_vae(vae_file)
    torch.save(latte_weights(), tmp_path / "dit_ckpt.pth")
    with pytest.raises((DiffSynthError, ValueError), match=words):
        import_file(tmp_path / "dit_ckpt.pth", None, sets(*(each.format(vae=vae) for each in keys)))
    assert not (tmp_path / "dit_ckpt.safetensors").exists()


def test_heads_of_attention_are_asked_for(vae_file: Path) -> None:
    with pytest.raises(DiffSynthError, match=r"--set autoencoder\.num_heads="):
        import_file(vae_file)


def test_a_damaged_autoencoder_is_told(vae_file: Path) -> None:
    weights = torch.load(vae_file, weights_only=True)
    del weights["decoder_norm_out.bias"]
    torch.save(weights, vae_file)
    with pytest.raises(ModelError, match=r"it lacks decoder_norm_out\.bias"):
        import_file(vae_file, None, sets("autoencoder.num_heads=2", "autoencoder.norm_channels=4"))


def test_patches_that_are_read_and_drawn_otherwise_are_told(vae_file: Path, tmp_path: Path) -> None:
    name = "patch_embed_layer.patch_embed.0.weight"
    torch.save(latte_weights() | {name: torch.zeros(3, 5)}, tmp_path / "odd.pth")
    given = sets("size=[8, 8]", "frames=2", f"vae={imported_vae(vae_file)}")
    with pytest.raises(ModelError, match="It reads patches of 5 values"):
        import_file(tmp_path / "odd.pth", None, given)


def test_a_file_that_is_there_is_not_touched(vae_file: Path) -> None:
    place = imported_vae(vae_file)
    before = place.read_bytes()
    with pytest.raises(DiffSynthError, match="is there already"):
        imported_vae(vae_file)
    assert place.read_bytes() == before


def discriminator() -> nn.ModuleList:
    """As theirs is built: a block for each convolution, with a batch norm in those between the first and the last."""
    widths, blocks = [1, 8, 16, 24, 1], []
    for index, (inner, outer) in enumerate(pairwise(widths)):
        first, last = index == 0, index == 3
        norm = nn.Identity() if first or last else nn.BatchNorm2d(outer)
        active = nn.Identity() if last else nn.LeakyReLU(0.2)
        blocks.append(nn.Sequential(nn.Conv2d(inner, outer, 4, 1 if last else 2, 1, bias=first), norm, active))
    return nn.ModuleList(blocks)


def test_the_discriminator_says_the_same(tmp_path: Path) -> None:
    blocks, frames = discriminator(), torch.rand(4, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        for _ in range(5):  # its norms gather, as in their training
            nn.Sequential(*blocks)(frames + random(*frames.shape))
    torch.save({f"layers.{name}": each for name, each in blocks.state_dict().items()}, tmp_path / "critic.pth")
    found = import_file(tmp_path / "critic.pth")
    assert "[8, 16, 24]" in found.words[0]
    critic = PatchCritic(1, (8, 16, 24), settled=True)
    critic.load_state_dict(load_file(found.path))
    with torch.no_grad():
        # The same layers in the same order.
        assert torch.allclose(critic(frames), nn.Sequential(*blocks).eval()(frames), atol=1e-6)
    with pytest.raises(ConfigError, match="tell all of it"):
        import_file(tmp_path / "critic.pth", tmp_path / "b.safetensors", sets("frame_channels=3"))
