"""What stands where: a scene is plain parameters, drawn from a seed, that every style, season and time shares."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

ThingKind = Literal["tree", "bush", "house", "car", "boat", "ball", "figure", "snowman"]
SceneKind = Literal["landscape", "shapes", "portrait"]

ABSTRACT_SHARE = 0.25
LEFT, RIGHT = -0.95, 0.95


@dataclass(frozen=True)
class Thing:
    """Something that stands on the ground (or the lake). `near` is 0 at the horizon and 1 at the picture's foot."""

    kind: ThingKind
    x: float
    near: float
    size: float = 1.0
    variant: int = 0
    colour: int = 0
    speed: float = 0.0
    phase: float = 0.0


@dataclass(frozen=True)
class Cloud:
    x: float
    y: float
    size: float
    puffs: tuple[tuple[float, float], ...]
    speed: float


@dataclass(frozen=True)
class Ridge:
    """A skyline: height above the horizon, and the waves it is made of (frequency, amplitude, phase)."""

    height: float
    waves: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Road:
    vanishing_x: float
    bend: float
    width: float


@dataclass(frozen=True)
class Lake:
    x: float
    near: float
    width: float


@dataclass(frozen=True)
class Figment:
    """One shape of an abstract scene."""

    corners: int  # 0 is an ellipse
    x: float
    y: float
    size: float
    squeeze: float
    angle: float
    colour: int
    drift: tuple[float, float]
    spin: float


@dataclass(frozen=True)
class Face:
    """A head and shoulders."""

    x: float
    y: float
    size: float
    hair: int
    hair_colour: int
    skin: int
    shirt: int
    smile: float
    sway: float
    phase: float


@dataclass(frozen=True)
class Scene:
    seed: int
    kind: SceneKind = "landscape"
    horizon: float = 0.5
    sun: tuple[float, float, float] = (0.3, 0.15, 0.06)
    pan: float = 0.0
    """How far the near ground moves to the right, in picture heights per frame."""
    mountains: Ridge | None = None
    hills: Ridge = Ridge(0.05, ())
    meadow: Ridge = Ridge(0.01, ())
    clouds: tuple[Cloud, ...] = ()
    road: Road | None = None
    lake: Lake | None = None
    balloon: tuple[float, float, float, int] | None = None
    things: tuple[Thing, ...] = ()
    figments: tuple[Figment, ...] = ()
    faces: tuple[Face, ...] = ()
    jitter: tuple[float, ...] = field(default=(0.0,) * 16)
    """Small shifts of colour, so that no two scenes share a palette exactly."""

    @classmethod
    def from_seed(cls, seed: int, kind: SceneKind | None = None) -> "Scene":
        rng = np.random.default_rng([seed, 0xD1F])
        chosen = rng.random()
        if kind is None:
            kind = "landscape" if chosen > ABSTRACT_SHARE else "shapes" if chosen > ABSTRACT_SHARE / 2 else "portrait"
        return _Draw(rng).scene(seed, kind)


class _Draw:
    """One scene's draws, in a fixed order, from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, count: int) -> int:
        return int(self.rng.integers(count))

    def side(self) -> float:
        return 1.0 if self.chance(0.5) else -1.0

    def scene(self, seed: int, kind: SceneKind) -> Scene:
        horizon = self.between(0.42, 0.6)
        backdrop = self.backdrop(seed, kind, horizon)
        if kind == "landscape":
            return self.landscape(backdrop)
        if kind == "portrait":
            faces = [self.face(self.between(-0.2, 0.2), self.between(0.75, 1.05))]
            if self.chance(0.25):
                faces = [self.face(-0.3, self.between(0.6, 0.75)), self.face(0.28, self.between(0.6, 0.8))]
            figments = tuple(self.figment() for _ in range(self.pick(3)))
            return _with(backdrop, faces=tuple(faces), figments=figments)
        return _with(backdrop, figments=tuple(self.figment() for _ in range(3 + self.pick(6))))

    def backdrop(self, seed: int, kind: SceneKind, horizon: float) -> Scene:
        return Scene(
            seed=seed,
            kind=kind,
            horizon=horizon,
            sun=(self.between(-0.42, 0.42), self.between(0.1, 0.24), self.between(0.05, 0.085)),
            pan=self.side() * self.between(0.002, 0.008),
            mountains=self.ridge(self.between(0.1, 0.17), 0.12, 5.5) if self.chance(0.7) else None,
            hills=self.ridge(self.between(0.04, 0.09), 0.06, 3.2),
            meadow=self.ridge(0.012, 0.02, 2.2),
            clouds=tuple(self.cloud(horizon) for _ in range(self.pick(4))),
            jitter=tuple(self.between(-1, 1) for _ in range(16)),
        )

    def ridge(self, height: float, roughness: float, frequency: float) -> Ridge:
        waves = tuple(
            (frequency * (k + 1) ** 0.9, roughness * self.between(0.4, 1.0) / (k + 1) ** 1.3, self.between(0, 6.28))
            for k in range(4)
        )
        return Ridge(height, waves)

    def cloud(self, horizon: float) -> Cloud:
        count = 3 + self.pick(2)
        puffs = tuple((self.between(-0.02, 0.02), self.between(0.04, 0.065)) for _ in range(count))
        y = self.between(0.07, horizon * 0.55)
        return Cloud(
            self.between(LEFT, RIGHT), y, self.between(0.8, 1.5), puffs, self.side() * self.between(0.001, 0.003)
        )

    def landscape(self, backdrop: Scene) -> Scene:
        ground = self.rng.random()
        road = lake = None
        if ground < 0.45:
            road = Road(self.between(-0.25, 0.25), self.between(-0.35, 0.35), self.between(0.2, 0.34))
        elif ground < 0.85:
            lake = Lake(self.between(-0.3, 0.3), self.between(0.3, 0.55), self.between(0.32, 0.52))
        standing = self.standing(lake)
        moving = self.moving(lake)
        balloon = None
        if self.chance(0.22):
            balloon = (self.between(-0.4, 0.4), self.between(0.14, 0.26), self.between(0.07, 0.1), self.pick(6))
        things = tuple(sorted(standing + moving, key=lambda thing: thing.near))
        return _with(backdrop, road=road, lake=lake, balloon=balloon, things=things)

    def standing(self, lake: Lake | None) -> list[Thing]:
        """Houses, trees and bushes, each on its own piece of dry land."""
        wanted: list[ThingKind] = ["house"] * (1 if self.chance(0.7) else 0)
        wanted += ["tree"] * (1 + self.pick(6)) + ["bush"] * self.pick(3)
        if self.chance(0.08):
            wanted.append("snowman")
        placed: list[Thing] = []
        for kind in wanted:
            for _ in range(6):
                near = self.between(0.16, 0.45) if kind == "house" else self.between(0.1, 0.85) ** 1.2
                x = self.between(-0.5, 0.5) if kind == "house" else self.between(LEFT, RIGHT)
                thing = Thing(
                    kind, x, near, self.between(0.85, 1.2), self.pick(3), self.pick(6), phase=self.between(0, 6.28)
                )
                dry = lake is None or not _wet(thing, lake)
                room = all(abs(x - other.x) > 0.13 * (0.6 + near) or abs(near - other.near) > 0.3 for other in placed)
                if dry and room:
                    placed.append(thing)
                    break
        return placed

    def moving(self, lake: Lake | None) -> list[Thing]:
        things: list[Thing] = []
        for kind, probability in (("car", 0.32), ("figure", 0.5), ("ball", 0.28)):
            if self.chance(probability):
                near = self.between(0.5, 0.92)
                speed = self.side() * self.between(0.003, 0.009)
                x = self.between(-0.4, 0.4)
                things.append(
                    Thing(
                        kind, x, near, self.between(0.9, 1.15), self.pick(3), self.pick(6), speed, self.between(0, 6.28)
                    )
                )
        if lake is not None and self.chance(0.75):
            near, speed = lake.near + self.between(0.0, 0.04), self.side() * self.between(0.001, 0.003)
            x = lake.x + self.between(-0.4, 0.4) * lake.width
            things.append(
                Thing("boat", x, near, self.between(0.9, 1.2), self.pick(2), self.pick(6), speed, self.between(0, 6.28))
            )
        return things

    def figment(self) -> Figment:
        return Figment(
            corners=(0, 0, 3, 4, 5, 6)[self.pick(6)],
            x=self.between(-0.55, 0.55),
            y=self.between(0.1, 0.9),
            size=self.between(0.08, 0.24),
            squeeze=self.between(0.55, 1.0),
            angle=self.between(0, 6.28),
            colour=self.pick(12),
            drift=(self.between(-0.006, 0.006), self.between(-0.003, 0.003)),
            spin=self.between(-0.04, 0.04),
        )

    def face(self, x: float, size: float) -> Face:
        return Face(
            x=x,
            y=self.between(0.42, 0.5) + 0.12 * (1 - size),
            size=size,
            hair=self.pick(4),
            hair_colour=self.pick(5),
            skin=self.pick(4),
            shirt=self.pick(6),
            smile=self.between(0.3, 1.0),
            sway=self.between(0.01, 0.03),
            phase=self.between(0, 6.28),
        )


def _wet(thing: Thing, lake: Lake) -> bool:
    return abs(thing.x - lake.x) < lake.width + 0.06 and abs(thing.near - lake.near) < 0.16 * lake.width / 0.4 + 0.1


def _with(scene: Scene, **changes: object) -> Scene:
    from dataclasses import replace

    return replace(scene, **changes)  # type: ignore[arg-type]
