"""A few painted key frames and the clip that they belong to, to every frame of it."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from diffsynth.config import ConfigModel, OutputPath
from diffsynth.frames import Image
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import Frames, in_order
from diffsynth.smoothers.blending import Blending, mean
from diffsynth.smoothers.cuts import find_cuts
from diffsynth.smoothers.joint_matching import JointMatching
from diffsynth.smoothers.match_cache import MatchCache, open_cache
from diffsynth.smoothers.matching import Recent
from diffsynth.smoothers.patch import PatchSize
from diffsynth.smoothers.remapping import Remapper
from diffsynth.smoothers.window_smoother import Matching, native_matching
from diffsynth.smoothers.windows import Shot, shots

FAITH = 1e-3
"""Weight of a key frame where its guide doesn't fit at all: what no key frame shows must come from somewhere."""


class InterpolationConfig(ConfigModel):
    """How frames are painted between key frames."""

    minimum_patch_size: PatchSize = 5
    """Side of the square patches that are compared; odd."""
    num_iter: Annotated[int, Field(ge=1, le=100)] | None = None
    """Sweeps of search on each level; left out, as many as the engine finds useful."""
    guide_weight: Annotated[float, Field(gt=0)] = 10.0
    """Weight of the guides against the style, where key frames are made to agree."""
    initialize: Literal["identity", "random"] = "identity"
    """Where a search starts: at the same place, or anywhere."""
    tracking_window_size: Annotated[int, Field(ge=0, le=16)] = 0
    """Let a match also start from those of so many neighbours of its source, on either side; costs as many matches."""
    agree: bool = True
    """Whether the two key frames around a frame are matched once more so that they agree with each other there."""
    tolerance: Annotated[float, Field(gt=0)] = 6.0
    """Grey levels by which a guide may differ where it is brought to: there a key frame's weight has fallen to 0.6."""
    restore: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How much of the detail that remapping takes away is brought back by way of the guide."""
    detect_cuts: bool = True
    """Whether key frames serve only their own shot, where each shot has one."""
    cache_path: OutputPath | None = None
    """Folder for matches, which later runs take up; without one it is in the user's cache folder."""
    cache_gigabytes: Annotated[float, Field(ge=0)] = 4.0
    """The most that the folder may hold; 0 keeps nothing."""

    def build(self, runtime: Runtime) -> "Interpolator":
        return Interpolator(
            native_matching(
                runtime,
                patch=self.minimum_patch_size,
                sweeps=self.num_iter or 0,
                guide_weight=self.guide_weight,
                initialize=self.initialize,
                tracking=self.tracking_window_size,
            ),
            Blending("detail", self.tolerance, 0.0, self.restore, 0.0),
            open_cache(self.cache_path, self.cache_gigabytes),
            agree=self.agree,
            detect_cuts=self.detect_cuts,
        )


@dataclass(frozen=True)
class Interpolator:
    """Paints every frame from the key frames around it."""

    matching: Matching
    blending: Blending
    cache: MatchCache | None = None
    agree: bool = True
    detect_cuts: bool = True

    def frames(
        self, guide: Frames, keys: Sequence[int], painted: Callable[[int], Image], start: int = 0
    ) -> Iterator[Image]:
        """The frames from number `start` on. `keys` are the numbers of the key frames; `painted` reads one of them."""
        remapper = Remapper(
            self.matching.matcher(guide, self.cache), self.matching.vote, self.blending, Recent(painted, 4)
        )
        parts = shots(find_cuts(in_order(guide)) if self.detect_cuts else [], len(guide))
        known = sorted(keys)
        for shot in parts:
            for t in range(max(shot.first, start), shot.stop):
                yield painted(t) if t in keys else self._between(remapper, around(t, known, shot), t)

    def _between(self, remapper: Remapper, weights: dict[int, float], t: int) -> Image:
        sources = list(weights)
        shares = [weights[source] for source in sources]
        if self.agree and len(sources) > 1 and self.matching.joint is not None:
            blend = JointMatching(remapper, self.matching.joint).blend(sources, t, shares, own=False, floor=FAITH)
        else:
            layers = remapper.layers(sources, t)
            blend = mean(layer.shared(share, FAITH) for layer, share in zip(layers, shares, strict=True))
        return remapper.finished(blend, t)


def around(t: int, keys: Sequence[int], shot: Shot) -> dict[int, float]:
    """The key frames that frame `t` is painted from, with weights by distance that sum to 1.

    Those of its own shot, where there are any; else the nearest of all.
    """
    own = [key for key in keys if key in shot]
    if not own:
        return {min(keys, key=lambda key: (abs(key - t), key)): 1.0}
    place = bisect_left(own, t)
    if place == 0 or place == len(own):
        return {own[min(place, len(own) - 1)]: 1.0}
    before, after = own[place - 1], own[place]
    return {before: (after - t) / (after - before), after: (t - before) / (after - before)}
