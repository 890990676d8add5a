"""Latte, after Ma et al., "Latte: Latent Diffusion Transformer for Video Generation".

Layers, names of weights and numbers are those of the published network, which is the first of the paper's variants; the
other variants share them as far as they have them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, Variant, VideoShape
from diffsynth.models.latte_block import Block, kinds
from diffsynth.models.layers import Backend, LabelEmbedder, PatchEmbedder, TimestepEmbedder, modulated
from diffsynth.models.positions import spatial_table, temporal_table


class FinalLayer(nn.Module):
    """From hidden states to patches."""

    def __init__(self, hidden: int, out: int, *, tokens: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, out)
        if tokens:
            self.norm = nn.LayerNorm(hidden, eps=1e-6)
        else:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, cond: Tensor | None) -> Tensor:
        if cond is None:
            normed = self.norm(x)
        else:
            shift, scale = self.adaLN_modulation(cond).chunk(2, -1)
            normed = modulated(x, shift, scale)
        out: Tensor = self.linear(normed)
        return out


class Latte(nn.Module):
    """A `Backbone`."""

    def __init__(
        self,
        shape: VideoShape,
        condition: Condition,
        *,
        hidden: int,
        depth: int,
        heads: int,
        patch: int,
        tube: int | None = None,
        variant: Variant = "interleaved",
        tokens: bool = False,
        rotary: bool = False,
        mlp_ratio: float = 4.0,
        learned_sigma: bool = False,
        backend: Backend = "sdpa",
    ) -> None:
        """`tube` is how many frames a patch spans where it spans more than its own; `tokens` puts time and condition
        among the tokens; `rotary` tells frames apart by angles instead of a table; `learned_sigma` doubles the
        channels of the answer."""
        super().__init__()
        self.shape, self.condition = shape, condition
        self.patch, self.tube, self.tokens = patch, tube or 1, tokens
        self.checkpointing = False
        """Whether activations are computed anew on the way back instead of kept."""
        self.out_channels = shape.channels * (2 if learned_sigma else 1)
        self.x_embedder = PatchEmbedder(shape.channels, patch, tube, hidden)
        self.t_embedder = TimestepEmbedder(hidden)
        if condition.kind == "class":
            self.y_embedder = LabelEmbedder(condition.num_classes, hidden)
        if condition.kind == "text":
            self.text_embedding_projection = nn.Sequential(nn.SiLU(), nn.Linear(condition.text_dim, hidden))
        self.pos_embed = _fixed(spatial_table(shape.height // patch, shape.width // patch, hidden))
        moments = shape.frames // self.tube
        if not rotary:
            self.temp_embed = _fixed(temporal_table(moments, hidden))
        self.table_at = None if rotary else _first_in_time(variant, depth)
        turns = moments if rotary else None
        self.blocks = nn.ModuleList(
            Block(kind, hidden, heads, mlp_ratio, backend, turns=turns, tokens=tokens) for kind in kinds(variant, depth)
        )
        self.final_layer = FinalLayer(hidden, self.tube * patch * patch * self.out_channels, tokens=tokens)
        self._begin()

    def _begin(self) -> None:
        """The published start: each block passes its input on, and the answer is zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for layer in self.t_embedder.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
        patches = self.x_embedder.proj
        nn.init.xavier_uniform_(patches.weight.view(len(patches.weight), -1))
        for last in self.zero_at_start():
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def zero_at_start(self) -> list[nn.Module]:
        """The layers whose weights begin at zero."""
        modulations = [] if self.tokens else [each.adaLN_modulation for each in (*self.blocks, self.final_layer)]
        return [*modulations, self.final_layer.linear]

    def null_condition(self, batch: int) -> Tensor | None:
        """What `cond` is for videos that nothing is said of."""
        kind, device = self.condition.kind, self.pos_embed.device
        if kind == "class":
            return torch.full((batch,), self.condition.num_classes, device=device)
        if kind == "text":
            return torch.zeros((batch, self.condition.text_tokens, self.condition.text_dim), device=device)
        return None

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None, image_frames: int = 0) -> Tensor:
        """The answer (B, F + I, C', H, W) to x (B, F + I, C, H, W) at timesteps t (B); see `Backbone`."""
        self._require_fit(x, cond, image_frames)
        frames = self.shape.frames // self.tube
        y = self.x_embedder(self._held(x, image_frames)) + self.pos_embed
        told, shown = self._told(t, cond)
        told = _of_frames(told, frames)
        extra = told.shape[2] if self.tokens else 0
        modulation = None if self.tokens else told
        mask = None
        if self.tokens:
            y = torch.cat([told.expand(-1, y.shape[1], -1, -1), y], 2)
            mask = None if shown is None else self._mask(_of_frames(shown, frames), y)
        for index, block in enumerate(self.blocks):
            if index == self.table_at:
                y = y + functional.pad(self.temp_embed, (0, 0, 0, image_frames))[:, :, None]
            y = self._through(block, y, modulation, frames, mask)
        return self._video(self.final_layer(y[:, :, extra:], modulation), image_frames)

    def _through(
        self, block: nn.Module, y: Tensor, modulation: Tensor | None, frames: int, mask: Tensor | None
    ) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, y, modulation, frames, mask, use_reentrant=False)  # type: ignore[no-any-return]
        out: Tensor = block(y, modulation, frames, mask)
        return out

    def _told(self, t: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the network is told (B, 1 or 1 + I, tokens, hidden), and which of it isn't padding.

        Without `tokens` it is one sum; time and condition are two or more tokens with it.
        """
        time = self.t_embedder(t)[:, None, None]
        if cond is None:
            return time, None
        if self.condition.kind == "class":
            label = self.y_embedder(cond.reshape(len(cond), -1, 1))
            return (_joined(time, label) if self.tokens else time + label), None
        states = cond[:, None] if cond.ndim < 4 else cond
        states = states[:, :, None] if cond.ndim == 2 else states
        shown = (states != 0).any(-1)
        if self.tokens:
            told = _joined(time, self.text_embedding_projection(states))
            return told, functional.pad(shown, (1, 0), value=True)
        pooled = states.sum(2, keepdim=True) / shown.sum(2).clamp(min=1)[..., None, None]
        return time + self.text_embedding_projection(pooled.to(time.dtype)), None

    @staticmethod
    def _mask(shown: Tensor, y: Tensor) -> Tensor:
        """(B · G, 1, 1, places): padding is not attended to."""
        batch, rows, places = y.shape[:3]
        padded = functional.pad(shown, (0, places - shown.shape[2]), value=True)
        return padded.expand(-1, rows, -1).reshape(batch * rows, 1, 1, places)

    def _held(self, x: Tensor, image_frames: int) -> Tensor:
        """Where a patch spans several frames, a picture is a video that holds still for as long."""
        if self.tube == 1 or not image_frames:
            return x
        pictures = x[:, self.shape.frames :].repeat_interleave(self.tube, 1)
        return torch.cat([x[:, : self.shape.frames], pictures], 1)

    def _video(self, patches: Tensor, image_frames: int) -> Tensor:
        """(B, G, places, tube · patch² · C) to (B, F + I, C, H, W); of a picture, the mean over its tube."""
        batch, rows = patches.shape[:2]
        side, length, channels = self.patch, self.tube, self.out_channels
        height, width = self.shape.height, self.shape.width
        apart = patches.view(batch, rows, height // side, width // side, length, side, side, channels)
        frames = apart.permute(0, 1, 4, 7, 2, 5, 3, 6).reshape(batch, rows, length, channels, height, width)
        if length == 1:
            return frames[:, :, 0]
        video, pictures = frames[:, : rows - image_frames], frames[:, rows - image_frames :]
        return torch.cat([video.flatten(1, 2), pictures.mean(2)], 1)

    def _require_fit(self, x: Tensor, cond: Tensor | None, image_frames: int) -> None:
        self.shape.require(x, image_frames)
        if (cond is None) != (self.condition.kind == "none"):
            raise ModelError(
                f'The network\'s condition is "{self.condition.kind}", but '
                f"{'none was given' if cond is None else 'a condition was given'}."
            )
        own = cond is not None and cond.ndim == (2 if self.condition.kind == "class" else 4)
        if own and cond is not None and cond.shape[1] not in (1, 1 + image_frames):
            raise ModelError(
                f"There are {image_frames} pictures beside each video, but {cond.shape[1]} conditions for them. "
                "Give one for each video, or one more than there are pictures."
            )


def _first_in_time(variant: Variant, depth: int) -> int | None:
    """The first block that sees more than one frame: before it, frames are told their place."""
    return next((index for index, kind in enumerate(kinds(variant, depth)) if kind != "spatial"), None)


def _of_frames(told: Tensor, frames: int) -> Tensor:
    """(B, 1 or 1 + I, …) to (B, 1 or F + I, …): the first entry is for all frames of the video."""
    if told.shape[1] == 1:
        return told
    return torch.cat([told[:, :1].expand(-1, frames, *(-1,) * (told.ndim - 2)), told[:, 1:]], 1)


def _joined(time: Tensor, told: Tensor) -> Tensor:
    return torch.cat([time.expand(-1, told.shape[1], -1, -1), told], 2)


def _fixed(table: Tensor) -> nn.Parameter:
    return nn.Parameter(table, requires_grad=False)
