"""Houses, trees, walkers: each is a list of shapes around the origin at its foot, one unit tall or so."""

from collections.abc import Callable

import numpy as np

from demo.painter.parts import Paint, Shape
from demo.painter.scene import Face, Thing, ThingKind
from demo.painter.shapes import UPPER, Polygon, apply, arc, box, capsule, compose, ellipse, outline, shift, smooth, turn

DARK = Paint("dark")
GLASS = Paint("glass", foot=1.1)


def shapes_of(thing: Thing, frame: float) -> list[Shape]:
    """The thing at `frame`, without its path across the picture."""
    return _DRAW[thing.kind](thing, frame)


def _shadow(width: float, y: float = 0.0) -> Shape:
    return Shape(Paint("shadow", foot=1.0), (ellipse(0.02, y, width, width * 0.18),), lined=False)


def _leaves(thing: Thing, offset: int = 0) -> str:
    return f"leaf{(thing.colour + offset) % 3}"


def _tree(thing: Thing, frame: float) -> list[Shape]:
    sway = turn(0.012 * np.sin(thing.phase + 0.12 * frame), (0.0, 0.0))
    trunk = smooth([(-0.05, 0.02), (-0.03, -0.25), (-0.035, -0.55), (0.035, -0.55), (0.03, -0.25), (0.05, 0.02)])
    shapes = [_shadow(0.24), Shape(Paint("trunk"), (trunk,), sway)]
    if thing.variant == 0:
        crown = (ellipse(-0.17, -0.5, 0.17), ellipse(0.17, -0.5, 0.17), ellipse(0, -0.72, 0.21), ellipse(0, -0.5, 0.17))
        lit = (ellipse(-0.05, -0.77, 0.12), ellipse(-0.2, -0.54, 0.09))
    elif thing.variant == 1:
        crown = tuple(
            smooth([(-w, y), (-w * 0.5, y - 0.13), (0, y - 0.36), (0.0, y - 0.36), (w * 0.5, y - 0.13), (w, y)], 4)
            for w, y in ((0.27, -0.12), (0.22, -0.34), (0.16, -0.56))
        )
        return [
            *shapes,
            Shape(Paint("pine", 0.92), crown[:1], sway),
            Shape(Paint("pine", 1.04), crown[1:2], sway),
            Shape(Paint("pine_top", 1.0), crown[2:], sway),
        ]
    else:
        crown = (smooth([(-0.19, -0.28), (-0.22, -0.65), (0, -1.06), (0.22, -0.65), (0.19, -0.28), (0, -0.2)]),)
        lit = (smooth([(-0.12, -0.42), (-0.13, -0.68), (-0.02, -0.9), (0.0, -0.6)]),)
    return [
        *shapes,
        Shape(Paint(_leaves(thing), foot=0.74), crown, sway),
        Shape(Paint(_leaves(thing) + "_lit", foot=0.95), lit, sway, lined=False),
    ]


def _bush(thing: Thing, _frame: float) -> list[Shape]:
    crown = (arc(-0.16, 0, 0.15, 0.2, UPPER), arc(0.14, 0, 0.15, 0.17, UPPER))
    return [
        _shadow(0.28),
        Shape(Paint(_leaves(thing, 1), foot=0.76), (*crown, arc(0, 0, 0.17, 0.29, UPPER))),
        Shape(Paint(_leaves(thing, 1) + "_lit"), (ellipse(-0.05, -0.19, 0.08, 0.06),), lined=False),
    ]


def _house(thing: Thing, frame: float) -> list[Shape]:
    wall = Paint(f"wall{thing.colour % 4}", foot=0.92)
    side = Paint(f"wall{thing.colour % 4}", 0.78, 0.9)
    window = Paint("window", foot=1.0, glows=True)
    tall = 1.0 if thing.variant else 1.12
    shapes = [_shadow(0.72, 0.01)]
    shapes += [
        Shape(Paint("chimney"), (box(0.2, -1.22 * tall, 0.32, -0.75 * tall),)),
        Shape(side, (box(0.12, -0.62 * tall, 0.55, 0.0),)),
        Shape(
            wall, (outline((-0.5, 0), (-0.5, -0.62 * tall), (-0.19, -1.04 * tall), (0.12, -0.62 * tall), (0.12, 0)),)
        ),
        Shape(
            Paint("roof", foot=0.88),
            (outline((-0.19, -1.12 * tall), (0.37, -1.12 * tall), (0.64, -0.58 * tall), (0.1, -0.58 * tall)),),
        ),
        Shape(
            Paint("roof", 0.8),
            (
                outline(
                    (-0.22, -1.12 * tall),
                    (-0.14, -1.12 * tall),
                    (-0.14, -1.0 * tall),
                    (-0.54, -0.52 * tall),
                    (-0.6, -0.6 * tall),
                ),
            ),
        ),
        Shape(Paint("door"), (smooth([(-0.26, 0), (-0.26, -0.36), (-0.12, -0.36), (-0.12, 0)], 3),)),
        Shape(window, (box(-0.43, -0.46, -0.31, -0.26), box(0.22, -0.46, 0.44, -0.24))),
        Shape(window, (ellipse(-0.19, -0.72 * tall, 0.065),)),
    ]
    if thing.variant != 1:
        for k in range(3):
            puff = ellipse(0.28 + 0.07 * k, -1.32 * tall - 0.13 * k, 0.06 + 0.022 * k)
            curl = shift(0.05 * (k + 1) / 2 * np.sin(1.3 * k + 0.1 * frame + thing.phase))
            shapes.insert(1, Shape(Paint("smoke", foot=0.97), (puff,), curl))
    return shapes


def _mirrored(polygon: Polygon, heading: float) -> Polygon:
    return polygon if heading > 0 else polygon * np.array([-1.0, 1.0])


def _car(thing: Thing, frame: float) -> list[Shape]:
    heading = 1.0 if thing.speed >= 0 else -1.0
    body = _mirrored(
        smooth(
            [(-0.52, -0.1), (-0.54, -0.34), (-0.36, -0.38), (0.3, -0.38), (0.52, -0.3), (0.56, -0.1), (0.5, -0.08)], 5
        ),
        heading,
    )
    cabin = _mirrored(
        smooth([(-0.42, -0.34), (-0.36, -0.66), (-0.2, -0.7), (0.1, -0.7), (0.22, -0.62), (0.36, -0.34)], 4), heading
    )
    panes = (
        smooth([(-0.29, -0.4), (-0.27, -0.6), (-0.2, -0.62), (-0.06, -0.62), (-0.06, -0.4)], 3),
        smooth([(0.0, -0.4), (0.0, -0.62), (0.1, -0.62), (0.14, -0.58), (0.23, -0.4)], 3),
    )
    lamp = _mirrored(ellipse(0.49, -0.25, 0.045, 0.05), heading)
    paint = Paint(f"toy{thing.colour}", foot=0.8)
    roll = thing.speed * frame / (0.145 * 0.36)
    shapes = [
        _shadow(0.58, 0.02),
        Shape(paint, (cabin,)),
        Shape(GLASS, tuple(_mirrored(pane, heading) for pane in panes)),
        Shape(paint, (body,)),
        Shape(Paint("lamp", glows=True), (lamp,)),
    ]
    for x in (-0.3, 0.3):
        spin = turn(roll, (x, -0.1))
        shapes.append(Shape(DARK, (ellipse(x, -0.1, 0.145),), spin))
        shapes.append(Shape(Paint("hub", foot=1.0), (ellipse(x, -0.1, 0.068),), spin))
    return shapes


def _boat(thing: Thing, frame: float) -> list[Shape]:
    rock = compose(
        shift(0, 0.012 * np.sin(thing.phase + 0.17 * frame)), turn(0.05 * np.sin(thing.phase + 0.11 * frame), (0, 0))
    )
    heading = 1.0 if thing.speed >= 0 else -1.0
    hull = smooth([(-0.42, -0.2), (-0.42, -0.2), (-0.28, 0.0), (0.28, 0.0), (0.46, -0.22), (0.46, -0.22)], 4)
    main = smooth([(0.04, -0.26), (0.04, -0.26), (0.04, -1.02), (0.04, -1.02), (0.3, -0.62), (0.42, -0.28)], 4)
    jib = outline((-0.03, -0.95), (-0.03, -0.28), (-0.34, -0.28))
    flag = outline((0.02, -1.06), (0.02, -0.98), (-0.12, -1.02))
    return [
        Shape(Paint("reflection", foot=1.0), (ellipse(0, 0.03, 0.44, 0.08),), lined=False),
        Shape(Paint("trunk"), (box(-0.02, -1.06, 0.02, -0.18),), rock),
        Shape(Paint(f"toy{thing.colour}", foot=0.88), (_mirrored(main, heading),), rock),
        Shape(Paint("cream", foot=0.92), (_mirrored(jib, heading),), rock),
        Shape(Paint("toy0"), (_mirrored(flag, heading),), rock),
        Shape(Paint("wood", foot=0.8), (_mirrored(hull, heading),), rock),
    ]


def _ball(thing: Thing, frame: float) -> list[Shape]:
    hop = -0.55 * abs(np.sin(thing.phase + 0.16 * frame))
    squash = 1.0 - 0.12 * max(0.0, 1 + hop / 0.12) if hop > -0.12 else 1.0
    lift = compose(shift(0, hop), turn(0.0, (0, 0), (2 - squash, squash)))
    spin = compose(lift, turn(thing.phase + thing.speed * frame / 0.06, (0, -0.25)))
    wedge = [
        arc(0, -0.25, 0.25, 0.25, (angle, angle + np.pi / 3), points=8) for angle in (0, 2 * np.pi / 3, 4 * np.pi / 3)
    ]
    stripes = tuple(np.concatenate([piece, [[0.0, -0.25]]]) for piece in wedge)
    return [
        _shadow(0.2),
        Shape(Paint(f"toy{thing.colour}"), (ellipse(0, -0.25, 0.25),), lift),
        Shape(Paint("cream"), stripes, spin, lined=False),
        Shape(Paint("cream", 1.06), (ellipse(0, -0.25, 0.07),), lift, lined=False),
    ]


def _figure(thing: Thing, frame: float) -> list[Shape]:
    heading = 1.0 if thing.speed >= 0 else -1.0
    swing = 0.5 * np.sin(thing.phase + 0.32 * frame)
    bob = shift(0, 0.012 * np.cos(2 * (thing.phase + 0.32 * frame)))
    coat, scarf = Paint(f"toy{thing.colour}"), Paint(f"toy{(thing.colour + 2) % 6}")
    body = smooth([(-0.1, -0.72), (-0.17, -0.32), (0.17, -0.32), (0.1, -0.72), (0, -0.78)], 5)
    hips, shoulder = (0.0, -0.36), (0.0, -0.66)
    leg, arm = capsule((0, -0.36), (0, -0.05), 0.1, 0.9), capsule((0, -0.65), (0, -0.42), 0.085, 0.9)
    boot = _mirrored(ellipse(0.03, -0.035, 0.085, 0.045), heading)
    shapes = [_shadow(0.2)]
    for way in (1, -1):
        step = compose(bob, turn(swing * way, hips))
        shapes.append(Shape(Paint("trousers", 1.0 if way < 0 else 0.8), (leg,), step))
        shapes.append(Shape(DARK, (boot,), step))
    shapes += [
        Shape(coat, (arm,), compose(bob, turn(swing * 1.1, shoulder))),
        Shape(coat, (body,), bob),
        Shape(Paint("skin0"), (ellipse(0.0, -0.88, 0.125, 0.13),), bob),
        Shape(scarf, (smooth([(-0.12, -0.77), (-0.12, -0.7), (0.12, -0.7), (0.12, -0.77)], 4),), bob),
        *_headgear(thing, bob, heading),
        Shape(DARK, (ellipse(0.06 * heading, -0.87, 0.02, 0.028),), bob, lined=False),
        Shape(coat, (arm,), compose(bob, turn(-swing * 1.1, shoulder))),
    ]
    return shapes


def _headgear(thing: Thing, bob: np.ndarray, heading: float) -> list[Shape]:
    if thing.variant == 0:
        cap = arc(0, -0.9, 0.135, 0.14, UPPER)
        return [
            Shape(Paint(f"toy{(thing.colour + 2) % 6}"), (cap,), bob),
            Shape(Paint("cream"), (ellipse(0, -1.05, 0.045),), bob),
        ]
    if thing.variant == 1:
        hair = smooth([(-0.14, -0.8), (-0.16, -0.98), (0, -1.06), (0.14, -0.98), (0.12, -0.92), (-0.04, -0.94)], 4)
        return [Shape(Paint(f"hair{thing.colour % 5}"), (_mirrored(hair, heading),), bob)]
    brim, crown = ellipse(0, -0.97, 0.2, 0.035), arc(0, -0.97, 0.12, 0.13, UPPER)
    return [Shape(Paint("straw"), (crown,), bob), Shape(Paint("straw", 1.05), (brim,), bob)]


def _snowman(_thing: Thing, _frame: float) -> list[Shape]:
    return [
        _shadow(0.3),
        Shape(Paint("snowball", foot=0.86), (ellipse(0, -0.24, 0.27, 0.26),)),
        Shape(Paint("snowball", foot=0.88), (ellipse(0, -0.62, 0.19),)),
        Shape(Paint("dark"), (box(-0.18, -0.82, 0.18, -0.77), box(-0.11, -1.0, 0.11, -0.79))),
        Shape(Paint("toy2"), (outline((0.0, -0.65), (0.2, -0.6), (0.0, -0.58)),)),
        Shape(DARK, (ellipse(-0.07, -0.69, 0.025), ellipse(0.07, -0.69, 0.025)), lined=False),
    ]


_DRAW: dict[ThingKind, Callable[[Thing, float], list[Shape]]] = {
    "tree": _tree,
    "bush": _bush,
    "house": _house,
    "car": _car,
    "boat": _boat,
    "ball": _ball,
    "figure": _figure,
    "snowman": _snowman,
}


def balloon(colour: int) -> list[Shape]:
    """A hot-air balloon, its basket at the origin."""
    bag = smooth([(-0.1, -0.5), (-0.62, -1.1), (-0.5, -1.85), (0.5, -1.85), (0.62, -1.1), (0.1, -0.5)], 6)
    gore = smooth([(-0.05, -0.52), (-0.26, -1.1), (-0.2, -1.8), (0.2, -1.8), (0.26, -1.1), (0.05, -0.52)], 6)
    return [
        Shape(DARK, (outline((-0.13, -0.2), (-0.1, -0.6), (-0.06, -0.6), (-0.09, -0.2)),)),
        Shape(DARK, (outline((0.13, -0.2), (0.1, -0.6), (0.06, -0.6), (0.09, -0.2)),)),
        Shape(Paint(f"toy{colour}"), (bag,)),
        Shape(Paint("cream"), (gore,)),
        Shape(Paint("wood"), (smooth([(-0.17, -0.25), (-0.14, 0), (0.14, 0), (0.17, -0.25)], 3),)),
    ]


def face(person: Face, frame: float) -> list[Shape]:
    """A head and shoulders around the middle of the head, whose half-height is the unit."""
    nod = compose(
        turn(0.06 * np.sin(person.phase + 0.13 * frame), (0, 1.0)),
        shift(person.sway * np.sin(person.phase + 0.09 * frame)),
    )
    hair, skin = Paint(f"hair{person.hair_colour}", foot=0.8), Paint(f"skin{person.skin}", foot=0.9)
    shirt = smooth([(-1.7, 3.4), (-1.55, 1.9), (-0.75, 1.45), (0.75, 1.45), (1.55, 1.9), (1.7, 3.4)], 6)
    mouth = smooth([(-0.28, 0.44), (0, 0.46 + 0.05 * person.smile), (0.28, 0.44), (0, 0.48 + 0.3 * person.smile)], 6)
    blink = 0.25 if (frame + 10 * person.phase) % 40 < 2 else 1.0
    eyes: list[Shape] = []
    for x in (-0.3, 0.3):
        lid = compose(nod, turn(0.0, (x, -0.05), (1.0, blink)))
        eyes.append(Shape(DARK, (ellipse(x, -0.05, 0.085, 0.12),), lid))
        eyes.append(Shape(Paint("cream"), (ellipse(x - 0.025, -0.09, 0.03),), lid, lined=False))
    brows = tuple(capsule((x - 0.15, -0.27), (x + 0.15, -0.3 + 0.03 * np.sign(x)), 0.06) for x in (-0.3, 0.3))
    head = smooth(
        [(-0.78, -0.5), (-0.82, 0.2), (-0.55, 0.85), (0, 1.08), (0.55, 0.85), (0.82, 0.2), (0.78, -0.5), (0, -1.1)]
    )
    behind, fringe = _hair(person.hair)
    shapes = [Shape(hair, behind, nod)] if behind else []
    shapes += [
        Shape(skin, (smooth([(-0.3, 0.7), (-0.34, 1.7), (0, 1.95), (0.34, 1.7), (0.3, 0.7)]),)),
        Shape(Paint(f"toy{person.shirt}", foot=0.75), (_without_collar(shirt),)),
        Shape(skin, (ellipse(-0.8, 0.05, 0.13, 0.2), ellipse(0.8, 0.05, 0.13, 0.2)), nod),
        Shape(skin, (head,), nod),
        Shape(Paint("blush"), (ellipse(-0.46, 0.33, 0.16, 0.1), ellipse(0.46, 0.33, 0.16, 0.1)), nod, lined=False),
        *eyes,
        Shape(hair, brows, nod),
        Shape(
            Paint(f"skin{person.skin}", 0.82),
            (smooth([(-0.02, 0.0), (0.13, 0.27), (-0.05, 0.27)], 4),),
            nod,
            lined=False,
        ),
        Shape(Paint("lips"), (mouth,), nod),
        Shape(hair, fringe, nod),
    ]
    return shapes


def _without_collar(shirt: Polygon) -> Polygon:
    return apply(shift(0, 0.12), shirt)


def _hair(style: int) -> tuple[tuple[Polygon, ...], tuple[Polygon, ...]]:
    """Outlines behind the head and in front of it."""
    fringe = smooth([(-0.86, 0.0), (-0.98, -0.75), (0, -1.42), (0.98, -0.75), (0.86, 0.0), (0.55, -0.5), (-0.3, -0.55)])
    if style == 0:
        return (), (fringe,)
    if style == 1:
        long = smooth([(-0.95, -0.7), (-1.15, 0.8), (-0.9, 1.75), (0.9, 1.75), (1.15, 0.8), (0.95, -0.7), (0, -1.3)])
        return (long,), (fringe,)
    if style == 2:
        return (ellipse(0.0, -1.35, 0.42),), (fringe,)
    curls = [ellipse(0.92 * np.cos(a), -0.45 + 0.8 * np.sin(a), 0.36) for a in np.linspace(*UPPER, 7)]
    return tuple(curls), (smooth([(-0.78, -0.3), (-0.8, -0.8), (0, -1.2), (0.8, -0.8), (0.78, -0.3), (0, -0.66)]),)
