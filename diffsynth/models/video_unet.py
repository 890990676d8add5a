"""The U-net as trainer and sampler speak to a backbone: frames first, with pictures behind the video."""

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, Pooling, VideoShape
from diffsynth.models.unet3d import Unet3D


class VideoUnet(nn.Module):
    """A `Backbone`. Its weights are called as in checkpoints of the published package, `denoise_fn.` and all."""

    def __init__(
        self, network: Unet3D, shape: VideoShape, condition: Condition, *, pooling: Pooling = "words", clock: int = 1000
    ) -> None:
        super().__init__()
        self.denoise_fn = network
        self.shape, self.condition = shape, condition
        self.pooling, self.clock = pooling, clock
        if condition.kind == "class":
            assert network.cond_dim is not None
            self.classes = nn.Embedding(condition.num_classes, network.cond_dim)

    @property
    def checkpointing(self) -> bool:
        return self.denoise_fn.checkpointing

    @checkpointing.setter
    def checkpointing(self, wanted: bool) -> None:
        self.denoise_fn.checkpointing = wanted

    def null_condition(self, batch: int) -> Tensor | None:
        """What `cond` is for videos that nothing is said of."""
        device = next(self.denoise_fn.parameters()).device
        if self.condition.kind == "class":
            return torch.full((batch,), self.condition.num_classes, device=device)
        if self.condition.kind == "text":
            return torch.zeros((batch, self.condition.text_tokens, self.condition.text_dim), device=device)
        return None

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        cond: Tensor | None = None,
        image_frames: int = 0,
        focus: Tensor | None = None,
    ) -> Tensor:
        """The answer (B, F + I, C', H, W) to x (B, F + I, C, H, W) at timesteps t (B); see `Backbone`.

        A picture is a video of one frame. Where `focus` (B) is true, so is each frame of the video.
        """
        self.shape.require(x, image_frames)
        time = t * (self.clock / 1000)
        told = None if cond is None else self.told(cond, image_frames)
        frames = self.shape.frames
        said = self.denoise_fn.over_frames(x[:, :frames], time, None if told is None else told[:, 0], focus)
        if not image_frames:
            return said
        pictures = x[:, frames:].flatten(0, 1)[:, None]
        each = None if told is None else told[:, 1:].expand(-1, image_frames, -1).flatten(0, 1)
        beside = self.denoise_fn.over_frames(pictures, time.repeat_interleave(image_frames), each)
        return torch.cat([said, beside.view(len(x), image_frames, *beside.shape[2:])], 1)

    def told(self, cond: Tensor, image_frames: int = 0) -> Tensor:
        """(B, 1 + I, width): the vectors that stand for labels or a text's states."""
        if self.condition.kind == "class":
            labels = cond.view(len(cond), -1)
            nothing = labels == self.condition.num_classes
            vectors = self.classes(labels.masked_fill(nothing, 0))
        else:
            states = cond if cond.ndim == 4 else cond[:, None]
            nothing = (states == 0).flatten(2).all(-1)
            vectors = pooled(states, self.pooling)
        flat = self.denoise_fn.without(vectors.flatten(0, 1), nothing.flatten())
        vectors = flat.view(len(cond), -1, flat.shape[-1])
        if vectors.shape[1] == 1 and image_frames:
            return vectors.expand(-1, 1 + image_frames, -1)
        if vectors.shape[1] != 1 + image_frames:
            raise ModelError(
                f"There are {image_frames} pictures beside each video, but {vectors.shape[1]} conditions for them. "
                "Give one for each video, or one more than there are pictures."
            )
        return vectors


def pooled(states: Tensor, pooling: Pooling) -> Tensor:
    """(…, width) from a text's states (…, tokens, width); those that are all zero are padding."""
    if pooling == "first":
        return states[..., 0, :]
    words = states[..., 1:, :] if pooling == "words" else states
    count = (words != 0).any(-1).sum(-1, keepdim=True)
    return words.sum(-2) / count.clamp(min=1)
