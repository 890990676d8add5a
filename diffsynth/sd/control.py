"""ControlNets: what they read of a clip, and what they add to the denoiser."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from diffsynth.arrays import ArrayStore, ArrayWriter
from diffsynth.attention.patterns import Reference, Source
from diffsynth.diffusion.schedule import Step
from diffsynth.frames import Image
from diffsynth.processors.base import Frames
from diffsynth.processors.inpaint import condition_values
from diffsynth.progress import Progress
from diffsynth.sd.memory import KEPT_BYTES
from diffsynth.sd.placement import Placement
from diffsynth.tracks import Track, number_at


class Branch(Protocol):
    """A network that reads a clip's maps and says something to the denoiser, in a part of the steps."""

    @property
    def placement(self) -> Placement: ...
    @property
    def modules(self) -> tuple[nn.Module, ...]: ...
    @property
    def scale(self) -> Track[float]: ...
    def acts(self, step: Step, steps: int) -> bool: ...
    def among(self, shown: Sequence[int] | None) -> "Branch":
        """For a rendering of only these frames."""
        ...

    def embed(self, found: Image, alpha: Image | None) -> Tensor:
        """(1, …) float32 on the CPU: what it makes of one map, once and for all steps."""
        ...


@dataclass(frozen=True)
class ControlBranch:
    """A ControlNet with its weight and the part of the steps in which it acts."""

    network: Any
    embedder: nn.Module
    """Its first layers, which look at the condition alone: they run once a frame, not once a step."""
    placement: Placement
    scale: Track[float]
    start: float = 0.0
    end: float = 1.0

    @classmethod
    def of(cls, network: Any, placement: Placement, scale: Track[float], start: float, end: float) -> "ControlBranch":
        """Takes the network's first layers out of it."""
        embedder = network.controlnet_cond_embedding
        network.controlnet_cond_embedding = nn.Identity()
        return cls(network, embedder, placement, scale, start, end)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        return self.network, self.embedder

    @property
    def pooled(self) -> bool:
        """Whether it says the same everywhere, and nothing to the negative prompt."""
        return bool(self.network.config.global_pool_conditions)

    def acts(self, step: Step, steps: int) -> bool:
        return step.within(self.start, self.end, steps)

    @torch.inference_mode()
    def embed(self, found: Image, alpha: Image | None) -> Tensor:
        """(1, C, h, w) float32 on the CPU, of one map."""
        values = torch.from_numpy(condition_values(found, alpha)).permute(2, 0, 1)[None]
        if str(self.network.config.controlnet_conditioning_channel_order) == "bgr":
            values = values.flip(1)
        with self.placement.present(self.embedder):
            embedded: Tensor = self.embedder(self.placement.tensor(values)).float().cpu()
        return embedded

    def among(self, shown: Sequence[int] | None) -> "ControlBranch":
        return replace(self, scale=self.scale.among(shown))

    def weight(self, frames: Sequence[int]) -> float | Tensor:
        """How much it counts in rows that show these frames."""
        return weights(self.scale, frames, self.placement)

    def __call__(
        self,
        latents: Tensor,
        step: Step,
        words: Tensor,
        condition: Tensor,
        weight: float | Tensor,
        added: Mapping[str, Tensor],
    ) -> tuple[list[Tensor], Tensor]:
        """What it adds to the denoiser's skips and middle, already weighted."""
        down, middle = self.network(
            latents,
            torch.tensor(step.timestep),
            encoder_hidden_states=words,
            controlnet_cond=condition,
            conditioning_scale=weight,
            added_cond_kwargs=dict(added),
            return_dict=False,
        )
        return list(down), middle


def weights(scale: Track[float], frames: Sequence[int], placement: Placement) -> float | Tensor:
    """One number, or (n, 1, 1, 1) of them for rows that show these frames."""
    if scale.constant:
        return scale.values[0]
    return placement.tensor(torch.tensor([number_at(scale, each) for each in frames]).view(-1, 1, 1, 1))


class Maps(Protocol):
    """A clip's maps at the size of the denoiser's pictures, by frame, and those of the references."""

    def __len__(self) -> int: ...
    def map(self, source: Source) -> tuple[Image, Image | None]: ...


@dataclass(frozen=True)
class ClipMaps:
    """Maps of the clip's frames, and of each reference. A single map serves every frame."""

    frames: Frames
    references: Sequence[Frames]

    def __len__(self) -> int:
        return len(self.frames)

    def map(self, source: Source) -> tuple[Image, Image | None]:
        if isinstance(source, Reference):
            return _map(self.references[source.number], 0)
        return _map(self.frames, min(source, len(self.frames) - 1))


def _map(frames: Frames, position: int) -> tuple[Image, Image | None]:
    return frames[position], frames.alpha(position) if frames.has_alpha else None


class Condition:
    """A clip's maps as a ControlNet's first layers see them, kept on disk."""

    def __init__(self, branch: Branch, maps: Maps, kept: ArrayStore) -> None:
        self._branch, self._maps, self._kept = branch, maps, kept
        self._references: dict[Reference, Tensor] = {}

    def rows(self, sources: Sequence[Source]) -> Tensor:
        """(n, …) float32 on the CPU."""
        return torch.cat([self._row(source) for source in sources])

    def _row(self, source: Source) -> Tensor:
        if isinstance(source, Reference):
            if source not in self._references:
                self._references[source] = self._branch.embed(*self._maps.map(source))
            return self._references[source]
        position = min(source, len(self._maps) - 1)
        if position < len(self._kept):
            return torch.from_numpy(self._kept.read([position])).float()
        return self._branch.embed(*self._maps.map(position))


def embed_clip(branch: Branch, maps: Maps, folder: Path, progress: Progress) -> Condition:
    """A ControlNet's first layers over a clip's maps; an interrupted pass is continued."""
    dtype = kept_dtype(branch.placement.dtype)
    shape = branch.embed(*maps.map(0)).shape[1:]
    kept = min(len(maps), KEPT_BYTES // (math.prod(shape) * np.dtype(dtype).itemsize))
    with ArrayWriter(folder, shape, dtype) as writer, progress.stage("embed", kept, writer.count) as stage:
        while writer.count < kept:
            writer.append(branch.embed(*maps.map(writer.count)).numpy().astype(dtype))
            stage.advance()
    return Condition(branch, maps, ArrayStore(folder))


def kept_dtype(dtype: torch.dtype) -> str:
    """NumPy knows no bfloat16; float32 holds it exactly."""
    return "float16" if dtype == torch.float16 else "float32"
