"""Networks without their deeper blocks: what those said in an earlier step stands in for them."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError

SHALLOWEST = 2


class Remembered(nn.Module):
    """Takes the place of all blocks between the first and the last."""

    def __init__(self, upsampler: nn.Module) -> None:
        super().__init__()
        self.upsampler = upsampler
        self.resnets = (None,)
        """diffusers hands a block one skip for each: this one gets what the first block said to the deeper ones."""
        self.features: Tensor | None = None

    def forward(
        self,
        hidden_states: Tensor,
        temb: Tensor,
        res_hidden_states_tuple: tuple[Tensor, ...],
        upsample_size: Any = None,
    ) -> Tensor:
        assert self.features is not None
        brought: Tensor = self.upsampler(self.features, upsample_size)
        return brought


def shallow_unet(unet: Any) -> Any:
    """The first and the last block of a denoiser, with a `Remembered` between them; weights are shared."""
    if len(unet.up_blocks) < SHALLOWEST or not unet.up_blocks[-2].upsamplers:
        raise ModelError('"feature_cache" needs a denoiser of several sizes; this checkpoint\'s has one. Leave it out.')
    shallow = _sharing(unet)
    shallow.down_blocks = nn.ModuleList([unet.down_blocks[0]])
    shallow.mid_block = None
    shallow.up_blocks = nn.ModuleList([Remembered(unet.up_blocks[-2].upsamplers[0]), unet.up_blocks[-1]])
    return shallow


def shallow_controlnet(network: Any) -> Any:
    """The part of a ControlNet that speaks to the first block; what it says to the middle means nothing."""
    shallow = _sharing(network)
    shallow.down_blocks = nn.ModuleList([network.down_blocks[0]])
    shallow.mid_block = None
    shallow.controlnet_mid_block = nn.Identity()
    return shallow


def _sharing(network: nn.Module) -> Any:
    """A second network of the same parts, whose parts can be exchanged."""
    twin = copy.copy(network)
    twin.__dict__["_modules"] = dict(twin.__dict__["_modules"])
    return twin


def deep_shape(unet: Any, height: int, width: int) -> tuple[int, int, int]:
    """(C, h, w) of what the deeper blocks say of latents with these sides."""
    return int(unet.config.block_out_channels[1]), -(-height // 2), -(-width // 2)


class Listening:
    """Hears what a denoiser's deeper blocks hand to its last one, before it is brought to that one's size."""

    def __init__(self, unet: Any) -> None:
        self.heard: Tensor | None = None
        unet.up_blocks[-2].upsamplers[0].register_forward_pre_hook(self._hear)

    def _hear(self, module: nn.Module, given: tuple[Any, ...]) -> None:
        self.heard = given[0]

    def take(self) -> Tensor:
        heard, self.heard = self.heard, None
        assert heard is not None
        return heard


def silent(like: Tensor) -> Tensor:
    """A ControlNet's word to a middle block that isn't there."""
    return torch.zeros((), dtype=like.dtype, device=like.device)
