"""The blending core: what several frames, brought to one place, say about it together.

A plain mean of remapped frames blurs (matches are whole pixels, and some are wrong) and ghosts (what is hidden in a
source is painted anyway). Both show in the guide, whose remap can be compared with the guide that is really there:

- where a source's remapped guide differs from the target's, the source does not count there. That finds wrong matches
  and occlusions alike, pixel by pixel, and falls with every blur;
- what the blend of the remapped guides lacks against the true guide is what blending took away. The styled detail that
  went with it is put back through a local linear map from guide to style, fitted on the two blends themselves. The map
  and the guide are steady, so this brings detail back and no flicker.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diffsynth.frames import Image

Field = NDArray[np.float32]
"""(H, W) or (H, W, 3)."""

COARSE = 4
"""Outliers are judged on pictures so many times smaller: the low band, where flicker lives, at a sixteenth the work."""
STRIP = 32
"""Rows that are worked on at a time."""


@dataclass(frozen=True)
class Blending:
    """How frames that lie in one place become one."""

    kind: Literal["detail", "mean"] = "detail"
    tolerance: float = 10.0
    """Difference of the guides, in grey levels, at which a source's weight has fallen to 0.6."""
    outliers: float = 15.0
    """Difference from the blend's low band at which a source's weight has fallen to 0.6; 0 keeps every source."""
    restore: float = 1.0
    """How much of the detail that blending took away comes back, found by way of the guide."""
    own: float = 0.2
    """How much of the frame's own remaining detail comes back."""


@dataclass(frozen=True)
class Layer:
    """A source, or a blend of several, brought to the target."""

    style: Image
    guide: Image
    weight: Field
    """(H, W), 0 where it says nothing; how many frames it stands for elsewhere."""

    def shared(self, share: float, floor: float = 0.0) -> "Layer":
        """The layer with a share of its weight, which is at least `floor` everywhere."""
        return Layer(self.style, self.guide, (self.weight + np.float32(floor)) * np.float32(share))


@dataclass(frozen=True)
class Blend:
    """The weighted mean of layers."""

    style: Field
    guide: Field
    weight: Field
    """The sum of the layers' weights."""


def confidence(remapped: Image, guide: Image, tolerance: float) -> Field:
    """1 where a remapped guide shows what the target's shows, falling to 0 as they differ; (H, W)."""
    import cv2

    difference = cv2.absdiff(remapped, guide)
    square = cv2.transform(cv2.multiply(difference, difference, dtype=cv2.CV_32F), np.full((1, 3), 1 / 3, np.float32))
    # A single pixel can agree by chance; its neighbours rarely do as well.
    spread = cv2.GaussianBlur(square, (5, 5), 1.0)
    return np.asarray(cv2.exp(spread * np.float32(-0.5 / tolerance**2)), np.float32)


def mean(layers: Iterable[Layer]) -> Blend:
    """The weighted mean. One layer must have a weight everywhere."""
    import cv2

    blend: Blend | None = None
    for layer in layers:
        if blend is None:
            blend = Blend(
                np.zeros(layer.style.shape, np.float32),
                np.zeros(layer.guide.shape, np.float32),
                np.zeros(layer.weight.shape, np.float32),
            )
        for rows in strips(len(blend.weight)):
            add_product(layer.style[rows].astype(np.float32), layer.weight[rows], blend.style[rows])
            add_product(layer.guide[rows].astype(np.float32), layer.weight[rows], blend.guide[rows])
            blend.weight[rows] += layer.weight[rows]
    if blend is None:
        raise ValueError("nothing to blend")
    for rows in strips(len(blend.weight)):
        share = cv2.merge([1 / blend.weight[rows]] * 3)
        blend.style[rows] *= share
        blend.guide[rows] *= share
    return blend


def strips(height: int) -> Iterator[slice]:
    """All rows, a few at a time: what stays in the processor's cache takes half of the time."""
    return (slice(top, top + STRIP) for top in range(0, height, STRIP))


def add_product(picture: Field, factor: Field, total: Field) -> None:
    """Add a picture times a factor for each of its pixels to `total`: (H, W, 3), (H, W), (H, W, 3)."""
    import cv2

    cv2.accumulateProduct(picture, cv2.merge([factor] * 3), total)


def without_outliers(layers: Iterable[Layer], spread: float) -> Iterable[Layer]:
    """The layers with less weight where their low band is far from that of all layers together.

    `layers` is gone through twice, so that nothing needs to be kept but small pictures.
    """
    if spread <= 0:
        return layers
    return _Reweighted(layers, spread)


@dataclass(frozen=True)
class _Reweighted:
    layers: Iterable[Layer]
    spread: float

    def __iter__(self) -> Iterator[Layer]:
        import cv2

        smalls = [_coarse(layer) for layer in self.layers]
        weights = np.stack([weight for _, weight in smalls])[..., None]
        centre = (np.stack([style for style, _ in smalls]) * weights).sum(0) / np.maximum(weights.sum(0), 1e-6)
        for layer, (style, _) in zip(self.layers, smalls, strict=True):
            square = np.square(style - centre).mean(2)
            factor = np.exp(square * np.float32(-0.5 / self.spread**2))
            height, width = layer.weight.shape
            yield Layer(
                layer.style,
                layer.guide,
                layer.weight * cv2.resize(factor, (width, height), interpolation=cv2.INTER_LINEAR),
            )


def _coarse(layer: Layer) -> tuple[Field, Field]:
    import cv2

    height, width = layer.weight.shape
    size = (max(width // COARSE, 1), max(height // COARSE, 1))
    style = cv2.resize(layer.style, size, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(layer.weight, size, interpolation=cv2.INTER_AREA)
    return style.astype(np.float32), np.asarray(weight, np.float32)


def to_image(picture: NDArray[np.floating[Any]]) -> Image:
    """Rounded to the nearest of 256 levels."""
    image: Image = np.rint(np.clip(picture, 0, 255)).astype(np.uint8)
    return image
