"""A styled clip brought from one frame to another: matches of the guides, painted with the style."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from diffsynth.engines.base import Nnf
from diffsynth.frames import Image
from diffsynth.smoothers.base import Frames
from diffsynth.smoothers.blending import Blend, Blending, Field, Layer, confidence, mean, to_image, without_outliers
from diffsynth.smoothers.detail import restored
from diffsynth.smoothers.matching import Matcher, Recent, capacity

Vote = Callable[[Nnf, Image], Image]
"""Paints a target with its NNF from an image over the source; any number of channels up to 8."""

KEPT_LAYERS = 64
"""Layers of one target that are kept between the two looks at them; more are painted twice, so that memory stays flat."""


@dataclass(frozen=True)
class Remapper:
    """One styled clip over its guide."""

    matcher: Matcher
    vote: Vote
    blending: Blending
    both: Recent[Image]
    """Style and guide of a frame as one (H, W, 6) picture."""

    @classmethod
    def of(cls, matcher: Matcher, vote: Vote, style: Frames, blending: Blending) -> "Remapper":
        both = Recent(lambda t: np.dstack([style[t], matcher.guide[t]]), capacity(style, 6))
        return cls(matcher, vote, blending, both)

    def layers(self, sources: Sequence[int], t: int) -> Iterable[Layer]:
        """Each source as it looks at frame `t`, in their order."""
        if len(sources) <= KEPT_LAYERS:
            return list(self._layers(sources, t))
        return _Again(lambda: self._layers(sources, t))

    def _layers(self, sources: Sequence[int], t: int) -> Iterator[Layer]:
        nnfs = self.matcher.nnfs([(source, t) for source in sources if source != t])
        for source in sources:
            yield self.own(t) if source == t else self.painted(next(nnfs), self.both[source], t)

    def painted(self, nnf_yx: Nnf, both: Image, t: int) -> Layer:
        """A picture of style and guide at frame `t`, with the weight that it deserves there."""
        remapped = self.vote(nnf_yx, both)
        return Layer(remapped, self.weight(remapped[..., 3:6], t))

    def weight(self, remapped_guide: Image, t: int) -> Field:
        guide = self.matcher.guide[t]
        if self.blending.kind == "mean":
            return np.ones(guide.shape[:2], np.float32)
        return confidence(remapped_guide, guide, self.blending.tolerance)

    def own(self, t: int) -> Layer:
        """Frame `t` itself: nothing to be unsure of."""
        both = self.both[t]
        return Layer(both, np.ones(both.shape[:2], np.float32))

    def blend(self, layers: Iterable[Layer]) -> Blend:
        if self.blending.kind == "detail":
            layers = without_outliers(layers, self.blending.outliers)
        return mean(layers)

    def finished(self, blend: Blend, t: int) -> Image:
        """The blend as an output frame."""
        if self.blending.kind == "mean":
            return to_image(blend.style)
        style = self.both[t][..., :3]
        return to_image(restored(blend, self.matcher.guide[t], style, self.blending))


@dataclass(frozen=True)
class _Again:
    """Layers that are painted anew each time they are gone through."""

    paint: Callable[[], Iterator[Layer]]

    def __iter__(self) -> Iterator[Layer]:
        return self.paint()
