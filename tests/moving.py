"""Clips whose motion is known, because they are made by moving one picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffsynth.frames import FrameStore, FrameWriter, Image


def texture(height: int, width: int, seed: int = 0, grain: float = 3.0) -> NDArray[np.float64]:
    """(H, W, 3) smooth noise of 0 to 255 that continues over its borders."""
    generator = np.random.Generator(np.random.PCG64(seed))
    noise = generator.standard_normal((height, width, 3))
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    soft = np.exp(-2 * (np.pi * grain) ** 2 * (x**2 + y**2))[..., None]
    smooth = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * soft, axes=(0, 1)).real
    low, high = np.percentile(smooth, [1, 99])
    return np.asarray(np.clip((smooth - low) / (high - low), 0, 1) * 255)


def moving(
    count: int, height: int = 64, width: int = 128, step: tuple[int, int] = (1, 2), seed: int = 0
) -> list[Image]:
    """A texture that moves by `step` = (down, right) pixels a frame."""
    picture = texture(height, width, seed).round().astype(np.uint8)
    return [np.roll(picture, (step[0] * t, step[1] * t), (0, 1)) for t in range(count)]


def stored(folder: Path, frames: list[Image]) -> FrameStore:
    with FrameWriter(folder, *frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.append(frame)
        return writer.finish()


def nothing(count: int) -> None:
    """Stands where progress is heard."""
