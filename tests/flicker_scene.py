"""A small clip in motion, and a flickering styled version of it."""

import cv2
import numpy as np

from diffsynth.frames import Image


def surface(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return np.clip(128 + soft / soft.std() * 45, 0, 255).astype(np.uint8)


def moving(count: int, height: int = 48, width: int = 64, seed: int = 0) -> list[Image]:
    """A pan by (1, 2) whole pixels a frame."""
    whole = surface(seed, height + count, width + 2 * count)
    return [np.ascontiguousarray(whole[t : t + height, 2 * t : 2 * t + width]) for t in range(count)]


def true_style(frames: list[Image]) -> list[Image]:
    return [np.clip(255 - frame.astype(np.int16) * 3 // 4, 0, 255).astype(np.uint8) for frame in frames]


def flickering(frames: list[Image], strength: float = 12, seed: int = 5) -> list[Image]:
    """The true style with another offset in every frame and channel."""
    draw = np.random.default_rng(seed)
    return [np.clip(frame + draw.normal(0, strength, 3), 0, 255).astype(np.uint8) for frame in true_style(frames)]
