"""Paper, pigment and brush marks: periodic noise that can be laid on the picture or stuck to its things."""

from functools import cache

import cv2
import numpy as np

from demo.painter.canvas import Canvas, Floats, Size

_TILE = 512
_PERIOD = 1.6
"""Length of the noise's period, in picture heights."""


@cache
def noise(cells: int, seed: int) -> Floats:
    """Periodic smooth noise, `cells` blobs per period, mean 0 and deviation 1."""
    rng = np.random.default_rng([seed, cells])
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    tiled = np.tile(grid, (3, 3))
    large = cv2.resize(tiled, (3 * _TILE, 3 * _TILE), interpolation=cv2.INTER_CUBIC)[
        _TILE : 2 * _TILE, _TILE : 2 * _TILE
    ]
    return np.asarray((large - large.mean()) / large.std(), dtype=np.float32)


def sample(texture: Floats, x: Floats, y: Floats) -> Floats:
    """The texture at scene coordinates."""
    scale = np.float32(_TILE / _PERIOD)
    columns, rows = np.mod(x * scale, _TILE - 1), np.mod(y * scale, _TILE - 1)
    return np.asarray(cv2.remap(texture, columns, rows, cv2.INTER_LINEAR), dtype=np.float32)


def on_paper(canvas: Canvas, cells: int, seed: int) -> Floats:
    """Noise that stays with the picture plane, like the paper's grain."""
    x, y = canvas.grid
    start = np.float32(0.37 * (canvas.scene.seed % 97))
    return sample(noise(cells, seed), x + start, y + start)


def on_things(canvas: Canvas, cells: int, seed: int) -> Floats:
    """Noise that moves with the things it lies on, each part with its own piece."""
    x, y = canvas.rest
    offset = canvas.seen.astype(np.float32) * np.float32(0.173)
    return sample(noise(cells, seed), x + offset, y + offset)


def stars(seed: int, size: Size) -> Floats:
    """(H, W, 1) light of a handful of stars, the same for every moment and size."""
    rng = np.random.default_rng([seed, 0x57A2])
    width, height = size
    picture = np.zeros((height, width), np.float32)
    for _ in range(26):
        x, y, light = rng.uniform(-1, 1), rng.uniform(0, 0.5), rng.uniform(0.35, 1.0)
        column, row = int((x * height) + width / 2), int(y * height)
        if 0 <= column < width:
            cv2.circle(picture, (column * 16, row * 16), max(1, height // 20), float(light), -1, cv2.LINE_AA, 4)
    return picture[..., None]
