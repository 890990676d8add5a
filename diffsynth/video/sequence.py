"""Numbered images, or a single one, as a source of frames."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from diffsynth.errors import MediaError
from diffsynth.frames import Image
from diffsynth.images import image_has_alpha, read_image
from diffsynth.video.info import VideoInfo
from diffsynth.video.source import Damage, Picture


class ImageSequence:
    """Images in the given order as a `Source`: frame n at tick n, one tick a frame. All must have the first's size."""

    def __init__(self, path: Path, files: list[Path], fps: Fraction) -> None:
        self._files = files
        first, _ = read_image(files[0])
        height, width = first.shape[:2]
        self._info = VideoInfo(
            path=path,
            container="images",
            codec=files[0].suffix.lower().lstrip("."),
            height=height,
            width=width,
            fps=fps,
            variable_rate=False,
            frame_count=len(files),
            frame_count_is_exact=True,
            duration=len(files) / fps,
            pixel_format="rgb24",
            bit_depth=8,
            has_alpha=image_has_alpha(files[0]),
            rotation=0,
            pixel_aspect=Fraction(1),
            time_base=1 / fps,
            first_tick=0,
        )

    @property
    def info(self) -> VideoInfo:
        return self._info

    def tick_of(self, position: int) -> int | None:
        return position if position < len(self._files) else None

    def pictures(self, start: int | None, damage: Damage) -> Iterator[Picture]:
        for position in range(max(0, start or 0), len(self._files)):
            yield Picture(position, position + 1, _File(self._files[position], self._info))


class _File:
    """An image read when called."""

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self._path, self._info = path, info

    def __call__(self) -> tuple[Image, Image | None]:
        rgb, alpha = read_image(self._path)
        if rgb.shape[:2] != (self._info.height, self._info.width):
            raise MediaError(
                f"{self._path}: is {rgb.shape[0]}x{rgb.shape[1]} (height x width), but the first image is "
                f"{self._info.height}x{self._info.width}. All images of one clip need one size."
            )
        if not self._info.has_alpha:
            return rgb, None
        return rgb, np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
