"""Matches of one target that agree with one another: the blend that they make joins the search as a further guide."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffsynth.engines.base import Engine, Nnf
from diffsynth.frames import Image
from diffsynth.smoothers.blending import Blend, Layer, to_image
from diffsynth.smoothers.remapping import Remapper

ROUNDS = 2
"""Of matching against the blend and blending anew; a third changes little."""
TARGET = -1
"""The target's place among the frames of a call; sources keep their numbers."""


@dataclass(frozen=True)
class JointMatching:
    """Matches guides and styles at once. The engine gives its two guides the weights (guide_weight, 1)."""

    remapper: Remapper
    engine: Engine[Any]

    def blend(
        self, sources: Sequence[int], t: int, weights: Sequence[float], *, own: bool, floor: float = 0.0
    ) -> Blend:
        """Blend `sources` at frame `t`, each by its share of at least `floor`; with `own`, frame `t` itself too."""
        remapper = self.remapper
        others = [source for source in sources if source != t]
        weighing = dict(zip(sources, weights, strict=True))
        nnfs: Sequence[Nnf] = list(remapper.matcher.nnfs([(source, t) for source in others]))
        layers = self._layers(others, nnfs, t, weighing, own=own, floor=floor)
        frames: dict[int, Any] = {
            source: self.engine.frame([remapper.matcher.guide[source], remapper.style[source]]) for source in others
        }
        for _ in range(ROUNDS if others else 0):
            current: Image = to_image(remapper.blend(layers).style)
            frames[TARGET] = self.engine.frame([remapper.matcher.guide[t], current])
            nnfs = list(self.engine.estimate([(source, TARGET) for source in others], frames, None, nnfs).nnf_yx)
            layers = self._layers(others, nnfs, t, weighing, own=own, floor=floor)
        return remapper.blend(layers)

    def _layers(
        self,
        sources: Sequence[int],
        nnfs: Sequence[Nnf],
        t: int,
        weighing: dict[int, float],
        *,
        own: bool,
        floor: float,
    ) -> list[Layer]:
        layers = [
            self.remapper.painted(nnf, source, t).shared(weighing[source], floor)
            for source, nnf in zip(sources, nnfs, strict=True)
        ]
        return [*layers, self.remapper.own(t)] if own else layers
