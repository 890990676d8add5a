"""The pieces a picture is cut from. Back to front, each with its paint, its nearness and how it has moved."""

from dataclasses import dataclass, field

import numpy as np

from demo.painter.shapes import STILL, Affine, Polygon, compose, shift


@dataclass(frozen=True)
class Paint:
    """A colour by its role, so that season and time decide what it looks like.

    The role's colour is multiplied by `light` at the top of the piece and by `light * foot` at its foot.
    """

    role: str
    light: float = 1.0
    foot: float = 0.84
    glows: bool = False
    """Whether it keeps its colour after sunset, and shines."""


@dataclass(frozen=True)
class Shape:
    """A piece in the coordinates of the thing it belongs to: origin at its foot, unit its size."""

    paint: Paint
    polygons: tuple[Polygon, ...]
    motion: Affine = field(default_factory=lambda: STILL)
    """What the piece has done on its own since rest, e.g. a wheel's turn."""
    lined: bool = True
    """Whether styles that draw lines draw one around it."""


@dataclass(frozen=True)
class Part:
    label: str
    paint: Paint
    polygons: tuple[Polygon, ...]
    motion: Affine
    """From the rest position (before anything moved) to this moment. Every point of the part obeys it."""
    nearness: tuple[float, float]
    """Nearness 0 (far) … 1 (at the lens) as `a + b * y`."""
    family: int
    """No line is drawn between neighbours of one family."""


def place(
    shapes: list[Shape],
    label: str,
    *,
    foot: tuple[float, float],
    size: float,
    moved: tuple[float, float],
    nearness: float,
    family: int,
    ground_family: int,
) -> list[Part]:
    """Puts a thing's shapes into the scene; `moved` is how far the whole thing has gone since rest.

    A shadow belongs to the ground it falls on: nobody draws a line around it.
    """
    parts: list[Part] = []
    to_scene = np.array([[size, 0.0, foot[0]], [0.0, size, foot[1]]])
    to_shape = np.array([[1 / size, 0.0, -foot[0] / size], [0.0, 1 / size, -foot[1] / size]])
    for shape in shapes:
        own = compose(to_scene, compose(shape.motion, to_shape))
        if shape.lined:
            family += 1
        polygons = tuple(polygon * size + np.asarray(foot) for polygon in shape.polygons)
        own_family = ground_family if shape.paint.role == "shadow" else family
        parts.append(Part(label, shape.paint, polygons, compose(shift(*moved), own), (nearness, 0.0), own_family))
    return parts
