"""What a real clip never tells: where each point goes, what gets covered, what is what."""

import numpy as np
from numpy.typing import NDArray

from demo.painter.canvas import Canvas, Floats
from demo.painter.shapes import compose, invert

LABELS = (
    "sky",
    "sun",
    "cloud",
    "mountain",
    "hill",
    "ground",
    "road",
    "lake",
    "tree",
    "house",
    "car",
    "boat",
    "ball",
    "figure",
    "snowman",
    "balloon",
    "shape",
    "person",
)


def segmentation(canvas: Canvas) -> NDArray[np.uint8]:
    """The index in `LABELS` of what is seen at each pixel."""
    table = np.array([LABELS.index(part.label) for part in canvas.parts], dtype=np.uint8)
    return table[canvas.seen]


def flow(canvas: Canvas, other: Canvas) -> Floats:
    """(H, W, 2): how far, in pixels, the point at each pixel has moved when `other` is painted. Exact."""
    table = np.array(
        [
            compose(there.motion, invert(here.motion)).ravel()
            for here, there in zip(canvas.parts, other.parts, strict=True)
        ],
        dtype=np.float64,
    )
    a = table[canvas.seen]
    x, y = canvas.grid
    moved = np.stack([a[..., 0] * x + a[..., 1] * y + a[..., 2] - x, a[..., 3] * x + a[..., 4] * y + a[..., 5] - y], -1)
    return np.asarray(moved * canvas.size[1], dtype=np.float32)


def occlusion(canvas: Canvas, other: Canvas) -> NDArray[np.bool_]:
    """True where the point at a pixel can't be seen in `other`: covered by another part, or outside the picture."""
    width, height = canvas.size
    moved = flow(canvas, other)
    x = np.rint(np.arange(width)[None] + moved[..., 0]).astype(np.int64)
    y = np.rint(np.arange(height)[:, None] + moved[..., 1]).astype(np.int64)
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    there = other.seen[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    return np.asarray(outside | (there != canvas.seen), dtype=np.bool_)
