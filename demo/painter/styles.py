"""Eight ways to paint the same thing. Each turns a lit canvas into a picture with colours 0 … 1."""

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np

from demo.painter.canvas import Floats
from demo.painter.light import Lit, soften
from demo.painter.texture import on_paper, on_things

Style = Literal["photo", "watercolor", "pencil", "neon", "pixel", "oil", "cartoon", "blueprint"]
STYLES: tuple[Style, ...] = get_args(Style)
LINE_STYLES: tuple[Style, ...] = ("pencil", "neon", "cartoon", "blueprint")

_GREY = np.array([0.3, 0.59, 0.11], dtype=np.float32)


def grey(picture: Floats) -> Floats:
    return np.asarray(picture @ _GREY, dtype=np.float32)


def saturate(picture: Floats, factor: float) -> Floats:
    middle = grey(picture)[..., None]
    return middle + (picture - middle) * np.float32(factor)


def photo(lit: Lit) -> Floats:
    """Soft light on rounded things, haze in the distance, dusk in the corners."""
    canvas = lit.canvas
    picture = lit.flat * (1 + np.float32(0.13) * lit.relief[..., None])
    solid = (canvas.nearness > 0.08)[..., None]
    grain = np.float32(0.018) * on_things(canvas, 20, 1) + np.float32(0.008) * on_things(canvas, 60, 2)
    picture = picture * (1 + grain[..., None] * solid)
    creases = soften(canvas.lines, lit.height * 0.012)[..., None]
    picture = picture * (1 - np.float32(0.2) * creases * solid)
    haze = np.clip(np.float32(0.24) - canvas.nearness, 0, 0.2)[..., None] * solid * np.float32(1.6)
    picture = picture + (lit.sky[-1, 0] / np.float32(255) - picture) * haze
    return picture + lit.glow


def watercolor(lit: Lit) -> Floats:
    """Thin pigment that gathers at the edges of each wash, on paper left white around it."""
    canvas = lit.canvas
    x, y = canvas.grid
    wobble = lit.height * 0.0045
    columns = np.arange(x.shape[1], dtype=np.float32) + wobble * on_paper(canvas, 26, 3)
    rows = np.arange(x.shape[0], dtype=np.float32)[:, None] + wobble * on_paper(canvas, 26, 4)
    wash = cv2.remap(lit.flat, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    pools = cv2.remap(canvas.lines, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    strength = np.float32(0.8) + np.float32(0.07) * on_paper(canvas, 8, 5) + np.float32(0.02) * on_paper(canvas, 44, 6)
    strength = strength + np.float32(0.5) * soften(pools, lit.height * 0.006)
    picture = 1 - (1 - saturate(wash, 1.12)) * strength[..., None]
    inset = np.minimum(np.minimum(y, 1 - y), x.shape[1] / x.shape[0] / 2 - np.abs(x)) + 0.012 * on_paper(canvas, 20, 7)
    paper = np.clip((np.float32(0.06) - inset) / np.float32(0.1), 0, 1)[..., None]
    return picture + (np.array([0.985, 0.975, 0.95], np.float32) - picture) * paper * np.float32(0.8)


def pencil(lit: Lit) -> Floats:
    """Graphite: dark lines, and tone by soft diagonal hatching."""
    canvas = lit.canvas
    tone = (1 - np.clip(grey(lit.flat) * (1 + np.float32(0.12) * lit.relief), 0, 1)) ** np.float32(1.4)
    x, y = canvas.grid
    waver = np.float32(0.9) * on_paper(canvas, 10, 8)
    hatch = np.sin((x + y) * np.float32(2 * np.pi * 22) + waver)
    shade = np.float32(0.4) * tone * (1 + np.float32(0.3) * (np.float32(1.15) - tone) * hatch)
    press = np.float32(0.78) + np.float32(0.1) * on_paper(canvas, 30, 9)
    picture = np.float32(0.97) - shade - canvas.lines * press * (np.float32(0.97) - shade)
    return picture[..., None] * np.array([1.0, 0.99, 0.965], np.float32)


def neon(lit: Lit) -> Floats:
    """Glass tubes in the dark; the hue tells the distance."""
    canvas = lit.canvas
    hue = np.float32(165) - np.float32(125) * soften(canvas.nearness, lit.height * 0.02)
    full = np.full_like(hue, 255)
    colour = cv2.cvtColor(
        np.stack([hue, full * np.float32(0.85), full], -1).clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB
    ).astype(np.float32) / np.float32(255)
    tube = canvas.lines[..., None]
    halo = soften(colour * tube, lit.height * 0.018)
    wall = lit.flat * np.array([0.07, 0.05, 0.11], np.float32) + np.array([0.012, 0.008, 0.035], np.float32)
    return wall + halo * np.float32(0.8) + colour * tube * np.float32(0.95) + tube**2 * np.float32(0.2)


def pixel(lit: Lit) -> Floats:
    """An old console: forty-eight blocks high, few shades, dark outlines."""
    height, width = lit.flat.shape[:2]
    block = max(2, round(height / 48))
    inked = saturate(lit.flat, 1.15) * (1 - np.float32(0.45) * lit.canvas.lines[..., None])
    small = cv2.resize(inked, (max(1, width // block), max(1, height // block)), interpolation=cv2.INTER_AREA)
    small = np.round(np.clip(small, 0, 1) * 9) / np.float32(9)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32)


def oil(lit: Lit) -> Floats:
    """Short thick strokes along the things' own grain, with light on their ridges."""
    canvas = lit.canvas
    bend = lit.height * 0.008
    east, south = on_things(canvas, 22, 10), on_things(canvas, 22, 11)
    columns = np.arange(canvas.size[0], dtype=np.float32) + bend * east
    rows = np.arange(canvas.size[1], dtype=np.float32)[:, None] + bend * south
    paint = cv2.remap(lit.flat, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    paint = saturate(paint, 1.32) * (1 + np.float32(0.12) * lit.relief[..., None])
    x, y = canvas.rest
    stroke = np.sin((x * np.float32(0.55) + y) * np.float32(2 * np.pi * 15) + np.float32(1.5) * east)
    paint = paint * (1 + np.float32(0.07) * stroke[..., None] + np.float32(0.05) * south[..., None])
    edge = soften(canvas.lines, lit.height * 0.006)[..., None]
    return paint * (1 - np.float32(0.3) * edge) + lit.glow * np.float32(0.7)


def cartoon(lit: Lit) -> Floats:
    """Two tones to each thing and a firm black line around it."""
    shaded = lit.relief < -0.16
    picture = saturate(lit.flat, 1.28) * np.float32(1.05)
    picture = np.where(shaded[..., None], picture * np.float32(0.84), picture)
    ink = np.clip(lit.canvas.lines * np.float32(1.15), 0, 1)[..., None]
    return picture * (1 - ink) + np.array([0.07, 0.05, 0.1], np.float32) * ink


def blueprint(lit: Lit) -> Floats:
    """White lines on blue, with the draughtsman's grid."""
    x, y = lit.canvas.grid
    spacing = np.float32(1 / 8)
    width = np.float32(1.1 / lit.height)
    grid = np.maximum(
        np.abs(np.mod(x + spacing / 2, spacing) - spacing / 2) < width,
        np.abs(np.mod(y + spacing / 2, spacing) - spacing / 2) < width,
    )
    tone = grey(lit.flat)[..., None] * np.float32(0.07)
    base = np.array([0.06, 0.2, 0.54], np.float32) + tone + grid[..., None] * np.float32(0.05)
    line = np.clip(lit.canvas.lines * np.float32(1.05), 0, 1)[..., None]
    return base * (1 - line) + np.array([0.9, 0.96, 1.0], np.float32) * line


PAINT: dict[Style, Callable[[Lit], Floats]] = {
    "photo": photo,
    "watercolor": watercolor,
    "pencil": pencil,
    "neon": neon,
    "pixel": pixel,
    "oil": oil,
    "cartoon": cartoon,
    "blueprint": blueprint,
}


def render(lit: Lit, style: Style) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    return (np.clip(PAINT[style](lit), 0, 1) * 255 + 0.5).astype(np.uint8)
