"""Pictures to match: frames of moving scenes, and three examples of the kinds that guided synthesis is known for.

All are drawn here or come with scikit-image, so that the benchmark needs no download.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.uint8]
Plane = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """A style over the source and (source, target, weight) guides."""

    name: str
    style: Image
    guides: tuple[tuple[Image, Image, float], ...]


def to_bytes(image: Plane) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def grid(height: int, width: int) -> tuple[Plane, Plane]:
    y, x = np.mgrid[0:height, 0:width]
    return y.astype(float), x.astype(float)


def noise(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Plane:
    """Smooth noise of unit deviation with blobs of about `scale` pixels."""
    sigma = (scale, scale) + (0,) * (len(shape) - 2)
    soft = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return soft / soft.std()


def painted(image: Image, seed: int) -> Image:
    """A stand-in for a stylized frame: flattened colours, dark outlines and a canvas that belongs to the picture."""
    rng = np.random.default_rng(seed)
    flat = ndimage.median_filter(image, (7, 7, 1)).astype(float)
    flat = np.round(flat / 40) * 40
    grey = image.astype(float).mean(-1)
    edge = np.hypot(ndimage.sobel(grey, 0), ndimage.sobel(grey, 1))
    canvas = noise(rng, grey.shape, 1.2)[..., None] * 9
    return to_bytes((flat[..., ::-1] * 0.7 + 60) * (1 - np.minimum(edge, 400)[..., None] / 600) + canvas)


def moving_scene(height: int, width: int, time: float) -> Image:
    """Textured ground under a panning camera, and three bodies that move, turn and overlap in front of it."""
    y, x = grid(height, width)
    scale = height / 512

    def texture(v: Plane, u: Plane, seed: int) -> Plane:
        rng = np.random.default_rng(seed)
        planes = [noise(rng, (256, 256, 3), s) * a for s, a in ((12, 30.0), (4, 16.0), (1.5, 8.0))]
        tile = sum(planes)
        at = [np.mod(v / scale, 255), np.mod(u / scale, 255)]
        return np.stack([ndimage.map_coordinates(tile[..., c], at, order=1, mode="wrap") for c in range(3)], -1)

    image = texture(y + 2.5 * time, x - 4 * time, 1) + np.array([120.0, 140, 110]) + (y / height * 50)[..., None]
    for index, colour in enumerate(((200.0, 90, 70), (70, 110, 210), (220, 200, 90))):
        phase = index * 2.1 + time * 0.06
        cy, cx = height * (0.5 + 0.28 * np.sin(phase)), width * (0.5 + 0.33 * np.cos(phase * 0.8))
        angle = 0.03 * time * (index + 1)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        u = (y - cy) * np.sin(angle) + (x - cx) * np.cos(angle)
        radius = height * (0.12 + 0.03 * index)
        inside = np.clip((radius - np.hypot(v, u * (0.7 + 0.2 * index))) / 1.5 + 0.5, 0, 1)[..., None]
        shade = 1 - 0.45 * np.hypot(v + radius * 0.3, u + radius * 0.3)[..., None] / radius
        image = image * (1 - inside) + (np.array(colour) * shade + texture(v, u, 5 + index)) * inside
    return to_bytes(image)


def warped_photo(photo: Image, height: int, width: int, time: float) -> Image:
    """A photograph under a slow pan, turn and zoom with ripples, as a hand-held camera sees moving water."""
    y, x = grid(height, width)
    fit = min(photo.shape[0] / height, photo.shape[1] / width)
    angle, zoom = 0.004 * time, 1 - 0.003 * time
    v, u = y - height / 2, x - width / 2
    sy = fit * zoom * (v * np.cos(angle) - u * np.sin(angle)) + photo.shape[0] / 2 + 1.5 * time
    sx = fit * zoom * (v * np.sin(angle) + u * np.cos(angle)) + photo.shape[1] / 2 - 2 * time
    sy, sx = sy + 2 * np.sin(x / 40 + time), sx + 2 * np.sin(y / 50 + time)
    at = [sy, sx]
    return to_bytes(
        np.stack(
            [ndimage.map_coordinates(photo[..., c].astype(float), at, order=1, mode="reflect") for c in range(3)], -1
        )
    )


def video_pairs(height: int, width: int) -> list[Example]:
    """Pairs of frames two apart: a drawn scene, and a photograph of each of two kinds under a moving camera."""
    from skimage import data

    pairs = []
    frames = {
        "drawn scene": [moving_scene(height, width, t) for t in (0.0, 2.0)],
        "portrait": [warped_photo(data.astronaut(), height, width, t) for t in (0.0, 2.0)],
        "coffee": [warped_photo(data.coffee(), height, width, t) for t in (0.0, 2.0)],
    }
    for name, (source, target) in frames.items():
        pairs.append(Example(name, painted(source, 3), ((source, target, 1.0),)))
    return pairs


def clip_pairs(clip: Path, frames: tuple[int, int] = (0, 2)) -> list[Example]:
    """Two frames of a real clip."""
    import av

    images: dict[int, Image] = {}
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in frames:
                images[index] = frame.to_ndarray(format="rgb24")
            if index >= max(frames):
                break
    source, target = images[frames[0]], images[frames[1]]
    return [Example(clip.stem, painted(source, 3), ((source, target, 1.0),))]


def texture_by_numbers() -> Example:
    """A painted landscape and its map of regions; another map to fill."""
    rng = np.random.default_rng(7)
    labels = np.array([[90, 150, 230], [60, 60, 70], [50, 160, 60], [190, 170, 80], [30, 80, 160]], np.uint8)

    def regions(seed: int, size: int) -> NDArray[np.intp]:
        y, x = grid(size, size)
        bumps = noise(np.random.default_rng(seed), (size, size), 40) * 0.05
        height = y / size + bumps
        bands = np.digitize(height, [0.28, 0.45, 0.65, 0.85])
        lake = np.hypot(y - size * 0.7, (x - size * (0.3 + 0.1 * (seed % 5))) * 0.6) < size * 0.1
        return np.where(lake, 4, bands)

    source, target = regions(1, 400), regions(9, 400)
    paint = np.empty((400, 400, 3))
    strokes = ((30.0, 2), (1.5, 14), (2, 2), (6, 1.2), (1, 10))
    for label, (sy, sx) in enumerate(strokes):
        soft = ndimage.gaussian_filter(rng.normal(size=(400, 400)), (sy / 2, sx / 2))
        colour = labels[label].astype(float) + np.array([1.0, 0.9, 0.7]) * (soft / soft.std() * 26)[..., None]
        paint = np.where((source == label)[..., None], colour, paint)
    return Example("texture by numbers", to_bytes(paint), ((labels[source], labels[target], 1.0),))


def _sphere(size: int, shape: Plane) -> tuple[NDArray[np.bool_], Plane]:
    """Mask and normals of a body whose radius varies with the angle as `shape` says."""
    y, x = grid(size, size)
    v, u = (y - size / 2) / (size * 0.42), (x - size / 2) / (size * 0.42)
    angle = np.arctan2(v, u)
    radius = np.interp(angle, np.linspace(-np.pi, np.pi, shape.size), shape)
    distance = np.hypot(v, u) / radius
    inside = distance < 1
    z = np.sqrt(np.clip(1 - distance**2, 0, 1))
    normal = np.stack([u / radius, v / radius, z], -1)
    return inside, normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)


def _lights(inside: NDArray[np.bool_], normal: Plane) -> list[Image]:
    """Full light, diffuse, specular and a shadow-like term, as a renderer would pass them."""
    sun = np.array([-0.5, -0.6, 0.62])
    diffuse = np.clip(normal @ sun, 0, 1)
    half = sun + np.array([0, 0, 1.0])
    specular = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 30
    ground = np.clip(normal[..., 1], 0, 1) * 0.5
    full = 0.15 + 0.7 * diffuse + 0.8 * specular + 0.2 * ground
    tints = (np.array([1.0, 1, 1]), np.array([1, 0.9, 0.8]), np.array([1.0, 1, 1]), np.array([0.6, 0.8, 1]))
    planes = (full, diffuse, specular, ground)
    return [to_bytes(255 * (p * inside)[..., None] * t) for p, t in zip(planes, tints, strict=True)]


def lit_sphere() -> Example:
    """A painted sphere with four light passes; a lumpy body with the same passes to paint."""
    size = 400
    rng = np.random.default_rng(3)
    ball = _sphere(size, np.ones(2))
    turns = np.linspace(-np.pi, np.pi, 200)
    body = _sphere(size, 0.85 + 0.13 * np.cos(3 * turns + 1) + 0.05 * np.cos(7 * turns))
    source, target = _lights(*ball), _lights(*body)
    tone = source[0][..., 0].astype(float) / 255
    ramp = np.array([[40, 20, 70], [120, 40, 80], [220, 110, 70], [250, 210, 130], [255, 250, 235]], float)
    colour = np.stack([np.interp(tone, np.linspace(0, 1, 5), ramp[:, c]) for c in range(3)], -1)
    brush = noise(rng, (size, size), 1.5) * 12 + ndimage.gaussian_filter(rng.normal(size=(size, size)), (1, 6)) * 60
    paper = np.array([236.0, 228, 210]) + noise(rng, (size, size), 1.0)[..., None] * 5
    style = np.where(ball[0][..., None], colour + brush[..., None], paper)
    weights = (0.66, 0.33, 0.33, 0.33)
    return Example("lit sphere", to_bytes(style), tuple(zip(source, target, weights, strict=True)))


def painted_face() -> Example:
    """A painted head guided by appearance (grey), position (gradients) and segments; another head to paint."""
    height, width = 480, 400
    rng = np.random.default_rng(5)
    y, x = grid(height, width)

    def head(cy: float, cx: float, ry: float, rx: float, turn: float) -> tuple[Image, Image, Image]:
        v, u = (y - cy) / ry, (x - cx) / rx
        skin = np.hypot(v, u) < 1
        hair = (np.hypot(v + 0.35, u * 0.9) < 1.05) & ((v < -0.45 + 0.12 * np.cos(5 * u)) | ~skin)
        eyes = (np.hypot((v + 0.12) * 2.2, (np.abs(u - turn) - 0.38) * 1.5) < 0.22) & skin
        mouth = (np.hypot((v - 0.52) * 3.5, u - turn) < 0.34) & skin
        labels = np.zeros((height, width), np.intp)
        for value, mask in ((1, skin), (2, hair), (3, eyes), (4, mouth)):
            labels[mask] = value
        palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
        light = 150 - 70 * (u + turn) - 30 * v
        tones = np.array([60.0, 0, -90, -110, -60])
        app = ndimage.gaussian_filter(light + tones[labels], 1.0)
        position = np.stack([np.clip(u * 0.4 + 0.5, 0, 1), np.clip(v * 0.4 + 0.5, 0, 1), 0 * u], -1) * 255
        return to_bytes(app)[..., None], to_bytes(position), palette[labels]

    source, target = head(240, 200, 170, 125, 0.0), head(250, 205, 160, 132, 0.12)
    skin_tone = source[0].astype(float) / 255
    ramp = np.array([[50, 30, 40], [170, 90, 70], [235, 170, 130], [255, 225, 190]], float)
    style = np.stack([np.interp(skin_tone[..., 0], np.linspace(0, 1, 4), ramp[:, c]) for c in range(3)], -1)
    strokes = (
        ndimage.gaussian_filter(rng.normal(size=(height, width)), (5, 1)) * 55 + noise(rng, (height, width), 1) * 7
    )
    style = style * np.where(source[2][..., 1:2] > 128, 0.6, 1.0) + strokes[..., None]
    weights = (0.5, 1.5, 1.5)
    return Example("painted face", to_bytes(style), tuple(zip(source, target, weights, strict=True)))


def generic_examples() -> list[Example]:
    return [texture_by_numbers(), lit_sphere(), painted_face()]


Stroke = tuple[float, float]
Colour = tuple[int, int, int]


def blotches_by_numbers(name: str, seed: int, size: int, paints: dict[Colour, Stroke]) -> Example:
    """Blotchy regions, each of one colour in the guide and brushed in its own direction in the style."""
    colours = np.array(list(paints), np.uint8)

    def regions(number: int, height: int, width: int) -> NDArray[np.intp]:
        heights = [
            noise(np.random.default_rng(number * 10 + k), (height, width), width / 9) for k in range(len(paints))
        ]
        return np.stack(heights, -1).argmax(-1)

    rng = np.random.default_rng(seed)
    source, target = regions(seed, size, size + 40), regions(seed + 1, size + 30, size)
    style = np.empty((*source.shape, 3))
    for number, (down, across) in enumerate(paints.values()):
        brushed = ndimage.gaussian_filter(rng.normal(size=source.shape), (down / 2, across / 2))
        shade = (brushed / brushed.std() * 22)[..., None] * np.array([1.0, 0.8, 0.6])
        style = np.where((source == number)[..., None], colours[number] * 0.8 + 20 + shade, style)
    return Example(name, to_bytes(style), ((colours[source], colours[target], 1.0),))


def photograph_after_another(
    name: str, source: Image, target: Image, *, grey: bool, weight: float, seed: int
) -> Example:
    """One photograph painted as another one was; the guide is their softened light, or colours."""

    def guide(image: Image) -> Image:
        values = image.astype(float).mean(-1, keepdims=True) if grey else image.astype(float)
        sigma = 1.5 if grey else 1.0
        return to_bytes(ndimage.gaussian_filter(values, (sigma, sigma, 0)))

    return Example(name, painted(source, seed), ((guide(source), guide(target), weight),))


def more_examples() -> list[Example]:
    """Others than those three: four guides that leave more to guess."""
    from skimage import data

    astronaut, cat = data.astronaut()[40:440, 40:440], np.ascontiguousarray(data.chelsea()[:300, 20:420])
    coffee, rocket = data.coffee()[:380, 100:480], data.rocket()[:380, 100:480]
    four = {(200, 40, 40): (20, 2), (40, 180, 60): (2, 20), (40, 60, 200): (3, 3), (230, 220, 60): (1, 8)}
    six = {
        (20, 20, 20): (4, 4),
        (240, 240, 240): (1, 1.5),
        (200, 100, 30): (12, 3),
        (30, 120, 200): (3, 12),
        (90, 160, 60): (6, 6),
        (150, 40, 140): (2, 5),
    }
    return [
        blotches_by_numbers("four blotchy regions", 21, 360, four),
        blotches_by_numbers("six blotchy regions", 33, 420, six),
        photograph_after_another("photograph by grey", astronaut, cat, grey=True, weight=2.0, seed=9),
        photograph_after_another("photograph by colour", coffee, rocket, grey=False, weight=1.0, seed=4),
    ]
