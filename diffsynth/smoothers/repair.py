"""Styled frames that are lost: painted anew from their neighbours before anything is smoothed."""

from collections.abc import Collection
from dataclasses import dataclass

from diffsynth.frames import Image
from diffsynth.smoothers.base import Frames
from diffsynth.smoothers.matching import Matcher
from diffsynth.smoothers.remapping import Vote


@dataclass(frozen=True)
class Repaired:
    """A styled clip whose frames `lost` are remapped from the nearest frame that isn't."""

    style: Frames
    lost: Collection[int]
    matcher: Matcher
    vote: Vote

    @property
    def height(self) -> int:
        return self.style.height

    @property
    def width(self) -> int:
        return self.style.width

    def __len__(self) -> int:
        return len(self.style)

    def __getitem__(self, position: int) -> Image:
        if position not in self.lost:
            return self.style[position]
        near = min((t for t in range(len(self.style)) if t not in self.lost), key=lambda t: abs(t - position))
        (nnf,) = self.matcher.nnfs([(near, position)])
        return self.vote(nnf, self.style[near])
