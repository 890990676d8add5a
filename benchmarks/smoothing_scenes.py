"""Clips whose motion, style and truth are known: what smoothing is measured on.

A scene gives a guide frame at any time; a `Styling` turns it into what a stylizer that flickers would have made of it,
and into what it would have made without flicker.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Field = NDArray[np.float32]


def texture(seed: int, side: int, coarse: float, colour: tuple[int, int, int]) -> Field:
    """A (side, side, 3) periodic surface in 0…255: soft clouds, fine grain and a few hard-edged shapes."""
    draw = np.random.default_rng(seed)
    surface = np.empty((side, side, 3), np.float32)
    surface[:] = colour
    for sigma, strength in ((coarse, 45.0), (coarse / 4, 30.0), (1.2, 14.0)):
        noise = cv2.GaussianBlur(np.tile(draw.standard_normal((side, side)).astype(np.float32), (3, 3)), (0, 0), sigma)
        noise = noise[side : 2 * side, side : 2 * side]
        surface += (noise / noise.std() * strength)[..., None] * draw.uniform(0.5, 1.0, 3).astype(np.float32)
    for _ in range(18):
        centre = [int(each) for each in draw.integers(0, side, 2)]
        shade = [float(each) for each in draw.uniform(20, 235, 3)]
        cv2.circle(surface, centre, int(draw.integers(side // 60, side // 18)), shade, -1, cv2.LINE_AA)
    return np.clip(surface, 0, 255)


@dataclass(frozen=True)
class Layer:
    """A surface in motion. `pose(t)` is the 2×3 matrix from the picture's (x, y) to the surface's."""

    surface: Field
    pose: Callable[[int], NDArray[np.float64]]
    outline: Field | None = None
    """Opacity over the surface; None covers the whole picture."""

    def seen(self, t: int, size: tuple[int, int]) -> tuple[Field, Field]:
        """What of the surface each pixel shows, (H, W, 3), and its opacity, (H, W)."""
        columns, rows = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
        pose = self.pose(t).astype(np.float32)
        x = pose[0, 0] * columns + pose[0, 1] * rows + pose[0, 2]
        y = pose[1, 0] * columns + pose[1, 1] * rows + pose[1, 2]
        colour = cv2.remap(self.surface, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
        if self.outline is None:
            return colour, np.ones(size, np.float32)
        return colour, np.clip(cv2.remap(self.outline, x, y, cv2.INTER_LINEAR, borderValue=0.0), 0, 1)


@dataclass(frozen=True)
class Scene:
    """Layers from back to front."""

    name: str
    layers: tuple[Layer, ...]
    height: int
    width: int
    count: int

    def frame(self, t: int) -> Image:
        picture = np.zeros((self.height, self.width, 3), np.float32)
        for layer in self.layers:
            colour, opacity = layer.seen(t, (self.height, self.width))
            picture += (colour - picture) * opacity[..., None]
        return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)

    def front(self, t: int) -> NDArray[np.int8]:
        """(H, W): which layer is seen."""
        seen = np.zeros((self.height, self.width), np.int8)
        for number, layer in enumerate(self.layers):
            seen[layer.seen(t, (self.height, self.width))[1] > 0.5] = number
        return seen

    def places(self, t: int, other: int) -> tuple[Field, NDArray[np.bool_]]:
        """Where each pixel of frame `t` lies in frame `other`, (H, W, 2) as (row, column), and if it is seen there."""
        columns, rows = np.meshgrid(np.arange(self.width, dtype=np.float64), np.arange(self.height, dtype=np.float64))
        here, there = self.front(t), self.front(other)
        places = np.zeros((self.height, self.width, 2), np.float32)
        for number, layer in enumerate(self.layers):
            full = [np.vstack([layer.pose(each), [0, 0, 1]]) for each in (t, other)]
            step = np.linalg.inv(full[1]) @ full[0]
            mine = here == number
            places[mine, 1] = (step[0, 0] * columns + step[0, 1] * rows + step[0, 2])[mine]
            places[mine, 0] = (step[1, 0] * columns + step[1, 1] * rows + step[1, 2])[mine]
        nearest = np.rint(places).astype(int)
        inside = (nearest >= 0).all(2) & (nearest < (self.height, self.width)).all(2)
        clipped = np.clip(nearest, 0, (self.height - 1, self.width - 1))
        return places, inside & (there[clipped[..., 0], clipped[..., 1]] == here)

    def near_motion_boundary(self, t: int, reach: int = 6) -> NDArray[np.bool_]:
        """Pixels within `reach` of where one layer ends on another."""
        front = self.front(t)
        edge = np.zeros(front.shape, np.uint8)
        edge[:, 1:] |= front[:, 1:] != front[:, :-1]
        edge[1:] |= front[1:] != front[:-1]
        return cv2.dilate(edge, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0


def _pose(scale: float, angle: float, x: float, y: float, centre: tuple[float, float]) -> NDArray[np.float64]:
    """From the picture to a surface that is turned and scaled about `centre` of the picture, then shifted."""
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.hstack([turn, (np.array([x, y]) - turn @ np.array(centre))[:, None]])


def procedural(side: int = 256, count: int = 40) -> Scene:
    """A panning, slowly zooming ground; a turning disc and a box that cross it and each other, by parts of pixels."""
    scale = side / 256
    ground = Layer(
        texture(1, 2 * side, 24 * scale, (110, 130, 120)),
        lambda t: _pose(1 + 0.002 * t, 0.0, side + 1.37 * scale * t, side + 0.61 * scale * t, (side / 2, side / 2)),
    )
    coins = np.zeros((side, side), np.float32)
    cv2.circle(coins, (side // 2, side // 2), round(46 * scale), 1.0, -1, cv2.LINE_AA)
    disc = Layer(
        texture(2, side, 14 * scale, (190, 90, 60)),
        lambda t: _pose(
            1.0, 0.03 * t, side / 2, side / 2, (side * 0.25 + 2.3 * scale * t, side * (0.5 + 0.12 * np.sin(t / 6)))
        ),
        coins,
    )
    boxes = np.zeros((side, side), np.float32)
    boxes[round(96 * scale) : round(160 * scale), round(84 * scale) : round(172 * scale)] = 1
    box = Layer(
        texture(3, side, 18 * scale, (70, 90, 180)),
        lambda t: _pose(1.0, 0.0, side / 2, side / 2, (side * 0.8 - 2.9 * scale * t, side * 0.62 - 0.7 * scale * t)),
        boxes,
    )
    return Scene("procedural", (ground, disc, box), side, side, count)


def photograph(name: str, surface: Image, side: int = 256, count: int = 40) -> Scene:
    """A crop that wanders over a photograph with a little turn and zoom."""
    room = (surface.shape[1] - side, surface.shape[0] - side)

    def pose(t: int) -> NDArray[np.float64]:
        x = side / 2 + room[0] * (0.5 + 0.35 * np.sin(t / 19))
        y = side / 2 + room[1] * (0.5 + 0.35 * np.cos(t / 23))
        return _pose(1 + 0.05 * np.sin(t / 13), 0.06 * np.sin(t / 11), x, y, (side / 2, side / 2))

    return Scene(name, (Layer(surface.astype(np.float32), pose),), side, side, count)


@dataclass(frozen=True)
class Look:
    """Parameters of the filter that stands for a stylizer."""

    contrast: float = 1.15
    saturation: float = 1.4
    hue: float = 0.35
    """Radians by which colours are turned about grey."""
    posterise: float = 0.6
    ink: float = 1.6

    def apply(self, frame: Image) -> Field:
        """Flattened surfaces, steps of tone, turned colours and dark lines where the tone changes; 0…255."""
        flat = cv2.bilateralFilter(frame, 5, 40, 3).astype(np.float32)
        grey = flat.mean(2, keepdims=True)
        chroma = flat - grey
        cos, sin = np.cos(self.hue), np.sin(self.hue)
        third, root = (1 - cos) / 3, sin / np.sqrt(3)
        turn = np.array(
            [
                [cos + third, third - root, third + root],
                [third + root, cos + third, third - root],
                [third - root, third + root, cos + third],
            ],
            np.float32,
        )
        steps = grey + self.posterise * 255 / 6 / (2 * np.pi) * np.sin(2 * np.pi * grey * 6 / 255)
        tone = 128 + (steps - 128) * self.contrast
        edges = cv2.GaussianBlur(flat.mean(2), (0, 0), 1.0) - cv2.GaussianBlur(flat.mean(2), (0, 0), 2.0)
        lines = np.minimum(edges, 0)[..., None] * self.ink
        return np.asarray(tone + chroma @ turn.T * self.saturation + lines, np.float32)


@dataclass(frozen=True)
class Styling:
    """A styled clip that flickers: its look changes with each frame, colours jump, noise comes and goes in places."""

    seed: int = 0
    mean: Look = field(default_factory=Look)
    jitter: float = 1.0
    noise: float = 1.0

    def styled(self, t: int, frame: Image) -> Image:
        """What the stylizer makes of frame `t`."""
        draw = np.random.default_rng((self.seed, t))
        a, b, c, d, e = draw.standard_normal(5) * self.jitter
        mean = self.mean
        look = Look(
            mean.contrast * (1 + 0.10 * a),
            mean.saturation * (1 + 0.15 * b),
            mean.hue + 0.12 * c,
            float(np.clip(mean.posterise + 0.15 * d, 0, 1)),
            mean.ink * (1 + 0.2 * e),
        )
        picture = look.apply(frame) + (draw.standard_normal(3) * 7 * self.jitter).astype(np.float32)
        height, width = frame.shape[:2]
        places = cv2.GaussianBlur(draw.standard_normal((height, width)).astype(np.float32), (0, 0), width / 12)
        strength = np.clip(0.5 + 0.5 * places / places.std(), 0, None)[..., None]
        blotches = cv2.GaussianBlur(draw.standard_normal((height, width, 3)).astype(np.float32), (0, 0), 5)
        grain = draw.standard_normal((height, width, 3)).astype(np.float32)
        picture += self.noise * strength * (blotches / blotches.std() * 10 + grain * 4)
        return np.rint(np.clip(picture, 0, 255)).astype(np.uint8)

    def true(self, frame: Image) -> Image:
        """The same without flicker."""
        return np.rint(np.clip(self.mean.apply(frame), 0, 255)).astype(np.uint8)

    @cached_property
    def name(self) -> str:
        return f"seed {self.seed}"
