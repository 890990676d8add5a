"""What every smoother does: it is tied to a guide clip once, and then smooths any number of styled clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore, FrameWriter, Image, is_complete
from diffsynth.progress import Progress


class Frames(Protocol):
    """A clip that is read frame by frame, such as a `FrameStore`: (H, W, 3) uint8 RGB."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, position: int, /) -> Image: ...


def in_order(frames: Frames) -> Iterator[Image]:
    """One frame after the other."""
    return (frames[position] for position in range(len(frames)))


@dataclass(frozen=True)
class Pictures:
    """A few frames that lie in memory."""

    images: Sequence[Image]

    @property
    def height(self) -> int:
        return int(self.images[0].shape[0])

    @property
    def width(self) -> int:
        return int(self.images[0].shape[1])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> Image:
        return self.images[position]


class Prepared(Protocol):
    """A smoother that knows its guide clip; what it found out about it serves every styled clip."""

    def smooth(self, style: Frames, work: Path, start: int = 0) -> Iterator[Image]:
        """The smoothed frames from number `start` on.

        Tables go into the folder `work`, which belongs to this styled clip: with the same folder an interrupted run
        continues. Whoever calls deletes it.
        """


class Smoother(Protocol):
    """Settings of a way to smooth. Frozen; the same clips give the same bytes."""

    def prepare(self, guide: Frames, progress: Progress | None = None) -> Prepared:
        """Tie the smoother to the clip that leads it. Cheap: matches are found when they are first needed."""


def check_pair(
    guide: Frames, style: Frames, names: tuple[str | Path, str | Path] = ("the guide", "the styled clip")
) -> None:
    """Guide and styled clip must show the same frames; an error calls them by `names`."""
    if len(guide) != len(style):
        raise MediaError(
            f"{names[0]} has {len(guide)} frames, but {names[1]} has {len(style)}. They must be the same frames: "
            'cut the longer one, or take as many of both with "frame_maximum_count".'
        )
    if (guide.height, guide.width) != (style.height, style.width):
        raise MediaError(
            f"{names[0]} is {guide.width}×{guide.height}, but {names[1]} is {style.width}×{style.height}. "
            'They must have one size: set "frame_width" and "frame_height", or resize one of them.'
        )


def smooth_into(
    prepared: Prepared, style: Frames, original: FrameStore, path: Path, work: Path, progress: Progress
) -> FrameStore:
    """Smooth `style` into the store at `path`, with the alpha and times of `original`; continues unfinished work."""
    if is_complete(path):
        return FrameStore(path)
    with writer_like(original, path) as writer, progress.stage("smooth", len(style), writer.count) as stage:
        for image in prepared.smooth(style, work, writer.count):
            append_like(writer, image, original)
            stage.advance()
        return writer.finish()


def writer_like(original: FrameStore, path: Path) -> FrameWriter:
    """A writer for frames that take the place of those of `original`."""
    timing = original.timing
    base = timing.time_base if timing is not None else None
    return FrameWriter(path, original.height, original.width, alpha=original.has_alpha, time_base=base)


def append_like(writer: FrameWriter, image: Image, original: FrameStore) -> None:
    """Append the next frame, with the alpha and the time of the one that it takes the place of."""
    position = writer.count
    alpha = original.alpha(position) if original.has_alpha else None
    shown = original.shown(position)
    if shown is None:
        writer.append(image, alpha)
    else:
        writer.append(image, alpha, tick=shown[0], until=shown[1])
