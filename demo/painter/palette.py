"""What each role looks like in each season and at each time of day."""

from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from demo.painter.parts import Paint

Season = Literal["spring", "summer", "autumn", "winter"]
Time = Literal["day", "sunset", "night"]
SEASONS: tuple[Season, ...] = get_args(Season)
TIMES: tuple[Time, ...] = get_args(Time)

Colour = tuple[float, float, float]
Colours = NDArray[np.float32]

# Top and foot, where a role has two.
ALWAYS: dict[str, Colour | tuple[Colour, Colour]] = {
    "trunk": (122, 82, 56),
    "wood": (150, 92, 54),
    "dark": (44, 40, 54),
    "glass": (186, 218, 236),
    "lamp": (255, 240, 170),
    "hub": (206, 206, 214),
    "trousers": (70, 78, 124),
    "cream": (252, 246, 228),
    "straw": (236, 200, 112),
    "door": (134, 74, 50),
    "chimney": (168, 104, 84),
    "smoke": (232, 232, 238),
    "snowball": (248, 250, 255),
    "blush": (244, 150, 136),
    "lips": (196, 62, 70),
    "wall0": (250, 232, 196),
    "wall1": (244, 208, 170),
    "wall2": (226, 232, 238),
    "wall3": (240, 190, 172),
    "toy0": (224, 62, 56),
    "toy1": (54, 116, 214),
    "toy2": (250, 176, 40),
    "toy3": (238, 112, 148),
    "toy4": (132, 78, 178),
    "toy5": (34, 166, 148),
    "skin0": (246, 206, 174),
    "skin1": (232, 178, 140),
    "skin2": (188, 128, 92),
    "skin3": (132, 86, 64),
    "hair0": (60, 44, 42),
    "hair1": (122, 74, 42),
    "hair2": (226, 176, 84),
    "hair3": (182, 84, 44),
    "hair4": (86, 66, 84),
    "snow_cap": (250, 251, 255),
}

SEASONAL: dict[Season, dict[str, Colour | tuple[Colour, Colour]]] = {
    "summer": {
        "grass": ((136, 204, 104), (60, 150, 66)),
        "hill": (74, 156, 104),
        "meadow": (112, 186, 100),
        "mountain": (112, 138, 190),
        "leaf0": (38, 132, 66),
        "leaf1": (70, 156, 58),
        "leaf2": (26, 108, 78),
        "pine": (24, 100, 80),
        "pine_top": (34, 120, 88),
        "road": ((222, 200, 162), (196, 170, 132)),
        "lake": ((96, 178, 226), (36, 108, 188)),
        "shore": (216, 204, 150),
        "roof": (214, 84, 62),
    },
    "autumn": {
        "grass": ((232, 196, 118), (190, 134, 58)),
        "hill": (196, 124, 60),
        "meadow": (218, 166, 84),
        "mountain": (146, 126, 150),
        "leaf0": (226, 104, 32),
        "leaf1": (196, 52, 40),
        "leaf2": (240, 174, 44),
        "pine": (88, 104, 56),
        "pine_top": (112, 122, 62),
        "road": ((204, 170, 136), (166, 126, 96)),
        "lake": ((150, 170, 182), (74, 112, 146)),
        "shore": (176, 134, 84),
        "roof": (150, 68, 54),
    },
    "winter": {
        "grass": ((226, 236, 250), (246, 249, 255)),
        "hill": (200, 216, 240),
        "meadow": (216, 228, 246),
        "mountain": (158, 182, 220),
        "leaf0": (190, 212, 236),
        "leaf1": (202, 220, 240),
        "leaf2": (178, 202, 230),
        "pine": (92, 142, 150),
        "pine_top": (236, 243, 251),
        "road": ((190, 202, 222), (170, 184, 208)),
        "lake": ((196, 224, 244), (140, 188, 226)),
        "shore": (232, 240, 250),
        "roof": (250, 252, 255),
    },
    "spring": {
        "grass": ((196, 234, 148), (132, 202, 92)),
        "hill": (144, 204, 130),
        "meadow": (176, 222, 134),
        "mountain": (150, 172, 212),
        "leaf0": (250, 162, 196),
        "leaf1": (254, 200, 220),
        "leaf2": (160, 212, 100),
        "pine": (66, 146, 104),
        "pine_top": (88, 166, 112),
        "road": ((232, 214, 184), (208, 186, 152)),
        "lake": ((146, 210, 236), (84, 160, 216)),
        "shore": (222, 214, 168),
        "roof": (226, 112, 96),
    },
}

SKY: dict[Time, dict[Season, tuple[Colour, Colour, Colour]]] = {
    "day": {
        "spring": ((104, 184, 244), (166, 216, 248), (246, 236, 236)),
        "summer": ((40, 124, 226), (104, 180, 242), (204, 234, 250)),
        "autumn": ((124, 160, 204), (196, 206, 214), (250, 228, 190)),
        "winter": ((170, 200, 232), (210, 226, 244), (242, 246, 252)),
    },
    "sunset": {
        "spring": ((96, 84, 168), (232, 124, 142), (255, 206, 132)),
        "summer": ((74, 56, 134), (222, 92, 96), (255, 180, 84)),
        "autumn": ((82, 48, 104), (214, 84, 64), (255, 164, 58)),
        "winter": ((104, 96, 170), (220, 138, 160), (255, 206, 164)),
    },
    "night": {
        "spring": ((10, 14, 52), (26, 38, 102), (66, 78, 150)),
        "summer": ((8, 12, 46), (20, 34, 92), (48, 74, 142)),
        "autumn": ((14, 12, 44), (36, 32, 84), (82, 66, 120)),
        "winter": ((14, 22, 60), (38, 58, 116), (92, 118, 176)),
    },
}

SUN: dict[Time, Colour] = {"day": (255, 240, 150), "sunset": (255, 226, 128), "night": (246, 244, 220)}
CLOUD: dict[Time, Colour] = {"day": (253, 253, 255), "sunset": (255, 186, 150), "night": (96, 108, 160)}
WINDOW: dict[Time, Colour] = {"day": (128, 176, 206), "sunset": (255, 222, 130), "night": (255, 214, 104)}

FIGMENTS = ("toy0", "toy1", "toy2", "toy4", "toy5", "leaf0", "leaf1", "leaf2", "roof", "lake", "cream", "mountain")


def daylight(colour: Colours, time: Time) -> Colours:
    """A day colour under the light of `time`."""
    if time == "day":
        return colour
    if time == "sunset":
        return np.asarray(colour * (0.97, 0.69, 0.56) + (20, 4, 4), dtype=np.float32)
    # Moonlight keeps the differences between light and dark things, so that night pictures hold their shapes.
    grey = colour @ np.array([0.3, 0.6, 0.1], dtype=np.float32)
    return np.asarray(
        colour * (0.32, 0.3, 0.36) + grey[..., None] * (0.03, 0.11, 0.26) * (0.3 + grey[..., None] / 200),
        dtype=np.float32,
    )


@cache
def sky(season: Season, time: Time) -> tuple[Colour, Colour, Colour]:
    return SKY[time][season]


def colour_of(paint: Paint, season: Season, time: Time, nudge: float = 0.0) -> tuple[Colours, Colours]:
    """The paint's colours (0 … 255) at its top and at its foot; `nudge` (-1 … 1) is the scene's own shade of it."""
    role = paint.role
    if role in ("sun", "cloud", "window"):
        table = {"sun": SUN, "cloud": CLOUD, "window": WINDOW}[role]
        top = np.array(table[time], dtype=np.float32)
        return top, np.asarray(top * paint.foot, dtype=np.float32)
    if role == "sky":
        _, middle, low = sky(season, time)
        return np.array(middle, dtype=np.float32), np.array(low, dtype=np.float32)
    if role in ("shadow", "reflection"):
        pair = SEASONAL[season]["grass" if role == "shadow" else "lake"]
        base = np.array(pair, dtype=np.float32).reshape(2, 3).mean(0) * (0.86 if role == "shadow" else 0.85)
        shaded = daylight(np.asarray(base, dtype=np.float32), time)
        return shaded, shaded
    day_top, day_foot = _by_day(role, season)
    day_top, day_foot = day_top * paint.light, day_foot * (paint.light * paint.foot)
    shade = nudge * np.array([7, 6, 8], dtype=np.float32)
    if paint.glows and time != "day":
        return np.clip(day_top, 0, 255), np.clip(day_foot, 0, 255)
    return (
        np.clip(daylight(np.clip(day_top + shade, 0, 255), time), 0, 255),
        np.clip(daylight(np.clip(day_foot + shade, 0, 255), time), 0, 255),
    )


def _by_day(role: str, season: Season) -> tuple[Colours, Colours]:
    lit = role.endswith("_lit")
    if role.startswith("figment"):
        role = FIGMENTS[int(role.removeprefix("figment"))]
    table = {**ALWAYS, **SEASONAL[season]}
    pair = np.array(table[role.removesuffix("_lit")], dtype=np.float32).reshape(-1, 3)
    if lit:
        pair = pair + (np.float32(255) - pair) * np.float32(0.5 if season == "winter" else 0.22)
    return pair[0], pair[-1]
