"""Writing a video file: pictures, their times, the sound, the settings."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from diffsynth.disk import sync
from diffsynth.errors import DiffSynthError, MediaError
from diffsynth.frames import Image
from diffsynth.timing import Timing
from diffsynth.video.audio import AudioRange, AudioTrack, holds_sound
from diffsynth.video.encoders import Encoder, encoder_for
from diffsynth.video.ffmpeg import words
from diffsynth.video.options import ALPHA_CODECS, CODEC_SUFFIXES, Codec, VideoOptions
from diffsynth.video.outgoing import Outgoing, PaletteFrames, PlainFrames
from diffsynth.video.schedule import Schedule

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif", ".webp": "webp"}
_CONTAINER_OPTIONS = {
    # The index before the data: a browser starts playing before it has all of the file.
    ".mp4": {"movflags": "+faststart"},
    ".mov": {"movflags": "+faststart"},
    ".webp": {"loop": "0"},
}
# Times in hundredths and thousandths of a second; other containers take nearly any.
_TIME_BASES: dict[Codec, Fraction] = {"gif": Fraction(1, 100), "webp": Fraction(1, 1000)}
# What keeps a string as a tag.
_HOLDS_SETTINGS = frozenset({".mp4", ".mov", ".mkv", ".webm"})

Pair = tuple[Image, Image | None]


@dataclass(frozen=True)
class WrittenVideo:
    """What was written, and what of the source is not in it."""

    path: Path
    frame_count: int
    height: int
    width: int
    duration: Fraction
    variable_rate: bool
    padded_rows: int
    padded_columns: int
    audio: Literal["none", "copied", "encoded", "dropped"]
    notes: tuple[str, ...]


def write_video(
    path: Path | str,
    frames: Iterable[Image],
    *,
    fps: Fraction,
    timing: Timing | None = None,
    alphas: Iterable[Image] | None = None,
    options: VideoOptions | None = None,
    audio: AudioRange | None = None,
    settings: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> WrittenVideo:
    """Encode `frames` to `path`; the codec decides which suffixes it may have.

    With `timing` whose stamps leave the grid of `fps`, the stamps are kept; otherwise the rate is exactly `fps`. The
    file appears under its name only when it is whole and on disk. An odd side that the codec can't hold is padded by
    repeating the last row or column. `settings` is kept in the file's comment (`read_settings` gets it back). What
    can't be kept is said in the result's notes. One frame is in memory at a time; for a GIF `frames` is read twice.
    """
    path = Path(path)
    options = options or VideoOptions()
    _check_suffix(path, options)
    writing = _Writing(path, options, Schedule(fps, timing, _TIME_BASES.get(options.codec)), audio, settings)
    aside = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = writing.run(aside, frames, alphas, progress)
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except DiffSynthError:
        raise
    except (av.FFmpegError, OSError) as problem:
        raise MediaError(f"{path}: cannot be written: {words(problem)}.") from problem
    finally:
        aside.unlink(missing_ok=True)
    return written


def _check_suffix(path: Path, options: VideoOptions) -> None:
    allowed = CODEC_SUFFIXES[options.codec]
    if path.suffix.lower() not in allowed:
        raise MediaError(
            f"{path}: {options.codec} is not written into {path.suffix or 'a file without a suffix'}. "
            f"Use {' or '.join(allowed)}, or another codec."
        )


class _Writing:
    """One file being written."""

    def __init__(
        self, path: Path, options: VideoOptions, schedule: Schedule, audio: AudioRange | None, settings: str | None
    ) -> None:
        self.path, self.options, self.schedule = path, options, schedule
        self.suffix = path.suffix.lower()
        self.audio = audio if options.audio else None
        self.settings = settings
        self.notes: list[str] = []
        self._durations: dict[int, int] = {}

    def run(
        self,
        aside: Path,
        frames: Iterable[Image],
        alphas: Iterable[Image] | None,
        progress: Callable[[int], None] | None,
    ) -> WrittenVideo:
        keep_alpha = self._keeps_alpha(alphas is not None)
        pairs = _pairs(frames, alphas if keep_alpha else None)
        first = next(pairs, None)
        if first is None:
            raise MediaError(f"{self.path}: there are no frames to write.")
        height, width = first[0].shape[:2]
        encoder = encoder_for(self.options, alpha=keep_alpha)
        outgoing: Outgoing = PlainFrames(encoder, height, width)
        if self.options.codec == "gif":
            outgoing = PaletteFrames(frames, height, width, alpha=keep_alpha)
        container_options = {**_CONTAINER_OPTIONS.get(self.suffix, {}), "fflags": "+bitexact"}
        with av.open(str(aside), "w", format=_FORMATS[self.suffix], options=container_options) as container:
            self._describe(container)
            stream = self._add_stream(container, encoder, outgoing)
            track = self._add_track(container)
            try:
                count, begin, end = 0, -1, 0
                for count, (rgb, alpha) in enumerate(chain([first], pairs), 1):
                    if rgb.shape[:2] != (height, width):
                        raise ValueError(f"frame {count - 1} is {rgb.shape[:2]}, the first one is {(height, width)}")
                    before, (begin, end) = begin, self.schedule.span(count - 1)
                    if begin <= before:
                        raise MediaError(
                            f"{self.path}: {self.suffix} holds at most {1 / self.schedule.time_base} frames a second, "
                            f"and frame {count - 1} follows closer than that. Choose another codec, or frame_interval."
                        )
                    if track is not None:
                        track.advance(begin * self.schedule.time_base)
                    self._durations[begin] = end - begin
                    for frame in outgoing.push(rgb, alpha, count - 1):
                        self._encode(container, stream, frame)
                    if progress is not None:
                        progress(count)
                for frame in outgoing.flush():
                    self._encode(container, stream, frame)
                self._encode(container, stream, None)
                if track is not None:
                    track.advance(None)
            finally:
                if track is not None:
                    track.close()
        self.schedule.check(count)
        return WrittenVideo(
            path=self.path,
            frame_count=count,
            height=outgoing.height,
            width=outgoing.width,
            duration=end * self.schedule.time_base,
            variable_rate=self.schedule.variable,
            padded_rows=outgoing.height - height,
            padded_columns=outgoing.width - width,
            audio=track.how if track is not None else "none" if self.audio is None else "dropped",
            notes=tuple(self.notes),
        )

    def _keeps_alpha(self, given: bool) -> bool:  # noqa: FBT001
        if not given or not self.options.alpha:
            return False
        if self.options.codec not in ALPHA_CODECS:
            self.notes.append(f"{self.options.codec} holds no alpha: it is left out.")
            return False
        return True

    def _describe(self, container: OutputContainer) -> None:
        if self.settings is None:
            return
        if self.suffix in _HOLDS_SETTINGS:
            container.metadata["comment"] = self.settings
        else:
            self.notes.append(f"{self.suffix} holds no comment: the settings are left out.")

    def _add_track(self, container: OutputContainer) -> AudioTrack | None:
        if self.audio is None:
            return None
        if not holds_sound(self.suffix):
            self.notes.append(f"{self.suffix} holds no sound: the source's is left out.")
            return None
        if not self.audio.decodable:
            self.notes.append("FFmpeg has no decoder for the source's sound: it is left out.")
            return None
        track = AudioTrack(container, self.suffix, self.audio)
        self.notes.extend(track.notes)
        return track

    def _add_stream(self, container: OutputContainer, encoder: Encoder, outgoing: Outgoing) -> VideoStream:
        stream = container.add_stream(encoder.name, rate=self.schedule.fps, options=dict(encoder.options))
        if not isinstance(stream, VideoStream):
            raise TypeError(f"{encoder.name} is no video encoder")
        stream.width, stream.height = outgoing.width, outgoing.height
        stream.pix_fmt = encoder.pixel_format
        context = stream.codec_context
        context.time_base = stream.time_base = self.schedule.time_base
        context.thread_count = encoder.threads
        if encoder.tag is not None and self.suffix in {".mp4", ".mov"}:
            context.codec_tag = encoder.tag
        if encoder.is_yuv:
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
            context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def _encode(self, container: OutputContainer, stream: VideoStream, frame: VideoFrame | None) -> None:
        time_base = self.schedule.time_base
        if frame is not None:
            begin, end = self.schedule.span(frame.pts or 0)
            frame.pts, frame.time_base, frame.duration = begin, time_base, end - begin
        for packet in stream.encode(frame):
            # Encoders forget how long a frame is shown; without it the last frame of a variable rate has no end.
            if packet.pts is not None:
                duration = self._durations.pop(round(packet.pts * packet.time_base / time_base), None)
                if duration is not None:
                    packet.duration = max(1, round(duration * time_base / packet.time_base))
            container.mux(packet)


def _pairs(frames: Iterable[Image], alphas: Iterable[Image] | None) -> Iterator[Pair]:
    if alphas is None:
        return ((rgb, None) for rgb in frames)
    return zip(frames, alphas, strict=True)
