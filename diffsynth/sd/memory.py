"""How much memory the networks take, from their settings alone; no torch, so that a check can tell it too."""

from dataclasses import dataclass
from typing import Literal

from diffsynth.sd.folders import Settings

MemoryMode = Literal["auto", "low"]
"""`low` keeps each network on the device only while it computes."""

ROW_TENSORS = 30
"""Activations at the finest level that lie side by side for one row at a denoiser's widest moment: skips, the
transformer's inner layer at four times the width, and what attention holds."""
SHARE = 0.6
"""Of the free memory so much is planned with; the rest is what the estimate does not know."""
LARGEST_CHUNK = 48
"""Beyond, a longer chunk saves next to nothing: the frames around it are few beside it already."""

KEPT_BYTES = 4 << 30
"""Of a condition's first layers so much is kept on disk; what lies beyond is computed anew at each step."""


@dataclass(frozen=True)
class Demand:
    """What a run keeps on its device, in bytes."""

    weights: int
    row: int
    """For each frame that goes through the networks at a time."""
    decoding: int
    """For one frame in the autoencoder's decoder."""

    def peak(self, rows: int) -> int:
        return self.weights + max(rows * self.row, self.decoding)

    def chunk(self, free: int, around: int) -> int:
        """The largest chunk that fits into `free` bytes, with `around` more rows beside its own frames."""
        rows = int((SHARE * free - self.weights) // max(self.row, 1))
        return min(max(rows - around, 1), LARGEST_CHUNK)


def demand(unet: Settings, weights: int, height: int, width: int, *, pattern: int, sides: int, itemsize: int) -> Demand:
    """`weights` are the networks' bytes on the device; `pattern` how many frames a frame attends to."""
    tokens = (height // 8) * (width // 8)
    channels = int(unet["block_out_channels"][0])
    row = sides * tokens * channels * itemsize * (ROW_TENSORS + 2 * pattern)
    decoding = height * width * 512 * itemsize
    return Demand(weights, row, decoding)
