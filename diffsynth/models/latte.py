"""Latte, after Ma et al., "Latte: Latent Diffusion Transformer for Video Generation".

Layers, names of weights and numbers are those of the published network in its first variant; the paper's other
variants share them as far as they have them.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, VideoShape
from diffsynth.models.latte_config import Variant
from diffsynth.models.layers import (
    Attention,
    Backend,
    LabelEmbedder,
    Mlp,
    PatchEmbedder,
    TimestepEmbedder,
    modulated,
)
from diffsynth.models.positions import spatial_table, temporal_table


class Block(nn.Module):
    """Attention over space or over time, and an MLP; each scaled, shifted and gated by time and condition."""

    def __init__(self, hidden: int, heads: int, mlp_ratio: float, backend: Backend, *, temporal: int | None) -> None:
        super().__init__()
        self.temporal = temporal is not None
        self.attn = Attention(hidden, heads, backend, temporal or None)
        self.mlp = Mlp(hidden, int(hidden * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 6 * hidden))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.adaLN_modulation(cond).chunk(6, -1)
        y = modulated(x, shift, scale)
        y = self.attn(y.transpose(1, 2)).transpose(1, 2) if self.temporal else self.attn(y)
        x = torch.addcmul(x, gate, y)
        return torch.addcmul(x, mlp_gate, self.mlp(modulated(x, mlp_shift, mlp_scale)))


class FinalLayer(nn.Module):
    def __init__(self, hidden: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(cond).chunk(2, -1)
        out: Tensor = self.linear(modulated(x, shift, scale))
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
        super().__init__()
        self.shape, self.condition, self.patch = shape, condition, patch
        self.checkpointing = False
        """Whether activations are computed anew on the way back instead of kept."""
        self.out_channels = shape.channels * (2 if learned_sigma else 1)
        self.x_embedder = PatchEmbedder(shape.channels, patch, tube, hidden)
        self.t_embedder = TimestepEmbedder(hidden)
        if condition.kind == "class":
            self.y_embedder = LabelEmbedder(condition.num_classes, hidden)
        self.pos_embed = _fixed(spatial_table(shape.height // patch, shape.width // patch, hidden))
        self.temp_embed = _fixed(temporal_table(shape.frames, hidden))
        self.blocks = nn.ModuleList(
            Block(hidden, heads, mlp_ratio, backend, temporal=0 if index % 2 else None) for index in range(depth)
        )
        self.final_layer = FinalLayer(hidden, patch * patch * self.out_channels)
        self._begin()

    def _begin(self) -> None:
        """The published start: each block passes its input on, and the answer is zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        for layer in (self.t_embedder.mlp[0], self.t_embedder.mlp[2]):
            nn.init.normal_(layer.weight, std=0.02)
        nn.init.xavier_uniform_(self.x_embedder.proj.weight.view(self.x_embedder.proj.weight.shape[0], -1))
        nn.init.zeros_(self.x_embedder.proj.bias)
        for block in (*self.blocks, self.final_layer):
            nn.init.zeros_(block.adaLN_modulation[1].weight)
            nn.init.zeros_(block.adaLN_modulation[1].bias)
        nn.init.zeros_(self.final_layer.linear.weight)

    def null_condition(self, batch: int) -> Tensor | None:
        """What `cond` is for videos that nothing is said of."""
        kind, device = self.condition.kind, self.pos_embed.device
        if kind == "class":
            return torch.full((batch,), self.condition.num_classes, device=device)
        if kind == "text":
            return torch.zeros((batch, self.condition.text_tokens, self.condition.text_dim), device=device)
        return None

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None, image_frames: int = 0) -> Tensor:
        frames = x.shape[1] - image_frames
        if frames != self.shape.frames:
            raise ModelError(f"The network is for {self.shape.frames} frames; it was given {frames}.")
        y = self.x_embedder(x) + self.pos_embed
        told = self.t_embedder(t)[:, None]
        if cond is not None and self.condition.kind == "class":
            labels = self.y_embedder(cond)
            told = told + (labels[:, None] if labels.ndim == 2 else labels)
        of_video = told[:, :1, None]
        of_all = of_video
        if told.shape[1] > 1:
            of_all = torch.cat([of_video.expand(-1, frames, -1, -1), told[:, 1:, None]], 1)
        first = True
        for block in self.blocks:
            if block.temporal:
                video, images = y[:, :frames], y[:, frames:]
                if first:
                    video, first = video + self.temp_embed[:, :, None], False
                y = (
                    torch.cat([self._through(block, video, of_video), images], 1)
                    if image_frames
                    else self._through(block, video, of_video)
                )
            else:
                y = self._through(block, y, of_all)
        return self._video(self.final_layer(y, of_all))

    def _through(self, block: nn.Module, x: Tensor, cond: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, cond, use_reentrant=False)  # type: ignore[no-any-return]
        out: Tensor = block(x, cond)
        return out

    def _video(self, patches: Tensor) -> Tensor:
        """(B, F, places, patch² · C) to (B, F, C, H, W)."""
        batch, frames = patches.shape[:2]
        height, width, side = self.shape.height // self.patch, self.shape.width // self.patch, self.patch
        apart = patches.view(batch, frames, height, width, side, side, self.out_channels)
        return apart.permute(0, 1, 6, 2, 4, 3, 5).reshape(batch, frames, self.out_channels, height * side, width * side)


def _fixed(table: Tensor) -> nn.Parameter:
    return nn.Parameter(table, requires_grad=False)
