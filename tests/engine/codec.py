"""Our codecs as functions, through a program that reads and writes files; and pictures to try them on."""

import functools
import io
import tempfile
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from programs import image_tool, run

Pixels = NDArray[np.uint8]

# Two correct decoders differ: each rounds its cosine transform to whole samples (1 off, in a few of a thousand), and
# the conversion to RGB multiplies chroma by up to 1.772 before it rounds again.
JPEG_MOST = 3
JPEG_MEAN = 0.02


@functools.cache
def photo() -> Pixels:
    return cv2.resize(skimage.data.astronaut()[20:340, 60:480], (84, 64), interpolation=cv2.INTER_AREA)


class RefusedError(Exception):
    """The tool's one line about a file."""


def decode(content: bytes) -> Pixels:
    """height x width x channels, as our reader sees the file."""
    with tempfile.TemporaryDirectory() as folder:
        picture, raw = Path(folder, "picture"), Path(folder, "raw")
        picture.write_bytes(content)
        outcome = run(image_tool(), "decode", picture, raw)
        assert outcome.clean, outcome
        if outcome.status == 1:
            raise RefusedError(outcome.error.removeprefix(f"error: {picture} ").strip())
        head, _, samples = raw.read_bytes().partition(b"\n")
        width, height, channels = map(int, head.split())
        return np.frombuffer(samples, np.uint8).reshape(height, width, channels)


def encode(pixels: Pixels, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        raw, picture = Path(folder, "raw"), Path(folder, f"picture{suffix}")
        height, width, channels = pixels.shape
        raw.write_bytes(f"{width} {height} {channels}\n".encode() + pixels.tobytes())
        outcome = run(image_tool(), "encode", raw, picture)
        assert outcome.status == 0, outcome
        return picture.read_bytes()


def pillow_pixels(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def assert_near(ours: Pixels, reference: Pixels, most: int = JPEG_MOST, mean: float = JPEG_MEAN) -> None:
    assert ours.shape == reference.shape
    difference = np.abs(ours.astype(int) - reference)
    assert difference.max() <= most
    assert difference.mean() <= mean


def known_samples(shape: tuple[int, int, int], depth: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(7)
    ramp = np.linspace(0, 2**depth - 1, shape[1])[None, :, None] * np.ones(shape)
    return np.clip(ramp + rng.integers(-3, 4, shape), 0, 2**depth - 1).astype(np.int64)
