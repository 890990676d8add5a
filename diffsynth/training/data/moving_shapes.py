"""`moving_shapes`: a coloured shape on a dark ground that moves and turns at the borders."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from diffsynth.runtime import derive_seed, numpy_generator
from diffsynth.training.data.example import Chance, ClipSetConfig, Drawn, Pixels, Size
from diffsynth.training.data.strokes import Floats, bounced

SHAPES = ("disc", "ring", "square", "triangle", "cross")
COLOURS = {"red": (235, 70, 60), "green": (80, 205, 90), "blue": (80, 120, 245), "yellow": (240, 215, 70)}
RADII = 0.16, 0.24
"""The least and the largest, in shares of the frame's shorter side."""
Told = Literal["shape", "shape_and_colour"]


class MovingShapesConfig(ClipSetConfig):
    """Drawn shapes in four colours that move. Made as they are asked for."""

    type: Literal["moving_shapes"] = "moving_shapes"
    size: Size = (32, 32)
    """Side of the frames in pixels, or `[height, width]`."""
    frames: Annotated[int, Field(ge=1, le=4096)] = 8
    """Frames of a clip."""
    clips: Annotated[int, Field(ge=1)] = 10_000
    """Different clips; the shapes take turns."""
    set_seed: Annotated[int, Field(ge=0)] = 0
    """Another number is another set: the test set to a training set."""
    speed: Annotated[float, Field(ge=0, le=1)] = 0.08
    """The most that a shape moves from frame to frame, in shares of the frame's shorter side."""
    label: Told = "shape"
    """What a clip's class tells: one of five shapes, or of twenty shapes in a colour."""

    @model_validator(mode="after")
    def _sound(self) -> "MovingShapesConfig":
        if self.label == "shape_and_colour" and self.frame_channels == 1:
            sentence = 'must hold "frame_channels": 3 for "label": "shape_and_colour"'
            raise PydanticCustomError("problem", "{sentence}", {"sentence": sentence})
        return self

    def build(self) -> "MovingShapes":
        told = self.label
        return MovingShapes(*self.size, self.frames, self.frame_channels, self.clips, self.set_seed, self.speed, told)


@dataclass(frozen=True)
class Figure:
    """How one shape is drawn and where it goes."""

    shape: int
    colour: str
    radius: float
    centres: Floats
    """(F, 2) in pixels, as (x, y)."""
    velocity: tuple[float, float]

    @property
    def name(self) -> str:
        return f"{self.colour} {SHAPES[self.shape]}"

    @property
    def words(self) -> str:
        x, y = self.velocity
        way = ("right" if x > 0 else "left") if abs(x) > abs(y) else "down" if y > 0 else "up"
        return f"a {self.name} that moves {way}"


@dataclass(frozen=True)
class MovingShapes:
    """As `ClipSet`. Clip n shows shape n mod 5; everything else of it is drawn from `set_seed` and n."""

    height: int
    width: int
    frames: int
    channels: int = 3
    clips: int = 10_000
    set_seed: int = 0
    speed: float = 0.08
    told: Told = "shape"

    @property
    def classes(self) -> tuple[str, ...]:
        if self.told == "shape":
            return SHAPES
        return tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    @property
    def fingerprint(self) -> str:
        return f"{derive_seed(1, *map(repr, vars(self).values())):016x}"

    def __len__(self) -> int:
        return self.clips

    def figure(self, number: int) -> Figure:
        chance = numpy_generator(self.set_seed, "moving_shapes", number)
        side = min(self.height, self.width)
        radius = side * chance.uniform(*RADII)
        colour = list(COLOURS)[chance.integers(len(COLOURS))]
        angle, speed = chance.uniform(0, 2 * np.pi), self.speed * side * chance.uniform(0.3, 1)
        velocity = float(speed * np.cos(angle)), float(speed * np.sin(angle))
        ways = []
        for length, each in zip((self.width, self.height), velocity, strict=True):
            room = max(length / 2 - radius - 0.5, 0.0)
            ways.append(length / 2 + bounced(chance.uniform(-room, room), each, room, self.frames))
        return Figure(number % len(SHAPES), colour, radius, np.stack(ways, -1), velocity)

    def clip(self, number: int, chance: Chance) -> Drawn:
        figure = self.figure(number)
        return Drawn(self._painted(figure, figure.centres), self._label(figure), figure.words)

    @property
    def picture_count(self) -> int:
        return self.clips

    def image(self, number: int, chance: Chance) -> Drawn:
        figure = self.figure(number)
        one = figure.centres[[chance.integers(self.frames)]]
        return Drawn(self._painted(figure, one), self._label(figure), f"a {figure.name}")

    def _label(self, figure: Figure) -> int:
        return figure.shape if self.told == "shape" else self.classes.index(figure.name)

    def _painted(self, figure: Figure, centres: Floats) -> Pixels:
        cover = covered(figure.shape, centres, figure.radius, self.height, self.width)
        colour = np.array(COLOURS[figure.colour], dtype=np.float64)
        if self.channels == 1:
            colour = colour.mean(keepdims=True)
        return np.rint(cover[..., None] * colour).astype(np.uint8)


def covered(shape: int, centres: Floats, radius: float, height: int, width: int) -> Floats:
    """(F, H, W): how much of each pixel a shape covers that stands at `centres`."""
    y, x = np.mgrid[:height, :width] + 0.5
    away = np.stack([x, y], -1)[None] - centres[:, None, None]
    return np.asarray(np.clip(0.5 - outside(shape, away[..., 0], away[..., 1], radius), 0, 1))


def outside(shape: int, x: Floats, y: Floats, radius: float) -> Floats:
    """How far each point lies outside a shape about the origin; negative inside."""
    match SHAPES[shape]:
        case "disc":
            return np.asarray(np.hypot(x, y) - radius)
        case "ring":
            return np.asarray(np.abs(np.hypot(x, y) - 0.75 * radius) - 0.25 * radius)
        case "square":
            return np.asarray(np.maximum(abs(x), abs(y)) - 0.85 * radius)
        case "triangle":
            return np.asarray(np.maximum(0.894 * abs(x) - 0.447 * y - 0.45 * radius, y - 0.85 * radius))
        case _:
            bars = np.minimum(np.maximum(abs(x), 3.5 * abs(y)), np.maximum(3.5 * abs(x), abs(y)))
            return np.asarray(bars - radius)
