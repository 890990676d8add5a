"""The space-time factored U-net of "Video Diffusion Models" (Ho et al.), as the published package of PyTorch builds it.

Layers, names of weights and numbers are that package's, so that its checkpoints load. Convolutions and attention over
places see one frame; frames meet in the attention over time, and in group norms, which pool over the whole video. So a
frame that is to see itself alone is a video of one frame, through and through.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diffsynth.errors import ModelError
from diffsynth.models.base import SkipFrom
from diffsynth.models.unet3d_layers import (
    Beside,
    FrameConv,
    FrameUpsample,
    LinearSpaceAttention,
    ResnetBlock,
    SpaceAttention,
    TimeAttention,
    TimeBias,
    Waves,
)

BERT_SIZE = 768
"""The width of BERT-base's states."""


class Level(nn.ModuleList):
    """Two blocks, attention over places, attention over time, and the way to the next level."""

    def over(self, y: Tensor, t: Tensor, bias: Tensor) -> Tensor:
        frames = bias.shape[-1]
        out: Tensor = self[3](self[2](self[1](self[0](y, frames, t), frames, t)), bias)
        return out


class Final(nn.Sequential):
    """The last block and the convolution to the answer."""

    def __init__(self, channels: int, dim: int, out: int, groups: int | None) -> None:
        super().__init__(ResnetBlock(channels, dim, groups), FrameConv(dim, out, 1))

    def over(self, x: Tensor, frames: int) -> Tensor:
        out: Tensor = self[1](self[0](x, frames))
        return out


class Unet3D(nn.Module):
    """Answers to noisy videos (B, C, F, H, W)."""

    def __init__(
        self,
        dim: int,
        cond_dim: int | None = None,
        out_dim: int | None = None,
        dim_mults: Sequence[int] = (1, 2, 4, 8),
        channels: int = 3,
        attn_heads: int = 8,
        attn_dim_head: int = 32,
        use_bert_text_cond: bool = False,  # noqa: FBT001, FBT002  as published
        init_dim: int | None = None,
        init_kernel_size: int = 7,
        use_sparse_linear_attn: bool = True,  # noqa: FBT001, FBT002
        block_type: Literal["resnet"] = "resnet",
        resnet_groups: int | None = None,
        *,
        skip_from: SkipFrom = "attention",
    ) -> None:
        """`cond_dim` is the width of the vector that says what a video shows: BERT-base's with `use_bert_text_cond`.

        Blocks are normed place by place as in version 0.7 of the package, or with `resnet_groups`, as before that, in
        groups of channels over the whole video. `skip_from` is what the last block sees of the network's start: the
        first attention, or the convolution in front of it as in some old versions; weights don't tell.
        """
        super().__init__()
        widths = [init_dim or dim, *(dim * each for each in dim_mults)]
        _require(block_type == "resnet", f'"block_type" is "{block_type}"; known is "resnet".')
        _require(dim >= 4 and dim % 2 == 0, f'"dim" is {dim}: it must be even, and at least 4.')
        sizes = (channels, attn_heads, out_dim or channels, *widths)
        _require(len(widths) > 1, '"dim_mults" is empty: each number in it is a level, and there must be one.')
        _require(min(sizes) >= 1, f"Channels, heads, answers and widths are {sizes}: none may be below 1.")
        _require(attn_dim_head >= 2 and attn_dim_head % 2 == 0, f'"attn_dim_head" is {attn_dim_head}: it must be even.')
        odd = f'"init_kernel_size" is {init_kernel_size}: it must be odd, so that a frame keeps its size.'
        _require(init_kernel_size % 2 == 1, odd)
        if resnet_groups is not None:
            _require_groups([dim, *widths], resnet_groups)
        self.dim, self.dim_mults, self.channels = dim, tuple(dim_mults), channels
        self.init_dim, self.out_dim = init_dim or dim, out_dim or channels
        self.attn_heads, self.attn_dim_head, self.init_kernel_size = attn_heads, attn_dim_head, init_kernel_size
        self.use_sparse_linear_attn, self.resnet_groups = use_sparse_linear_attn, resnet_groups
        self.skip_from = skip_from
        self.cond_dim = BERT_SIZE if use_bert_text_cond else cond_dim
        self.checkpointing = False
        """Whether activations are computed anew on the way back instead of kept."""
        told = 4 * dim + (self.cond_dim or 0)

        def level(channels: int, out: int, move: nn.Module) -> Level:
            space = Beside(out, LinearSpaceAttention(out, attn_heads)) if use_sparse_linear_attn else nn.Identity()
            blocks = ResnetBlock(channels, out, resnet_groups, told), ResnetBlock(out, out, resnet_groups, told)
            return Level([*blocks, space, over_time(out), move])

        def over_time(channels: int) -> Beside:
            return Beside(channels, TimeAttention(channels, attn_heads, attn_dim_head))

        self.time_rel_pos_bias = TimeBias(attn_heads)
        self.init_conv = FrameConv(channels, self.init_dim, init_kernel_size)
        self.init_temporal_attn = over_time(self.init_dim)
        self.time_mlp = nn.Sequential(Waves(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim))
        self.null_cond_emb = nn.Parameter(torch.randn(1, self.cond_dim)) if self.cond_dim else None
        ways = list(pairwise(widths))
        last = len(ways) - 1
        self.downs = nn.ModuleList(
            level(before, after, FrameConv(after, after, 4, 2) if index < last else nn.Identity())
            for index, (before, after) in enumerate(ways)
        )
        self.mid_block1 = ResnetBlock(widths[-1], widths[-1], resnet_groups, told)
        self.mid_spatial_attn = Beside(widths[-1], SpaceAttention(widths[-1], attn_heads))
        self.mid_temporal_attn = over_time(widths[-1])
        self.mid_block2 = ResnetBlock(widths[-1], widths[-1], resnet_groups, told)
        self.ups = nn.ModuleList(
            level(2 * after, before, FrameUpsample(before) if index < last else nn.Identity())
            for index, (before, after) in enumerate(reversed(ways))
        )
        self.final_conv = Final(2 * self.init_dim, dim, self.out_dim, resnet_groups)

    @property
    def has_cond(self) -> bool:
        return self.null_cond_emb is not None

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        cond: Tensor | None = None,
        null_cond_prob: float = 0.0,
        focus_present_mask: Tensor | None = None,
        prob_focus_present: float = 0.0,
    ) -> Tensor:
        """The answer (B, C', F, H, W) to x at timesteps `time` (B), told `cond` (B, cond_dim).

        With `null_cond_prob` a video is told nothing; where `focus_present_mask` (B) is true, or else with
        `prob_focus_present`, nothing passes between its frames.
        """
        batch = len(x)
        if focus_present_mask is None:
            focus_present_mask = _chosen(batch, prob_focus_present, x.device)
        told = None if cond is None else self.without(cond, _chosen(batch, null_cond_prob, x.device))
        return self.over_frames(x.transpose(1, 2), time, told, focus_present_mask).transpose(1, 2)

    def forward_with_cond_scale(
        self,
        x: Tensor,
        time: Tensor,
        cond: Tensor | None = None,
        *,
        cond_scale: float = 2.0,
        focus_present_mask: Tensor | None = None,
        prob_focus_present: float = 0.0,
    ) -> Tensor:
        """The answer told nothing, moved towards the one told `cond` by `cond_scale`."""
        if focus_present_mask is None:
            focus_present_mask = _chosen(len(x), prob_focus_present, x.device)
        said = self(x, time, cond, focus_present_mask=focus_present_mask)
        if cond_scale == 1 or not self.has_cond:
            return said  # type: ignore[no-any-return]
        nothing = self(x, time, cond, null_cond_prob=1.0, focus_present_mask=focus_present_mask)
        return nothing + (said - nothing) * cond_scale  # type: ignore[no-any-return]

    def without(self, cond: Tensor, nothing: Tensor) -> Tensor:
        """`cond` (B, cond_dim), replaced where `nothing` (B) is true by the vector that says so."""
        self._require_told(cond, len(nothing))
        assert self.null_cond_emb is not None
        return torch.where(nothing[:, None], self.null_cond_emb.to(cond.dtype), cond)

    def over_frames(self, x: Tensor, time: Tensor, told: Tensor | None, alone: Tensor | None = None) -> Tensor:
        """The answer (B, F, C', H, W) to x (B, F, C, H, W); where `alone` (B) is true, each frame is one video."""
        self._require_told(told, len(x))
        self._require_fit(x)
        if alone is None or not alone.any():
            return self._answered(x, time, told)
        out = x.new_empty((*x.shape[:2], self.out_dim, *x.shape[3:]))
        frames, single = x.shape[1], x[alone].flatten(0, 1)[:, None]
        each = None if told is None else told[alone].repeat_interleave(frames, 0)
        said = self._answered(single, time[alone].repeat_interleave(frames), each).view(-1, *out.shape[1:])
        out = out.to(said.dtype).index_put((alone,), said)
        if alone.all():
            return out
        rest = ~alone
        return out.index_put((rest,), self._answered(x[rest], time[rest], None if told is None else told[rest]))

    def _answered(self, x: Tensor, time: Tensor, told: Tensor | None) -> Tensor:
        batch, frames = x.shape[:2]
        bias = self.time_rel_pos_bias(frames)
        t = self.time_mlp(time.to(bias.dtype))
        t = t if told is None else torch.cat([t, told.to(t.dtype)], -1)
        first = self.init_conv(x.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        y = self.init_temporal_attn(first, bias)
        first = first if self.skip_from == "convolution" else y
        kept = []
        for level in _levels(self.downs):
            y = self._through(level.over, y, t, bias)
            kept.append(y)
            y = level[-1](y)
        y = self._through(self._middle, y, t, bias)
        for level in _levels(self.ups):
            y = level[-1](self._through(level.over, torch.cat([y, kept.pop()], 1), t, bias))
        y = self._through(self.final_conv.over, torch.cat([y, first], 1), frames)
        return y.view(batch, frames, *y.shape[1:])

    def _middle(self, y: Tensor, t: Tensor, bias: Tensor) -> Tensor:
        frames = bias.shape[-1]
        y = self.mid_spatial_attn(self.mid_block1(y, frames, t))
        out: Tensor = self.mid_block2(self.mid_temporal_attn(y, bias), frames, t)
        return out

    def _through(self, part: Callable[..., Tensor], *given: object) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(part, *given, use_reentrant=False)  # type: ignore[no-any-return]
        return part(*given)

    def _require_told(self, told: Tensor | None, batch: int) -> None:
        if told is None and self.cond_dim:
            raise ModelError(
                f"The network is told a vector of {self.cond_dim} numbers for each video, but none was given. "
                'Give "cond".'
            )
        if told is not None and (told.ndim != 2 or len(told) != batch):
            raise ModelError(
                f"There are {batch} videos, and what they are told is of the shape {tuple(told.shape)}. "
                f"Give one vector for each: ({batch}, {self.cond_dim})."
            )
        if told is not None and told.shape[-1] != self.cond_dim:
            raise ModelError(
                f"The network is told {self.cond_dim or 'no'} numbers for each video, but was given "
                f'{told.shape[-1]}. Set "cond_dim" to the width of what it is told.'
            )

    def _require_fit(self, x: Tensor) -> None:
        halved = 2 ** (len(self.dim_mults) - 1)
        if x.shape[2] != self.channels or x.shape[3] % halved or x.shape[4] % halved:
            raise ModelError(
                f"The network is for videos of {self.channels} channels whose sides are multiples of {halved}; "
                f"it was given {x.shape[2]} channels of {x.shape[3]}×{x.shape[4]}."
            )


def _levels(found: nn.ModuleList) -> Iterator[Level]:
    return iter(cast(Iterable[Level], found))


def _chosen(batch: int, share: float, device: torch.device) -> Tensor:
    """(B) true with a probability of `share`; no chance is asked where there is none."""
    _require(0 <= share <= 1, f"The probability {share} is none: give a number from 0 to 1.")
    if share in (0, 1):
        return torch.full((batch,), bool(share), device=device)
    return torch.rand(batch, device=device) < share


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001  as `assert` is written
    if not holds:
        raise ModelError(sentence)


def _require_groups(widths: list[int], groups: int) -> None:
    if any(width % groups for width in widths):
        raise ModelError(
            f'"resnet_groups" is {groups}, which must divide all widths of the network, {widths}. '
            'Choose another number of groups or "dim".'
        )
