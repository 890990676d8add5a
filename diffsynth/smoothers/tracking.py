"""Where a search may start: at what matches of the source's neighbouring frames found."""

from dataclasses import dataclass

import numpy as np

from diffsynth.engines.base import Nnf, Pair
from diffsynth.smoothers.blending import confidence
from diffsynth.smoothers.matching import Matcher
from diffsynth.smoothers.remapping import Vote

SPREAD = 30.0
"""Grey levels: wide, so that of two bad candidates the better is told."""


@dataclass(frozen=True)
class Tracker:
    """For each pixel the best among the pair's own match and those of `reach` frames on both sides of the source."""

    matcher: Matcher
    vote: Vote
    reach: int
    count: int
    """Frames of the clip."""

    def __call__(self, pair: Pair) -> Nnf:
        source, target = pair
        near = range(max(0, source - self.reach), min(self.count, source + self.reach + 1))
        # The pair's own match comes first: it stays where another is no better.
        others = sorted((each for each in near if each != target), key=lambda each: abs(each - source))
        best: Nnf | None = None
        score = np.zeros(0, np.float32)
        for nnf in self.matcher.nnfs([(each, target) for each in others]):
            painted = self.vote(nnf, self.matcher.guide[source])
            fits = confidence(painted, self.matcher.guide[target], SPREAD)
            if best is None:
                best, score = nnf.copy(), fits
            else:
                better = fits > score
                best[better], score[better] = nnf[better], fits[better]
        assert best is not None
        return best
