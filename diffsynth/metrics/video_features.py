"""Features of videos that Fréchet distances compare: of a fixed random network, or of an I3D that the user names."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.runtime import torch_generator

Pixels = NDArray[np.uint8]
AT_ONCE = 8
I3D_SIDE = 224
I3D_OPTIONS = {"rescale": False, "resize": False, "return_features": True}
"""How the published file is called; one that has no such options is called without."""
RANDOM_WIDTHS = (16, 32, 32)
RANDOM_LARGEST = 64
"""Frames with a longer side are made smaller for the random network."""


class RandomConv3d(nn.Module):
    """Three layers of space-time convolutions whose weights are drawn once and for all from the seed.

    It has learned nothing: its distances rank sets of videos of one data set, and mean nothing beside published ones.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        layers, before = [], 3
        for number, width in enumerate(RANDOM_WIDTHS):
            layer = nn.Conv3d(before, width, 3, stride=(1, 2, 2) if number == 0 else 2, padding=1)
            drawn = torch.randn(layer.weight.shape, generator=torch_generator(seed, "random_conv3d", number))
            with torch.no_grad():
                layer.weight.copy_(drawn / (before * 27 / 2) ** 0.5)
                layer.bias.zero_()  # type: ignore[union-attr]  # it has one
            layers.append(layer)
            before = width
        self.layers = nn.ModuleList(layers)

    @torch.inference_mode()
    def forward(self, videos: Tensor) -> Tensor:
        """(B, 64) of (B, 3, F, H, W) in [-1, 1]: the mean and the spread of each channel of the last layer."""
        x = videos
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), 0.2)
        flat = x.flatten(2)
        return torch.cat([flat.mean(2), flat.std(2, correction=0)], 1)


def random_features(videos: Sequence[Pixels], seed: int = 0) -> NDArray[np.float64]:
    """(n, 64)."""
    network = RandomConv3d(seed)
    return _gathered(network(_limited(batch)) for batch in _batches(videos))


class I3d:
    """A TorchScript I3D as FVD is computed with: it takes (B, 3, F, 224, 224) in [-1, 1], and returns (B, 400)."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self.path, self.device = path, device
        try:
            with warnings.catch_warnings():
                # torch would rather see another format; FVD's network is published in this one.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.network: Any = cast(Any, torch.jit).load(str(path), map_location=device).eval()
        except (RuntimeError, ValueError, OSError) as problem:
            raise ModelError(
                f"{path}: is no TorchScript file ({str(problem).splitlines()[0]}). FVD takes the I3D that was exported "
                "with torch.jit, often called i3d_torchscript.pt."
            ) from None
        known = {each.name for each in self.network.forward.schema.arguments}
        self.options = {name: value for name, value in I3D_OPTIONS.items() if name in known}
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        self.digest = digest.hexdigest()

    @torch.inference_mode()
    def features(self, videos: Sequence[Pixels]) -> NDArray[np.float64]:
        return _gathered(self._said(batch) for batch in _batches(videos))

    def _said(self, batch: Tensor) -> Tensor:
        frames = batch.shape[2]
        sized = nn.functional.interpolate(
            batch, (frames, I3D_SIDE, I3D_SIDE), mode="trilinear", align_corners=False
        ).to(self.device)
        try:
            said: Tensor = self.network(sized, **self.options)
        except RuntimeError as problem:
            last = str(problem).strip().splitlines()[-1]
            raise ModelError(
                f"{self.path}: fails on videos of {frames} frames: {last}. I3D wants 10 at least."
            ) from None
        return said.flatten(1).cpu()


def _batches(videos: Sequence[Pixels]) -> Iterator[Tensor]:
    """(B, 3, F, H, W) in [-1, 1]."""
    for start in range(0, len(videos), AT_ONCE):
        stacked = torch.from_numpy(np.stack(list(videos[start : start + AT_ONCE])))
        values = stacked.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
        yield values.expand(-1, 3, -1, -1, -1)


def _limited(batch: Tensor) -> Tensor:
    frames, height, width = batch.shape[2:]
    longest = max(height, width)
    if longest <= RANDOM_LARGEST:
        return batch
    size = (frames, round(height * RANDOM_LARGEST / longest), round(width * RANDOM_LARGEST / longest))
    return nn.functional.interpolate(batch, size, mode="area")


def _gathered(parts: Iterator[Tensor]) -> NDArray[np.float64]:
    return np.concatenate([each.double().numpy() for each in parts])
