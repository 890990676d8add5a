"""LPIPS after Zhang et al., "The Unreasonable Effectiveness of Deep Features": how different two pictures look.

The weights are the user's; none come with the project or are fetched.
"""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffsynth.errors import ModelError
from diffsynth.models.weight_files import read_weights
from diffsynth.models.weights import differing

LAYERS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
"""VGG-16's convolutions, by their number in torchvision's list; a maximum over 2×2 stands between the groups."""
WIDTHS = (64, 128, 256, 512, 512)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""[-1, 1] to what VGG-16 was trained on."""
KNOWN = re.compile(r"(?:net\.slice\d\.|features\.)(\d+)\.(weight|bias)|(?:lins\.|lin)(\d)\.model\.\d\.weight")


class Perceptual(nn.Module):
    """(N) distances of pictures (N, C, H, W) within [-1, 1], C being 1 or 3."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        numbers = [number for group in LAYERS for number in group]
        widths = [WIDTHS[index] for index, group in enumerate(LAYERS) for _ in group]
        self.features = nn.ModuleDict(
            {
                str(number): nn.Conv2d(inner, outer, 3, padding=1)
                for number, inner, outer in zip(numbers, [3, *widths], widths, strict=False)
            }
        )
        self.weigh = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in WIDTHS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        pairs = zip(self._seen(one), self._seen(other), self.weigh, strict=True)
        return torch.stack([weigh((a - b) ** 2).mean((1, 2, 3)) for a, b, weigh in pairs]).sum(0)

    def _seen(self, pictures: Tensor) -> list[Tensor]:
        """What each group of layers sees, each place of length 1."""
        x = (pictures.expand(-1, 3, -1, -1) - self.shift) / self.scale
        seen = []
        for index, group in enumerate(LAYERS):
            x = functional.max_pool2d(x, 2) if index else x
            for number in group:
                x = functional.relu(self.features[str(number)](x))
            seen.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return seen


class Scripted(nn.Module):
    """The same of a TorchScript network, which knows colour only and may keep sides of length 1."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        found: Tensor = self.network(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1))
        return found.reshape(len(one), -1).mean(1)


def load_perceptual(files: Sequence[Path]) -> nn.Module:
    """A distance whose weights never change."""
    network: nn.Module
    if len(files) == 1 and _is_script(files[0]):
        load: Any = torch.jit.load
        try:
            network = Scripted(load(str(files[0]), map_location="cpu"))
        except (RuntimeError, ValueError) as problem:
            raise ModelError(f"{files[0]}: doesn't load as TorchScript ({str(problem).splitlines()[0]}).") from None
    else:
        network = _from_weights(files)
    return network.eval().requires_grad_(False)  # noqa: FBT003  torch's own name for it


def _from_weights(files: Sequence[Path]) -> Perceptual:
    network, found = Perceptual(), dict[str, Tensor]()
    for path in files:
        for name, tensor in read_weights(path).items():
            known = KNOWN.fullmatch(name)
            if known is not None:
                number, kind, group = known.groups()
                found[f"weigh.{group}.weight" if group else f"features.{number}.{kind}"] = tensor
    differences = differing(network.state_dict(), found)
    if differences:
        told = "; ".join(differences)
        raise ModelError(
            f'{", ".join(map(str, files))}: "lpips" needs the weights of LPIPS on VGG-16, but {told}. Its published '
            "vgg.pth holds a part of them: name torchvision's VGG-16 (vgg16-397923af.pth) beside it."
        )
    network.load_state_dict(found)
    return network


def _is_script(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.partition("/")[2].startswith("code/") for name in archive.namelist())
