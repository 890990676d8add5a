"""A denoiser with its ControlNets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from diffsynth.attention.cross_frame import Attend, CrossFrameAttention, Links
from diffsynth.sd.control import Branch, ControlBranch
from diffsynth.sd.lora import Loras
from diffsynth.sd.picture_attention import LayerTokens, PictureAttention, PicturePrompt, Showing
from diffsynth.sd.placement import Placement
from diffsynth.sd.shallow import shallow_controlnet, shallow_unet


@dataclass(frozen=True)
class Networks:
    """A denoiser and its ControlNets, whose attention layers all follow the same links."""

    unet: Any
    branches: tuple[Branch, ...]
    links: Links
    placement: Placement
    loras: Loras = field(default_factory=Loras)
    showing: Showing = field(default_factory=Showing)

    @classmethod
    def linked(
        cls,
        unet: Any,
        branches: Sequence[Branch],
        attend: Attend,
        placement: Placement,
        merging: float = 0.0,
        loras: Loras | None = None,
        pictures: Sequence[tuple[PicturePrompt, Mapping[str, LayerTokens]]] = (),
    ) -> "Networks":
        """`merging`: the share of tokens that fine layers merge. `pictures` are prompts of pictures, and what each says
        to the denoiser's layers by their names."""
        links = Links(merging=merging)
        for network in (unet, *(each.network for each in branches if isinstance(each, ControlBranch))):
            network.set_attn_processor(CrossFrameAttention(links, attend))
        showing = Showing(tuple(prompt for prompt, _ in pictures))
        if pictures:
            plain: dict[str, CrossFrameAttention] = dict(unet.attn_processors)
            for name in pictures[0][1]:
                plain[name] = PictureAttention(links, attend, showing, [layers[name] for _, layers in pictures])
            unet.set_attn_processor(plain)
        return cls(unet, tuple(branches), links, placement, loras or Loras(), showing)

    @property
    def guidance_width(self) -> int | None:
        """How long the vector is by which a distilled denoiser is told the guidance scale; None: it is not."""
        width = self.unet.config.time_cond_proj_dim
        return None if width is None else int(width)

    def compile(self) -> None:
        """In place; what is compiled is seen when the networks are first asked."""
        for network in (self.unet, *(each.network for each in self.branches if isinstance(each, ControlBranch))):
            network.compile()

    def shallow(self) -> "Networks":
        """Their outer blocks alone."""
        branches = tuple(
            replace(each, network=shallow_controlnet(each.network)) if isinstance(each, ControlBranch) else each
            for each in self.branches
        )
        return replace(self, unet=shallow_unet(self.unet), branches=branches)

    def among(self, shown: Sequence[int] | None) -> "Networks":
        """For a rendering of only these frames."""
        return replace(self, branches=tuple(each.among(shown) for each in self.branches), loras=self.loras.among(shown))
