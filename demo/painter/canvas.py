"""From parts to pixels: which part is seen where, and how each of its points has moved.

Everything that styles, depth, flow and segmentation need is looked up from one map of part numbers.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.painter.parts import Part
from demo.painter.scene import Scene
from demo.painter.shapes import apply, invert
from demo.painter.stage import set_stage

Size = tuple[int, int]
"""Width and height in pixels."""
Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

FINE = 2
"""Parts are drawn this many times larger, so that colours have smooth borders."""
_SUBPIXEL = 4
MAX_PARTS = 250


@dataclass(frozen=True)
class Canvas:
    """One scene at one moment: what is where."""

    scene: Scene
    frame: float
    size: Size
    parts: tuple[Part, ...]
    fine: Bytes
    """Part numbers, FINE times as large as the picture."""

    @cached_property
    def seen(self) -> Bytes:
        """The part seen at each pixel's centre."""
        return np.ascontiguousarray(self.fine[FINE // 2 :: FINE, FINE // 2 :: FINE])

    @cached_property
    def grid(self) -> tuple[Floats, Floats]:
        """Scene coordinates of the pixels' centres."""
        width, height = self.size
        x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / height
        y = (np.arange(height, dtype=np.float32) + 0.5) / height
        return np.meshgrid(x, y)

    @cached_property
    def rest(self) -> tuple[Floats, Floats]:
        """Where each pixel's point was before anything moved: textures that use it stick to their things."""
        table = np.array([invert(part.motion).ravel() for part in self.parts], dtype=np.float32)
        x, y = self.grid
        a = table[self.seen]
        return a[..., 0] * x + a[..., 1] * y + a[..., 2], a[..., 3] * x + a[..., 4] * y + a[..., 5]

    @cached_property
    def within(self) -> tuple[Floats, Floats]:
        """Position inside the part's own bounding box, -1 … 1 from left to right and from top to foot."""
        boxes = []
        for part in self.parts:
            corners = np.concatenate(part.polygons)
            low, high = corners.min(0), np.minimum(corners.max(0), (9.0, 1.0))
            boxes.append([*((low + high) / 2), *(2 / np.maximum(high - low, 1e-6))])
        table = np.array(boxes, dtype=np.float32)[self.seen]
        x, y = self.rest
        across = (x - table[..., 0]) * table[..., 2]
        return np.clip(across, -1, 1), np.clip((y - table[..., 1]) * table[..., 3], -1, 1)

    @cached_property
    def nearness(self) -> Floats:
        """Exact depth in the sense of the depth nets: 0 at infinity, 1 at the lens."""
        table = np.array([part.nearness for part in self.parts], dtype=np.float32)[self.seen]
        return np.asarray(np.clip(table[..., 0] + table[..., 1] * self.grid[1], 0, 1), dtype=np.float32)

    @cached_property
    def lines(self) -> Floats:
        """Coverage (0 … 1) of the lines between families, about a hundredth of the height wide."""
        family = np.array([part.family for part in self.parts], dtype=np.uint8)[self.fine]
        line = np.zeros(family.shape, np.uint8)
        line[:, 1:] |= (family[:, 1:] != family[:, :-1]).view(np.uint8)
        line[1:] |= (family[1:] != family[:-1]).view(np.uint8)
        width = max(2, round(self.size[1] * FINE / 115))
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
        thick = cv2.dilate(line * np.uint8(255), brush)
        return cv2.resize(thick, self.size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)

    def coverage(self, chosen: NDArray[np.bool_]) -> Floats:
        """How much of each pixel is covered by the chosen parts."""
        mask = chosen.astype(np.uint8)[self.fine] * np.uint8(255)
        return cv2.resize(mask, self.size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def draw(scene: Scene, frame: float, size: Size) -> Canvas:
    """Cuts the scene's parts out at `frame`; nearer ones cover farther ones."""
    parts = set_stage(scene, frame)
    if len(parts) > MAX_PARTS:
        raise ValueError(f"scene {scene.seed} has {len(parts)} parts; a canvas holds {MAX_PARTS}")
    width, height = size
    scale = height * FINE
    fine = np.zeros((height * FINE, width * FINE), np.uint8)
    for number, part in enumerate(parts):
        for polygon in part.polygons:
            corners = apply(part.motion, polygon) * scale + (width * FINE / 2 - 0.5, -0.5)
            fixed = np.round(corners * (1 << _SUBPIXEL)).astype(np.int32)
            cv2.fillPoly(fine, [fixed], number, cv2.LINE_8, _SUBPIXEL)
    return Canvas(scene, frame, size, tuple(parts), fine)
