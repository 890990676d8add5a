"""What rebuilt frames are held to, against closed forms and definitions."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as f

from diffsynth.errors import ModelError
from diffsynth.models.patch_critic import PatchCritic
from diffsynth.models.video_vae import latents_of
from diffsynth.training.perceptual import LAYERS, WIDTHS, load_perceptual
from diffsynth.training.vae_loss import Rebuilt, coder_terms, critic_loss, divergence
from diffsynth.training.vae_settings import VaeTrainSettings


def found(count: int = 3) -> Rebuilt:
    random = torch.Generator().manual_seed(0)
    frames = torch.rand((count, 1, 16, 16), generator=random) * 2 - 1
    again = (frames + 0.2 * torch.randn(frames.shape, generator=random)).requires_grad_()
    return Rebuilt(frames, again, torch.randn((count, 4, 8, 8), generator=random))


def test_divergence_is_that_of_normal_distributions() -> None:
    moments = found().moments.double()
    mean, log_variance = moments.chunk(2, 1)
    told = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0, 1)).sum((1, 2, 3))
    assert torch.allclose(divergence(moments), told, rtol=1e-12)
    assert divergence(torch.zeros(1, 4, 2, 2)).item() == 0


def test_terms_are_one_number_a_frame() -> None:
    """So that parts of a batch add up to the whole of it."""
    whole, critic = found(), PatchCritic(1, (8, 16))
    settings = VaeTrainSettings(kl_weight=0.1, disc_weight=0.5)
    terms = coder_terms(whole, settings, None, critic)
    assert set(terms) == {"reconstruction", "kl", "adversarial"}
    for index in range(3):
        alone = Rebuilt(*(each[[index]] for each in (whole.frames, whole.again, whole.moments)))
        for name, each in coder_terms(alone, settings, None, critic).items():
            assert torch.allclose(each, terms[name][index], atol=1e-6)  # convolutions sum in another order
        assert torch.allclose(critic_loss(alone, critic), critic_loss(whole, critic)[index], atol=1e-6)
    apart = whole.again - whole.frames
    assert torch.allclose(terms["reconstruction"], apart.square().mean((1, 2, 3)))
    by_size = coder_terms(whole, settings.model_copy(update={"reconstruction": "l1"}), None, None)
    assert torch.allclose(by_size["reconstruction"], apart.abs().mean((1, 2, 3)))


def test_the_critic_learns_and_moves_nothing_else() -> None:
    whole, critic = found(), PatchCritic(1, (8, 16))
    critic_loss(whole, critic).sum().backward()  # type: ignore[no-untyped-call]
    assert whole.again.grad is None
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in critic.parameters())


class Says(nn.Module):
    """A critic that says one thing of all."""

    def __init__(self, said: float) -> None:
        super().__init__()
        self.said = said

    def forward(self, frames: Tensor) -> Tensor:
        return frames[:, :, ::4, ::4] * 0 + self.said


def test_a_critic_that_is_sure_either_way() -> None:
    settings = VaeTrainSettings(disc_weight=2.0)
    for said, fooled, wrong in ((1.0, 0.0, 0.5), (0.0, 2.0, 0.5), (0.5, 0.5, 0.25)):
        assert coder_terms(found(), settings, None, Says(said))["adversarial"].tolist() == [fooled] * 3
        assert critic_loss(found(), Says(said)).tolist() == [wrong] * 3


def test_moments_are_bounded() -> None:
    wild = torch.tensor([0.0, 500.0]).view(1, 2, 1, 1)
    assert math.isfinite(divergence(wild).item())
    assert math.isfinite(latents_of(wild, torch.ones(1, 1, 1, 1)).item())


def lpips_weights() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """VGG-16 by torchvision's names, and the rest by those of LPIPS's file; random, and a tenth as wide is not allowed:
    the published widths are part of what is read."""
    random = torch.Generator().manual_seed(1)
    features, inner = dict[str, Tensor](), 3
    for group, width in zip(LAYERS, WIDTHS, strict=True):
        for number in group:
            weight = torch.randn((width, inner, 3, 3), generator=random) * (2 / (9 * inner)) ** 0.5
            features |= {f"features.{number}.weight": weight, f"features.{number}.bias": torch.zeros(width)}
            inner = width
    lins = {
        f"lin{index}.model.1.weight": torch.rand((1, width, 1, 1), generator=random)
        for index, width in enumerate(WIDTHS)
    }
    return features, lins


def restated(w: dict[str, Tensor], one: Tensor, other: Tensor) -> float:
    """LPIPS by its definition, walking torchvision's list of layers in order."""
    seen: list[list[Tensor]] = []
    for picture in (one, other):
        x = picture.repeat(1, 3 // picture.shape[1], 1, 1)
        x = (x - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).view(
            3, 1, 1
        )
        kept = []
        for number in range(30):
            if f"features.{number}.weight" in w:
                x = f.conv2d(x, w[f"features.{number}.weight"], w[f"features.{number}.bias"], padding=1)
            elif number in (4, 9, 16, 23):
                x = f.max_pool2d(x, 2, 2)
            else:
                x = x.clamp(min=0)
            if number in (3, 8, 15, 22, 29):
                kept.append(x / x.norm(dim=1, keepdim=True).clamp(min=1e-10))
        seen.append(kept)
    return sum(
        ((a - b).square() * w[f"lin{index}.model.1.weight"]).sum(1).mean().item()
        for index, (a, b) in enumerate(zip(*seen, strict=True))
    )


@torch.no_grad()
def test_the_perceptual_distance_is_lpips(tmp_path: Path) -> None:
    features, lins = lpips_weights()
    torch.save(features, tmp_path / "vgg16.pth", _use_new_zipfile_serialization=False)  # as both were published
    torch.save(lins, tmp_path / "vgg.pth", _use_new_zipfile_serialization=False)
    network = load_perceptual([tmp_path / "vgg.pth", tmp_path / "vgg16.pth"])
    for channels in (1, 3):
        one, other = torch.rand(2, channels, 16, 16) * 2 - 1, torch.rand(2, channels, 16, 16) * 2 - 1
        told = [restated(features | lins, one[[index]], other[[index]]) for index in range(2)]
        assert network(one, other).tolist() == pytest.approx(told, rel=1e-4)  # float32 through 13 convolutions
        assert network(one, one).tolist() == [0, 0]
    assert not any(each.requires_grad for each in network.parameters())
    with pytest.raises(ModelError, match=r"it lacks features\.0\.weight.*name torchvision's VGG-16"):
        load_perceptual([tmp_path / "vgg.pth"])


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_torchscript_distance_serves_too(tmp_path: Path) -> None:
    class Apart(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return (one - other).abs().mean([1, 2, 3], keepdim=True)

    torch.jit.script(Apart()).save(str(tmp_path / "apart.pt"))
    network = load_perceptual([tmp_path / "apart.pt"])
    one, other = torch.zeros(2, 1, 16, 16), torch.ones(2, 1, 16, 16)
    assert network(one, other).tolist() == [1, 1]
