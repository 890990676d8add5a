"""Patch matching in torch: the seed's own error, for results that are to look like the seed's.

Each pixel's error is 6·‖guide patch difference‖ + ‖style patch difference‖, norms and not squares, over patches of 11
pixels. The style of the target is what the current matches paint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from diffsynth.engines.base import ErrorMap, Image, Init, Matches, Nnf, Pair
from diffsynth.errors import EngineError
from diffsynth.runtime import Runtime, derive_seed

if TYPE_CHECKING:
    import torch

PATCH, ROUNDS, GUIDE_WEIGHT = 11, 6, 6.0
SMALLEST_SIDE = 32
REACH = 4
"""Random candidates lie within this many pixels of the current match."""


@dataclass(frozen=True)
class PytorchEngine:
    """Coarse to fine; at each level rounds of propagation from the neighbours and of random search."""

    runtime: Runtime = field(default_factory=lambda: Runtime("cpu"))

    def frame(self, guides: Sequence[Image]) -> Image:
        return np.dstack(list(guides))

    def estimate(
        self,
        pairs: Sequence[Pair],
        guides: Sequence[Image] | Mapping[int, Image],
        styles: Sequence[Image] | Mapping[int, Image] | None = None,
        init: Init | None = None,
    ) -> Matches:
        if init not in (None, "identity"):
            raise EngineError('The engine "Pytorch" starts from the same place; "identity" is all that it takes.')
        found = [
            self._match(guides[source], guides[target], None if styles is None else styles[source])
            for source, target in pairs
        ]
        return Matches(np.stack([nnf for nnf, _ in found]), np.stack([error for _, error in found]))

    def vote(self, nnf_yx: Nnf, image: Image, error: ErrorMap | None = None) -> Image:
        """Each target pixel is the mean of what the patches over it bring."""
        if error is not None:
            raise EngineError('The engine "Pytorch" weighs no vote by its error.')
        import torch

        nnf = torch.from_numpy(nnf_yx.astype(np.int64))
        picture = torch.from_numpy(np.atleast_3d(image).astype(np.float32)).permute(2, 0, 1)
        voted = _voted(nnf, picture).round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)
        return voted.reshape(*nnf_yx.shape[:2], *image.shape[2:])

    def _match(self, source: Image, target: Image, style: Image | None) -> tuple[Nnf, ErrorMap]:
        import torch

        device = self.runtime.torch_device()
        with torch.no_grad():
            levels = [
                (_scaled(source, scale, device), _scaled(target, scale, device), _scaled(style, scale, device))
                for scale in _scales(*target.shape[:2])
            ]
            nnf: torch.Tensor | None = None
            error: Any = None
            for number, (guide, wanted, painted) in enumerate(levels):
                generator = torch.Generator("cpu").manual_seed(derive_seed(0, "pytorch engine", number))
                search = _Search(guide, wanted, painted, generator)
                nnf, error = search.run(search.start(nnf))
            assert nnf is not None
            return nnf.cpu().numpy().astype(np.int16), error.cpu().numpy().astype(np.float32)


def _scales(height: int, width: int) -> list[float]:
    """Coarse to fine, each twice the one before."""
    scales = [1.0]
    while min(height, width) * scales[0] / 2 >= SMALLEST_SIDE:
        scales.insert(0, scales[0] / 2)
    return scales


def _scaled(image: Image | None, scale: float, device: "torch.device") -> "torch.Tensor | None":
    """(C, H, W) float at a scale."""
    if image is None:
        return None
    import cv2
    import torch

    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    return torch.from_numpy(small.astype(np.float32)).permute(2, 0, 1).contiguous().to(device)


class _Search:
    """One level of one pair."""

    def __init__(self, guide: Any, wanted: Any, style: Any, generator: "torch.Generator") -> None:
        self._guide, self._wanted, self._style, self._generator = guide, wanted, style, generator

    def start(self, coarse: Any) -> Any:
        """The same place, or the coarser level's offsets, doubled."""
        import torch

        height, width = self._wanted.shape[1:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        places = torch.stack([rows, columns], -1).to(self._wanted.device)
        if coarse is None:
            return places
        parent = places // 2
        parent[..., 0].clamp_(max=coarse.shape[0] - 1)
        parent[..., 1].clamp_(max=coarse.shape[1] - 1)
        offsets = coarse[parent[..., 0], parent[..., 1]] - parent
        return self._inside(places + 2 * offsets)

    def run(self, nnf: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        error = self._error(nnf, nnf)
        for number in range(ROUNDS):
            painted = nnf
            error = self._error(nnf, painted)
            step = 2 ** max(0, 2 - number // 2)
            for axis in (0, 1):
                for shift in (step, -step):
                    moved = torch.roll(nnf, shift, axis)
                    moved[..., axis] += shift
                    nnf, error = self._better(nnf, error, self._inside(moved), painted)
            reach = torch.randint(-REACH, REACH + 1, nnf.shape, generator=self._generator).to(nnf.device)
            nnf, error = self._better(nnf, error, self._inside(nnf + reach), painted)
        return nnf, error

    def _better(self, nnf: Any, error: Any, candidate: Any, painted: Any) -> Any:
        import torch

        other = self._error(candidate, painted)
        better = other < error
        return torch.where(better[..., None], candidate, nnf), torch.where(better, other, error)

    def _inside(self, nnf: Any) -> Any:
        nnf[..., 0].clamp_(0, self._guide.shape[1] - 1)
        nnf[..., 1].clamp_(0, self._guide.shape[2] - 1)
        return nnf

    def _error(self, nnf: Any, painted: Any) -> "torch.Tensor":
        error = GUIDE_WEIGHT * _patch_distance(self._guide, self._wanted, nnf)
        if self._style is not None:
            error = error + _patch_distance(self._style, _voted(painted, self._style), nnf)
        return error


def _patch_distance(source: "torch.Tensor", target: "torch.Tensor", nnf: "torch.Tensor") -> "torch.Tensor":
    """(H, W): norm of the difference of each target patch and its source patch, borders replicated."""
    import torch
    from torch.nn.functional import pad

    half = PATCH // 2
    border = (half, half, half, half)
    framed = pad(source[None], border, mode="replicate")[0]
    wanted = pad(target[None], border, mode="replicate")[0]
    height, width = target.shape[1:]
    total = torch.zeros(height, width, device=target.device)
    across = framed.shape[2]
    pixels = framed.permute(1, 2, 0).reshape(-1, framed.shape[0]).contiguous()
    rows = wanted.permute(1, 2, 0).contiguous()
    corner = (nnf[..., 0] * across + nnf[..., 1]).reshape(-1)
    for dy in range(PATCH):
        for dx in range(PATCH):
            there = pixels.index_select(0, corner + (dy * across + dx)).view(height, width, -1)
            total += (there - rows[dy : dy + height, dx : dx + width]).square_().sum(2)
    return total.sqrt()


def _voted(nnf: "torch.Tensor", image: "torch.Tensor") -> "torch.Tensor":
    """(C, H, W): the mean over all patches that cover a pixel."""
    import torch

    height, width = nnf.shape[:2]
    total = torch.zeros(image.shape[0], height, width, device=image.device)
    count = torch.zeros(height, width, device=image.device)
    half = PATCH // 2
    for dy in range(-half, half + 1):
        for dx in range(-half, half + 1):
            # The patch centred at (y, x) paints (y + dy, x + dx) from its match moved by the same.
            y0, y1, x0, x1 = max(0, -dy), height - max(0, dy), max(0, -dx), width - max(0, dx)
            centre = nnf[y0:y1, x0:x1]
            rows = (centre[..., 0] + dy).clamp(0, image.shape[1] - 1)
            columns = (centre[..., 1] + dx).clamp(0, image.shape[2] - 1)
            total[:, y0 + dy : y1 + dy, x0 + dx : x1 + dx] += image[:, rows, columns]
            count[y0 + dy : y1 + dy, x0 + dx : x1 + dx] += 1
    return total / count
