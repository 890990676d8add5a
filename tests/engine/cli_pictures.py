"""Pictures that the command-line tests name, and the programs as functions of them."""

import functools
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from programs import ebsynth, ebsynth_nnf, run

Pixels = NDArray[np.uint8]

STYLE = ("-style", "style.png")
GUIDE = ("-guide", "source.png", "target.png")
SELF = ("-guide", "source.png", "source.png")


@functools.cache
def photo() -> Pixels:
    """56 wide, 40 high: the two must not be mixed up."""
    return cv2.resize(skimage.data.astronaut()[20:340, 60:508], (56, 40), interpolation=cv2.INTER_AREA)


def write_pictures(folder: Path) -> None:
    """Pictures that fit each other: a style, its source guide, and a target guide of another size."""
    source = photo()
    target = np.ascontiguousarray(np.roll(source, (3, 5), (0, 1))[:36, :52])
    grey = source.mean(-1).astype(np.uint8)
    pictures = {
        "style.png": 255 - source,
        "source.png": source,
        "target.png": target,
        "grey.png": grey,
        "grey_as_rgb.png": np.dstack([grey] * 3),
        "opaque.png": np.dstack([255 - source, np.full_like(grey, 255)]),
        "alpha.png": np.dstack([255 - source, grey]),
        "grey_target.png": target.mean(-1).astype(np.uint8),
        "tiny.png": source[:4, :4],
        "pixel.png": source[:1, :1],
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name)
    (folder / "empty.png").touch()
    (folder / "cut.png").write_bytes((folder / "source.png").read_bytes()[:500])
    (folder / "film.gif").write_bytes(b"GIF89a")


def paint(folder: Path, *arguments: object) -> Pixels:
    """The painted picture, of a command that must succeed."""
    outcome = run(ebsynth(), *arguments, "-output", "painted.png", cwd=folder)
    assert outcome.status == 0, outcome
    assert outcome.error == ""
    return pixels_of(folder / "painted.png")


def match(folder: Path, *arguments: object) -> NDArray[np.int64]:
    """height x width x (x, y), of a command that must succeed. The file has a line for each row."""
    outcome = run(ebsynth_nnf(), *arguments, "-output", "field.txt", cwd=folder)
    assert outcome.status == 0, outcome
    lines = (folder / "field.txt").read_text().splitlines()
    return np.array([line.split() for line in lines], np.int64).reshape(len(lines), -1, 2)


def pixels_of(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)
