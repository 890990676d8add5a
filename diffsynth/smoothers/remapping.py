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
"""Paints a target with its NNF from an image over the source; up to 8 channels."""

LAYER_BYTES = 10
"""A pixel of a layer: style, guide and weight."""
KEPT_LAYERS, KEPT_BYTES = 64, 1 << 30
"""How many layers of one target are kept between two looks at them. More are painted twice: neither a wide window nor
large frames may fill the memory."""


def looked_up(nnf_yx: Nnf, plane: Image) -> Image:
    """(H, W): the value that each pixel's match has. For what is smooth in itself: a vote costs ten times as much."""
    import cv2

    rows, columns = cv2.split(nnf_yx)
    places = cv2.merge([columns, rows])
    return np.asarray(cv2.remap(plane, places, np.empty(0), cv2.INTER_NEAREST), np.uint8)


@dataclass(frozen=True)
class Remapper:
    """One styled clip over its guide."""

    matcher: Matcher
    vote: Vote
    blending: Blending
    style: Recent[Image]

    @classmethod
    def of(cls, matcher: Matcher, vote: Vote, style: Frames, blending: Blending) -> "Remapper":
        return cls(matcher, vote, blending, Recent(style.__getitem__, capacity(style, 3)))

    def layers(self, sources: Sequence[int], t: int) -> Iterable[Layer]:
        """Each source as it looks at frame `t`, in their order."""
        height, width = self.matcher.guide[t].shape[:2]
        if len(sources) <= min(KEPT_LAYERS, KEPT_BYTES // (height * width * LAYER_BYTES)):
            return list(self._layers(sources, t))
        return _Again(lambda: self._layers(sources, t))

    def _layers(self, sources: Sequence[int], t: int) -> Iterator[Layer]:
        nnfs = self.matcher.nnfs([(source, t) for source in sources if source != t])
        for source in sources:
            yield self.own(t) if source == t else self.painted(next(nnfs), source, t)

    def painted(self, nnf_yx: Nnf, source: int, t: int) -> Layer:
        """A source at frame `t`, with the weight that it deserves there."""
        guide = self.vote(nnf_yx, self.matcher.guide[source])
        return Layer(self.vote(nnf_yx, self.style[source]), guide, self.weight(guide, t))

    def weight(self, remapped_guide: Image, t: int) -> Field:
        guide = self.matcher.guide[t]
        if self.blending.kind == "mean":
            return np.ones(guide.shape[:2], np.float32)
        return confidence(remapped_guide, guide, self.blending.tolerance)

    def own(self, t: int) -> Layer:
        """Frame `t` itself: nothing to be unsure of."""
        style = self.style[t]
        return Layer(style, self.matcher.guide[t], np.ones(style.shape[:2], np.float32))

    def blend(self, layers: Iterable[Layer]) -> Blend:
        if self.blending.kind == "detail":
            layers = without_outliers(layers, self.blending.outliers)
        return mean(layers)

    def finished(self, blend: Blend, t: int) -> Image:
        """The blend as an output frame."""
        if self.blending.kind == "mean":
            return to_image(blend.style)
        style = self.style[t] if self.blending.own > 0 else None
        return to_image(restored(blend, self.matcher.guide[t], style, self.blending))


@dataclass(frozen=True)
class _Again:
    """Layers that are painted anew each time they are gone through."""

    paint: Callable[[], Iterator[Layer]]

    def __iter__(self) -> Iterator[Layer]:
        return self.paint()
