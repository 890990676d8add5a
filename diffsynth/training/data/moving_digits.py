"""`moving_digits`: a drawn digit that moves and turns at the borders. Known class, known motion, no download."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from diffsynth.runtime import derive_seed, numpy_generator
from diffsynth.training.data.example import Chance, ClipSetConfig, Drawn, Size
from diffsynth.training.data.strokes import DIGITS, Floats, bounced, draw, segments

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HEIGHT, WIDTH, THICKNESS = 0.76, 0.58, 0.13
"""Of a digit, in shares of the frame's shorter side."""


class MovingDigitsConfig(ClipSetConfig):
    """Drawn digits that move; the class is the digit. Made as they are asked for."""

    type: Literal["moving_digits"] = "moving_digits"
    size: Size = (16, 16)
    """Side of the frames in pixels, or `[height, width]`."""
    frames: Annotated[int, Field(ge=1, le=4096)] = 8
    """Frames of a clip."""
    frame_channels: Literal[1, 3] = 1
    """1: grey clips; 3: the same in three channels."""
    clips: Annotated[int, Field(ge=1)] = 10_000
    """Different clips; the digits take turns."""
    set_seed: Annotated[int, Field(ge=0)] = 0
    """Another number is another set: the test set to a training set."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.15
    """How much size, slant and thickness vary."""
    speed: Annotated[float, Field(ge=0, le=1)] = 0.04
    """The most that a digit moves from frame to frame, in shares of the frame's shorter side."""

    def build(self) -> "MovingDigits":
        height, width = self.size
        return MovingDigits(
            height, width, self.frames, self.frame_channels, self.clips, self.set_seed, self.jitter, self.speed
        )


@dataclass(frozen=True)
class Look:
    """How one digit is drawn and where it goes."""

    digit: int
    ends: Floats
    thickness: float
    centres: Floats
    velocity: tuple[float, float]
    """Pixels a frame, right and down, before it turns anywhere."""


@dataclass(frozen=True)
class MovingDigits:
    """As `ClipSet`. Clip n shows the digit n mod 10; everything else of it is drawn from `set_seed` and n."""

    height: int
    width: int
    frames: int
    channels: int = 1
    clips: int = 10_000
    set_seed: int = 0
    jitter: float = 0.15
    speed: float = 0.04

    @property
    def classes(self) -> tuple[str, ...]:
        return NAMES

    @property
    def remarks(self) -> tuple[str, ...]:
        return ()

    @property
    def fingerprint(self) -> str:
        return f"{derive_seed(0, *map(repr, vars(self).values())):016x}"

    def __len__(self) -> int:
        return self.clips

    def look(self, number: int) -> Look:
        chance = numpy_generator(self.set_seed, "moving_digits", number)
        side, digit = min(self.height, self.width), number % 10
        tall, wide, thick = 1 + self.jitter * chance.uniform(-0.2, 0.2, 3)
        tall, wide = HEIGHT * side * tall, WIDTH * side * wide
        ends = (segments(DIGITS[digit]) - 0.5) * np.array([wide, tall])
        ends[..., 0] -= ends[..., 1] * self.jitter * chance.uniform(-0.25, 0.25)
        thickness = max(THICKNESS * side * thick, 1.0)
        rooms = [
            max((length - extent - thickness) / 2, 0.0)
            for length, extent in zip((self.width, self.height), np.ptp(ends.reshape(-1, 2), axis=0), strict=True)
        ]
        angle, speed = chance.uniform(0, 2 * np.pi), self.speed * side * chance.uniform(0.3, 1)
        velocity = float(speed * np.cos(angle)), float(speed * np.sin(angle))
        starts = [chance.uniform(-room, room) for room in rooms]
        ways = [bounced(*each, self.frames) for each in zip(starts, velocity, rooms, strict=True)]
        middle = np.array([self.width, self.height]) / 2 - (ends.min((0, 1)) + ends.max((0, 1))) / 2
        return Look(digit, ends, thickness, middle + np.stack(ways, -1), velocity)

    def clip(self, number: int, chance: Chance) -> Drawn:
        look = self.look(number)
        return Drawn(self._painted(look, look.centres), look.digit, f"a {NAMES[look.digit]} that moves")

    @property
    def picture_count(self) -> int:
        return self.clips

    def image(self, number: int, chance: Chance) -> Drawn:
        look = self.look(number)
        one = look.centres[[chance.integers(self.frames)]]
        return Drawn(self._painted(look, one), look.digit, f"a {NAMES[look.digit]}")

    def _painted(self, look: Look, centres: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        grey = np.rint(draw(look.ends, centres, look.thickness, self.height, self.width) * 255).astype(np.uint8)
        return np.repeat(grey[..., None], self.channels, axis=-1)
