"""A source with a selection and a size: the frames that a run works on."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

from diffsynth.errors import MediaError
from diffsynth.frames import Image
from diffsynth.images import is_image_name, is_pattern, list_images
from diffsynth.timing import Timing
from diffsynth.video.audio import AudioRange
from diffsynth.video.file import VideoFile
from diffsynth.video.geometry import Placement, cuts, place_on, target_size
from diffsynth.video.info import VideoInfo
from diffsynth.video.options import DEFAULT_IMAGE_FPS, Geometry, Selection
from diffsynth.video.probe import probe
from diffsynth.video.resize import resized
from diffsynth.video.sequence import ImageSequence
from diffsynth.video.source import Damage, Picture, Source


@dataclass(frozen=True)
class Frame:
    """One selected frame: (H, W, 3) RGB, (H, W) alpha if the clip has it, and when it is shown."""

    rgb: Image
    alpha: Image | None
    tick: int
    until: int


class Clip:
    """The selected frames of a source at the asked size. Nothing is read before `frames` is iterated."""

    def __init__(self, source: Source, selection: Selection, geometry: Geometry) -> None:
        self._source = source
        self.selection = selection
        self.geometry = geometry
        self.damage = Damage()
        info = source.info
        try:
            self.height, self.width = target_size(info.height, info.width, geometry)
        except ValueError as problem:
            raise MediaError(f"{info.path}: {problem}.") from problem
        self._crop = cuts(geometry)
        self._placements: dict[tuple[int, int], Placement] = {}

    @property
    def info(self) -> VideoInfo:
        return self._source.info

    @property
    def fps(self) -> Fraction:
        """The rate of the selected frames: the source's average rate over the interval."""
        return self.info.fps / self.selection.interval

    @property
    def time_base(self) -> Fraction:
        return self.info.time_base

    @property
    def has_alpha(self) -> bool:
        return self.info.has_alpha

    @property
    def expected_count(self) -> int | None:
        """How many frames will come, for a progress bar: exact as far as the source's header is. None if unknown."""
        total, selection = self.info.frame_count, self.selection
        if total is None:
            return selection.maximum_count
        first = 0 if selection.start is None else self._position(selection.start)
        last = total if selection.end is None else min(total, self._position(selection.end))
        return selection.count_of(max(0, last - first))

    def viewed(self, selection: Selection, geometry: Geometry) -> "Clip":
        """Other frames, or another size, of the same source, which is not looked into again."""
        return Clip(self._source, selection, geometry)

    def source_count(self) -> int:
        """How many frames the whole source has, told by decoding it; no frame is converted."""
        return sum(1 for _ in self._source.pictures(None, self.damage))

    def _position(self, bound: float) -> int:
        """The number of the first frame at or after a bound of the selection, at an even rate."""
        return bound if isinstance(bound, int) else ceil(Fraction(bound) * self.info.fps - Fraction(1, 4))

    def frames(self, start: int = 0, *, after: int | None = None) -> Iterator[Frame]:
        """Selected frames from number `start` on.

        `after` is the tick of frame `start - 1`, if known: with it the reading continues right there, without it the
        frame's place is looked up first.
        """
        first, skip = self._place(start, after)
        end = self._end_tick()
        interval, maximum = self.selection.interval, self.selection.maximum_count
        left = None if maximum is None else maximum - start
        if left is not None and left <= 0:
            return
        for position, picture in enumerate(self._source.pictures(first, self.damage)):
            if position == 0 and after is not None and picture.tick != after:
                raise MediaError(
                    f"{self.info.path}: has no frame at tick {after} any more; was it changed since the last run?"
                )
            if end is not None and picture.tick >= end:
                break
            if position < skip or (position - skip) % interval:
                continue
            yield self._frame(picture, end)
            if left is not None:
                left -= 1
                if left == 0:
                    return

    def audio_range(self, timing: Timing) -> AudioRange | None:
        """The sound that belongs to the frames of `timing`; None if the source has none."""
        info = self.info
        if info.audio is None:
            return None
        from_first = int(timing.ticks[0]) == info.first_tick
        if info.duration is None:
            to_last = self.selection.end is None and self.selection.maximum_count is None
        else:
            to_last = timing.end >= info.first_tick * info.time_base + info.duration - 1 / self.fps
        return AudioRange(
            info.path, timing.start, timing.end, whole=from_first and to_last, decodable=info.audio.decodable
        )

    def _place(self, start: int, after: int | None) -> tuple[int | None, int]:
        """Where to begin reading, and how many pictures from there to the first one wanted."""
        selection = self.selection
        if start and after is not None:
            return after, selection.interval
        if isinstance(selection.start, float):
            return self._tick_of_seconds(selection.start), start * selection.interval
        position = (selection.start or 0) + start * selection.interval
        if position == 0:
            return None, 0
        tick = self._source.tick_of(position)
        if tick is None:
            if start:
                return None, position
            raise MediaError(f"{self.info.path}: start is frame {position}, but the video has fewer frames.")
        return tick, 0

    def _end_tick(self) -> int | None:
        end = self.selection.end
        if end is None:
            return None
        return self._tick_of_seconds(end) if isinstance(end, float) else self._source.tick_of(end)

    def _tick_of_seconds(self, seconds: float) -> int:
        # A millisecond of grace (a quarter frame at most): 1/30 s is stored as 33 ms in some containers, and 0.1 is
        # no exact float. Without it a frame that starts at the bound would be missed.
        grace = min(Fraction(1, 1000), 1 / self.info.fps / 4)
        return self.info.first_tick + ceil((Fraction(seconds) - grace) / self.time_base)

    def _frame(self, picture: Picture, end: int | None) -> Frame:
        rgb, alpha = picture.pixels()
        rgb_out, alpha_out = self._fitted(rgb), None if alpha is None else self._fitted(alpha)
        info = self.info
        until = picture.until + round((self.selection.interval - 1) / (info.fps * info.time_base))
        bounds = [until] if end is None else [until, end]
        if info.duration is not None:
            bounds.append(info.first_tick + round(info.duration / info.time_base))
        return Frame(rgb_out, alpha_out, picture.tick, max(picture.tick + 1, min(bounds)))

    def _fitted(self, image: Image) -> Image:
        height, width = image.shape[:2]
        if (height, width) not in self._placements:
            aspect = self.info.pixel_aspect
            if self.info.rotation % 180:
                aspect = 1 / aspect
            self._placements[height, width] = place_on(
                height, width, self.height, self.width, crop=self._crop, pixel_aspect=aspect
            )
        return resized(image, self._placements[height, width])


def open_clip(
    source: Path | str,
    selection: Selection | None = None,
    geometry: Geometry | None = None,
    *,
    image_fps: Fraction = DEFAULT_IMAGE_FPS,
) -> Clip:
    """Open a video file, a folder of numbered images, a glob of images, or one image.

    Images carry no rate: they are shown at `image_fps`.
    """
    return Clip(_open_source(source, image_fps), selection or Selection(), geometry or Geometry())


def _open_source(source: Path | str, image_fps: Fraction) -> Source:
    path = Path(source)
    if path.is_dir() or is_image_name(path) or is_pattern(source):
        return ImageSequence(path, list_images(source), image_fps)
    return VideoFile(probe(path))
