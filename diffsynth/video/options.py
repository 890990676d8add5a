"""What a user may ask of a video: which frames, which size, which file. Plain values, so a config costs no codec."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

ResizeMode = Literal["crop", "fit", "stretch"]
Codec = Literal["h264", "hevc", "vp9", "prores", "ffv1", "gif", "webp"]

CODEC_SUFFIXES: dict[Codec, tuple[str, ...]] = {
    "h264": (".mp4", ".mov", ".mkv"),
    "hevc": (".mp4", ".mov", ".mkv"),
    "vp9": (".webm", ".mkv", ".mp4"),
    "prores": (".mov", ".mkv"),
    "ffv1": (".mkv",),
    "gif": (".gif",),
    "webp": (".webp",),
}
"""The file suffixes that hold each codec; the first is the usual one."""

ALPHA_CODECS: frozenset[Codec] = frozenset({"vp9", "prores", "ffv1", "gif", "webp"})
"""Codecs that carry alpha (gif: one bit of it)."""

DEFAULT_IMAGE_FPS = Fraction(25)


@dataclass(frozen=True)
class Selection:
    """Which frames of a source to use: from `start` up to but without `end`, every `interval`-th, at most
    `maximum_count`.

    A bound that is a float counts seconds from the first frame; an int counts frames.
    """

    interval: int = 1
    maximum_count: int | None = None
    start: float | int | None = None
    end: float | int | None = None

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"interval is {self.interval}; it must be 1 or more")
        if self.maximum_count is not None and self.maximum_count < 1:
            raise ValueError(f"maximum_count is {self.maximum_count}; it must be 1 or more")
        for name, bound in (("start", self.start), ("end", self.end)):
            if bound is not None and not bound >= 0:
                raise ValueError(f"{name} is {bound}; it must be 0 or more")
        if self.start is None or self.end is None or type(self.start) is not type(self.end):
            return
        if self.end <= self.start:
            raise ValueError(f"end ({self.end}) must be greater than start ({self.start})")

    def count_of(self, frames: int) -> int:
        """How many frames are selected out of `frames` that lie between start and end."""
        count = -(-frames // self.interval)
        return count if self.maximum_count is None else min(count, self.maximum_count)


@dataclass(frozen=True)
class Geometry:
    """The size of the frames to work on.

    Neither side given: the source's size. One given: the other keeps the aspect. Both given: `crop` cuts the middle
    to their aspect and scales it, `stretch` scales the whole picture to them, `fit` scales the whole picture to the
    largest size inside them that keeps its aspect. Both sides are floored to `multiple`.
    """

    height: int | None = None
    width: int | None = None
    mode: ResizeMode = "crop"
    multiple: int = 1

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width), ("multiple", self.multiple)):
            if side is not None and side < 1:
                raise ValueError(f"{name} is {side}; it must be 1 or more")
        if self.mode not in ("crop", "fit", "stretch"):
            raise ValueError(f"mode is {self.mode!r}; known are crop, fit and stretch")


@dataclass(frozen=True)
class VideoOptions:
    """How to encode a result. `quality` and `preset` are the codec's own scale; None takes the codec's default here."""

    codec: Codec = "h264"
    quality: int | None = None
    preset: str | None = None
    alpha: bool = True
    """Keep alpha where frames and codec have it."""
    audio: bool = True

    def __post_init__(self) -> None:
        if self.codec not in CODEC_SUFFIXES:
            raise ValueError(f"codec is {self.codec!r}; known are {', '.join(CODEC_SUFFIXES)}")
