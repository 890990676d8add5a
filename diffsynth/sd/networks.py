"""A denoiser with its ControlNets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffsynth.attention.cross_frame import Attend, CrossFrameAttention, Links
from diffsynth.sd.control import ControlBranch
from diffsynth.sd.placement import Placement
from diffsynth.sd.shallow import shallow_controlnet, shallow_unet


@dataclass(frozen=True)
class Networks:
    """A denoiser and its ControlNets, whose attention layers all follow the same links."""

    unet: Any
    branches: tuple[ControlBranch, ...]
    links: Links
    placement: Placement

    @classmethod
    def linked(
        cls,
        unet: Any,
        branches: Sequence[ControlBranch],
        attend: Attend,
        placement: Placement,
        merging: float = 0.0,
    ) -> "Networks":
        links = Links(merging=merging)
        for network in (unet, *(branch.network for branch in branches)):
            network.set_attn_processor(CrossFrameAttention(links, attend))
        return cls(unet, tuple(branches), links, placement)

    @property
    def guidance_width(self) -> int | None:
        """How long the vector is by which a distilled denoiser is told the guidance scale; None: it is not."""
        width = self.unet.config.time_cond_proj_dim
        return None if width is None else int(width)

    def compile(self) -> None:
        """In place; what is compiled is seen when the networks are first asked."""
        for network in (self.unet, *(branch.network for branch in self.branches)):
            network.compile()

    def shallow(self) -> "Networks":
        """Their outer blocks alone."""
        branches = (replace(each, network=shallow_controlnet(each.network)) for each in self.branches)
        return replace(self, unet=shallow_unet(self.unet), branches=tuple(branches))

    def among(self, shown: Sequence[int] | None) -> "Networks":
        """For a rendering of only these frames."""
        return replace(self, branches=tuple(replace(each, scale=each.scale.among(shown)) for each in self.branches))
