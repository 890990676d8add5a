"""A canvas under the light of one season and time: clean colours, shading, glow. All styles start from it."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from demo.painter.canvas import Canvas, Floats
from demo.painter.palette import Season, Time, colour_of, sky
from demo.painter.texture import stars

GLOW_TINT = {"day": (0.25, 0.22, 0.12), "sunset": (0.55, 0.36, 0.16), "night": (0.5, 0.42, 0.24)}


@dataclass(frozen=True)
class Lit:
    canvas: Canvas
    season: Season
    time: Time

    @property
    def height(self) -> int:
        return self.canvas.size[1]

    @cached_property
    def flat(self) -> Floats:
        """(H, W, 3) in 0 … 1: each part's colour, its gradient and the sky's; borders are smooth."""
        canvas = self.canvas
        jitter = canvas.scene.jitter
        pairs = np.array(
            [
                colour_of(part.paint, self.season, self.time, jitter[number % len(jitter)])
                for number, part in enumerate(canvas.parts)
            ],
            dtype=np.float32,
        )
        pairs[self.sky_parts] = 0
        table = np.clip(pairs, 0, 255).astype(np.uint8)
        top, foot = (
            cv2.resize(table[:, k][canvas.fine], canvas.size, interpolation=cv2.INTER_AREA).astype(np.float32)
            for k in (0, 1)
        )
        down = (canvas.within[1][..., None] + np.float32(1)) * np.float32(0.5)
        colour = top + (foot - top) * down
        return np.asarray((colour + self.sky * canvas.coverage(self.sky_parts)[..., None]) / 255, dtype=np.float32)

    @cached_property
    def sky_parts(self) -> np.ndarray:
        return np.array([part.label == "sky" for part in self.canvas.parts])

    @cached_property
    def sky(self) -> Floats:
        """The whole sky behind everything, 0 … 255."""
        width, height = self.canvas.size
        y = (np.arange(height, dtype=np.float32) + 0.5) / height / self.canvas.scene.horizon
        bands = np.array(sky(self.season, self.time), dtype=np.float32)
        rows = np.stack([np.interp(y, (0.0, 0.5, 1.0), bands[:, k]) for k in range(3)], -1).astype(np.float32)
        picture = np.repeat(rows[:, None], width, 1)
        if self.time == "night":
            picture = picture + stars(self.canvas.scene.seed, self.canvas.size) * np.float32(190)
        return picture

    @cached_property
    def shine(self) -> Floats:
        """Coverage of what gives light: windows and lamps after dark, the sun or the moon."""
        glowing = np.array([part.paint.glows for part in self.canvas.parts])
        if self.time == "day":
            glowing &= np.array([part.label == "sun" for part in self.canvas.parts])
        return self.canvas.coverage(glowing)

    @cached_property
    def glow(self) -> Floats:
        spread = soften(self.shine, self.height * 0.045) + soften(self.shine, self.height * 0.015) * np.float32(0.5)
        around = spread * (1 - np.float32(0.75) * self.shine)
        return np.asarray(around[..., None] * np.array(GLOW_TINT[self.time], np.float32), dtype=np.float32)

    @cached_property
    def relief(self) -> Floats:
        """About -1 … 1: how much each point faces the light, as if every part were slightly rounded."""
        across, down = self.canvas.within
        side = np.float32(np.sign(self.canvas.scene.sun[0]) or 1.0)
        upright = np.array([part.label not in FLAT for part in self.canvas.parts], dtype=np.float32)
        rounded = np.float32(0.5) * side * across - np.float32(0.35) * down
        return np.asarray(rounded * upright[self.canvas.seen], dtype=np.float32)


FLAT = ("sky", "sun", "ground", "road", "lake", "mountain", "hill")


def soften(picture: Floats, sigma: float) -> Floats:
    """A Gaussian blur; wide ones at a reduced size, where nobody can tell."""
    step = int(max(1, sigma // 2))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
