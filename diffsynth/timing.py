"""When frames are shown."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Timing:
    """When each frame is shown, in ticks of `time_base` seconds. Ticks count from the source's zero, not from ours."""

    ticks: NDArray[np.int64]
    until: int
    """The tick at which the last frame goes away."""
    time_base: Fraction

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def start(self) -> Fraction:
        return int(self.ticks[0]) * self.time_base

    @property
    def end(self) -> Fraction:
        return self.until * self.time_base

    @property
    def duration(self) -> Fraction:
        return self.end - self.start

    def is_regular(self, fps: Fraction) -> bool:
        """Whether the frames sit on the grid of `fps`, up to the rounding of the time base."""
        step = 1 / (fps * self.time_base)
        numerator, denominator = step.numerator, step.denominator
        # Exact integers: a float grid would drift apart from the ticks over a long clip.
        grid = (np.arange(len(self.ticks), dtype=object) * numerator + denominator // 2) // denominator
        offset = np.abs((self.ticks - self.ticks[0]).astype(object) - grid)
        return bool(len(self.ticks) == 0 or max(offset) <= min(1, step / 2))
