"""What the trainer and the sampler know of a backbone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from diffsynth.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

ConditionKind = Literal["none", "class", "text"]
Variant = Literal["interleaved", "sequential", "joint", "split"]
"""How Latte's blocks share space and time."""
Pooling = Literal["words", "mean", "first"]
"""How a text becomes one vector for the U-net."""
SkipFrom = Literal["attention", "convolution"]
"""What of its start the U-net's last block sees."""
TextScheduler = Literal[
    "checkpoint", "ddpm", "ddim", "pndm", "euler", "euler_ancestral", "heun", "dpmpp_2m", "dpmpp_2s", "deis", "unipc"
]
"""What a `LattePipeline` may be sampled with; `checkpoint` is the one in its folder."""


@dataclass(frozen=True)
class VideoShape:
    """What one video is to a network: pixels or latents."""

    frames: int
    channels: int
    height: int
    width: int

    def require(self, x: "Tensor", image_frames: int) -> None:
        """`ModelError` unless x (B, F + I, C, H, W) holds such videos, with so many pictures behind each."""
        made_for = (self.frames, self.channels, self.height, self.width)
        found = (x.shape[1] - image_frames, *x.shape[2:])
        if found != made_for:
            raise ModelError(
                f"The network is for videos of (frames, channels, height, width) = {made_for}; it was given {found}. "
                "Give it videos of that shape, or train one for yours."
            )


@dataclass(frozen=True)
class Condition:
    """What a network is told beside the noisy video."""

    kind: ConditionKind = "none"
    num_classes: int = 0
    """For `class`: labels are 0 … num_classes - 1, and num_classes means none."""
    text_dim: int = 0
    """For `text`: the width of the encoder's states."""
    text_tokens: int = 1
    """For `text`: how many tokens a prompt has, 1 for pooled states. Tokens that are all zero are padding."""
    dropout: float = 0.0
    """How often training leaves the condition out."""


class Backbone(Protocol):
    """A network that answers to noisy videos."""

    def __call__(self, x: "Tensor", t: "Tensor", cond: "Tensor | None", image_frames: int = 0) -> "Tensor":
        """(B, F + I, C', H, W) from x (B, F + I, C, H, W), whose last I frames are pictures of their own, and the
        timestep t (B), 0 … 1000.

        `cond` is labels, long (B), or (B, 1 + I) where pictures have their own; or a text's states (B, tokens, dim),
        (B, 1 + I, tokens, dim).
        """
        ...

    def null_condition(self, batch: int) -> "Tensor | None":
        """What `cond` is for videos that nothing is said of."""
        ...
