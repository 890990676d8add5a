"""What is known about a source before its frames are read."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True)
class AudioInfo:
    """The first audio stream of a file."""

    codec: str
    sample_rate: int
    channels: int
    duration: Fraction | None
    decodable: bool = True


@dataclass(frozen=True)
class VideoInfo:
    """A source of frames: a file, numbered images or one image. Sizes are as shown: upright, in square pixels."""

    path: Path
    container: str
    codec: str
    height: int
    width: int
    fps: Fraction
    """Average frame rate."""
    variable_rate: bool
    """Whether the time stamps leave the grid of `fps`, as far as the index or the first frames tell."""
    frame_count: int | None
    frame_count_is_exact: bool
    duration: Fraction | None
    pixel_format: str
    bit_depth: int
    has_alpha: bool
    rotation: int
    """Degrees counter-clockwise that the stored picture is turned to be upright: 0, 90, 180, 270."""
    pixel_aspect: Fraction
    time_base: Fraction
    first_tick: int
    """When the first frame is shown, in `time_base`: seconds of a selection count from here."""
    audio: AudioInfo | None = None
    notes: tuple[str, ...] = ()
    """What is lost or assumed in reading this source, to be shown to the user."""
