"""Sets a scene up at one moment: every part of the picture, back to front, where it is then."""

import numpy as np

from demo.painter import things
from demo.painter.parts import Paint, Part, Shape, place
from demo.painter.scene import Cloud, Face, Figment, Lake, Ridge, Road, Scene, Thing
from demo.painter.shapes import UPPER, Affine, Polygon, arc, box, compose, ellipse, shear, shift, turn

EDGE = 2.2
"""Half the width of everything that spans the picture, wide enough for any aspect and pan."""
FAR = 0.16
"""Nearness, and share of the pan, at the horizon."""

SIZES = {
    "tree": 0.34,
    "bush": 0.2,
    "house": 0.3,
    "car": 0.3,
    "boat": 0.27,
    "ball": 0.2,
    "figure": 0.33,
    "snowman": 0.26,
}
LABELS = {"bush": "tree"}


class Stage:
    """Collects the parts of one scene at one moment."""

    def __init__(self, scene: Scene, frame: float) -> None:
        self.scene, self.frame = scene, frame
        self.parts: list[Part] = []
        self.family = 0
        self.ground_family = 0

    def add(
        self,
        label: str,
        paint: Paint,
        polygons: tuple[Polygon, ...],
        motion: Affine,
        nearness: tuple[float, float],
        *,
        lined: bool = True,
    ) -> None:
        self.family += int(lined)
        self.parts.append(Part(label, paint, polygons, motion, nearness, self.family))

    def put(
        self,
        shapes: list[Shape],
        label: str,
        *,
        foot: tuple[float, float],
        size: float,
        moved: tuple[float, float],
        near: float,
    ) -> None:
        parts = place(
            shapes,
            label,
            foot=foot,
            size=size,
            moved=moved,
            nearness=near,
            family=self.family,
            ground_family=self.ground_family,
        )
        self.parts += parts
        self.family = max(self.family, *(part.family for part in parts))

    def ground_y(self, near: float) -> float:
        return self.scene.horizon + near * (1 - self.scene.horizon)

    def panned(self, share: float) -> float:
        return self.scene.pan * self.frame * share

    def sky(self) -> None:
        scene = self.scene
        self.add(
            "sky",
            Paint("sky", foot=1.0),
            (box(-EDGE, -0.1, EDGE, scene.horizon + 0.1),),
            shift(self.panned(0.0)),
            (0.0, 0.0),
        )
        x, y, size = scene.sun
        self.add("sun", Paint("sun", foot=1.0, glows=True), (ellipse(x, y, size),), shift(0), (0.0, 0.0))
        for cloud in scene.clouds:
            self.cloud(cloud)

    def cloud(self, cloud: Cloud) -> None:
        width = sum(radius for _, radius in cloud.puffs) * cloud.size
        x, polygons = cloud.x - width / 2, []
        for k, (lift, radius) in enumerate(cloud.puffs):
            middle = 1.0 if 0 < k < len(cloud.puffs) - 1 else 0.72
            r = radius * cloud.size
            polygons.append(arc(x + r, cloud.y, r * 1.25, (r + lift) * 1.25 * middle, span=UPPER, points=14))
            x += 1.2 * r
        self.add("cloud", Paint("cloud", foot=0.9), tuple(polygons), shift(cloud.speed * self.frame), (0.03, 0.0))

    def ridge(self, ridge: Ridge, label: str, role: str, near: float) -> None:
        scene = self.scene
        x = np.linspace(-EDGE, EDGE, 110)
        height = ridge.height + sum((a * np.sin(f * x + p) for f, a, p in ridge.waves), np.zeros_like(x))
        skyline = np.column_stack([x, scene.horizon - np.maximum(height, 0.006)])
        foot = scene.horizon + 0.02
        hill = np.concatenate([skyline, [[EDGE, foot], [-EDGE, foot]]])
        move = shift(self.panned(near))
        self.add(label, Paint(role, foot=0.96 if role != "mountain" else 1.1), (hill,), move, (near, 0.0))
        if role == "mountain":
            self.snow_caps(x, skyline[:, 1], move, near)

    def snow_caps(self, x: np.ndarray, top: np.ndarray, move: Affine, near: float) -> None:
        line = self.scene.horizon - 0.185 + 0.018 * np.sin(34 * x) + 0.01 * np.sin(71 * x)
        caps, run = [], []
        for k in range(len(x)):
            if top[k] < line[k]:
                run.append(k)
            elif run:
                caps.append(np.concatenate([np.c_[x[run], top[run]], np.c_[x[run], line[run]][::-1]]))
                run = []
        if not caps:
            caps = [box(-9, -9, -8.9, -8.9)]
        self.add("mountain", Paint("snow_cap"), tuple(caps), move, (near, 0.0))

    def ground(self) -> None:
        scene = self.scene
        slope = (1 - FAR) / (1 - scene.horizon)
        nearness = (FAR - slope * scene.horizon, slope)
        move = compose(shear(self.panned(slope), scene.horizon), shift(self.panned(FAR)))
        land = box(-EDGE * 2, scene.horizon, EDGE * 2, 1.2)
        # The last meadow runs into the ground without a line.
        self.add("ground", Paint("grass", foot=1.0), (land,), move, nearness, lined=self.parts[-1].label != "hill")
        self.ground_family = self.family
        if scene.road is not None:
            self.road(scene.road, move, nearness)
        if scene.lake is not None:
            self.lake(scene.lake, move, nearness)

    def road(self, road: Road, move: Affine, nearness: tuple[float, float]) -> None:
        near = np.linspace(0.0, 1.1, 18)
        middle = road.vanishing_x + road.bend * (near**1.4 - 0.28 * np.sin(np.pi * near))
        half, y = road.width * near * 0.5 + 0.006, self.scene.horizon + near * (1 - self.scene.horizon)
        band = np.concatenate([np.c_[middle - half, y], np.c_[middle + half, y][::-1]])
        self.add("road", Paint("road", foot=1.0), (band,), move, nearness)

    def lake(self, lake: Lake, move: Affine, nearness: tuple[float, float]) -> None:
        y, width = self.ground_y(lake.near), lake.width
        shore = ellipse(lake.x, y, width, width * 0.27, 40)
        wobble = 1 + 0.05 * np.sin(3 * np.linspace(0, 2 * np.pi, 40, endpoint=False) + 9 * lake.x)
        shore = (shore - [lake.x, y]) * wobble[:, None] + [lake.x, y]
        self.add("lake", Paint("shore", foot=1.0), (shore * [1, 1],), move, nearness)
        water = (shore - [lake.x, y]) * [0.955, 0.9] + [lake.x, y]
        self.add("lake", Paint("lake", foot=1.0), (water,), move, nearness, lined=False)

    def thing(self, thing: Thing) -> None:
        scale = SIZES[thing.kind] * thing.size * (0.34 + thing.near)
        share = FAR + (1 - FAR) * thing.near
        foot = (thing.x, self.ground_y(thing.near))
        going = thing.speed * (0.4 + 0.6 * thing.near) * self.frame
        reach = 1.2
        along = (thing.x + going + reach) % (2 * reach) - reach - thing.x if thing.speed else 0.0
        moved = (along + self.panned(share), 0.0)
        label = LABELS.get(thing.kind, thing.kind)
        self.put(things.shapes_of(thing, self.frame), label, foot=foot, size=scale, moved=moved, near=share)

    def balloon(self) -> None:
        if self.scene.balloon is None:
            return
        x, y, size, colour = self.scene.balloon
        drift = (0.0012 * self.frame, 0.008 * np.sin(0.07 * self.frame))
        self.put(things.balloon(colour), "balloon", foot=(x, y + size), size=size, moved=drift, near=0.1)

    def figment(self, figment: Figment, near: float) -> None:
        if figment.corners:
            angle = np.linspace(0, 2 * np.pi, figment.corners, endpoint=False)
            polygon = np.c_[figment.size * np.cos(angle), figment.size * figment.squeeze * np.sin(angle)]
        else:
            polygon = ellipse(0, 0, figment.size, figment.size * figment.squeeze)
        centre = (figment.x, figment.y)
        rest = turn(figment.angle, (0, 0))
        polygon = polygon @ rest[:, :2].T + centre
        wander = [40 * d * np.sin(0.025 * self.frame) for d in figment.drift]
        motion = compose(shift(*wander), turn(figment.spin * self.frame, centre))
        self.add("shape", Paint(f"figment{figment.colour}"), (polygon,), motion, (near, 0.0))

    def person(self, person: Face) -> None:
        unit = 0.24 * person.size
        shapes = things.face(person, self.frame)
        self.put(shapes, "person", foot=(person.x, person.y), size=unit, moved=(0.0, 0.0), near=0.9)


def set_stage(scene: Scene, frame: float) -> list[Part]:
    """Every part of the scene at `frame`. Their number and order don't depend on it."""
    stage = Stage(scene, frame)
    stage.sky()
    if scene.kind == "landscape" or scene.seed % 3:
        if scene.mountains is not None:
            stage.ridge(scene.mountains, "mountain", "mountain", 0.05)
        stage.balloon()
        stage.ridge(scene.hills, "hill", "hill", 0.1)
        stage.ridge(scene.meadow, "hill", "meadow", 0.14)
    stage.ground()
    for k, figment in enumerate(scene.figments):
        stage.figment(figment, 0.3 + 0.05 * k)
    for thing in scene.things:
        stage.thing(thing)
    for person in scene.faces:
        stage.person(person)
    return stage.parts
