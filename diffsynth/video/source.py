"""Where frames come from: one small protocol, so that files and numbered images are read alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from diffsynth.frames import Image
from diffsynth.video.info import VideoInfo


@dataclass(frozen=True)
class Picture:
    """One frame of a source. Its pixels are made only when asked for: skipped frames cost no conversion."""

    tick: int
    until: int
    pixels: Callable[[], tuple[Image, Image | None]]


@dataclass
class Damage:
    """What could not be decoded on the way. Counted, so that nothing is dropped in silence."""

    frames: int = 0
    """Frames that the decoder refused or marked as corrupt."""
    missing: int = 0
    """Frames that the even time stamps of the source leave room for, and that are not there."""
    first_ticks: list[int] = field(default_factory=list)
    words: str = ""

    def add(self, tick: int | None, words: str) -> None:
        self.frames += 1
        self.words = self.words or words
        if tick is not None and len(self.first_ticks) < 8:
            self.first_ticks.append(tick)

    def report(self, time_base: Fraction) -> str | None:
        """A sentence for the user, or None if all was well."""
        parts = []
        if self.frames:
            places = ", ".join(f"{float(tick * time_base):.2f} s" for tick in self.first_ticks)
            parts.append(
                f"{self.frames} frames could not be decoded cleanly (near {places or 'unknown places'}: {self.words})"
            )
        if self.missing:
            parts.append(f"{self.missing} frames are missing")
        return "; ".join(parts) or None

    def __bool__(self) -> bool:
        return bool(self.frames or self.missing)


class Source(Protocol):
    """A sequence of pictures with time stamps in `info.time_base`."""

    @property
    def info(self) -> VideoInfo: ...

    def tick_of(self, position: int) -> int | None:
        """The time stamp of the frame at `position`; None if there are fewer frames."""

    def pictures(self, start: int | None, damage: Damage) -> Iterator[Picture]:
        """All pictures in the order of showing, from the one at tick `start` or the next after it."""
