"""Writing a video file: pictures, their times, the sound, the settings."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from diffsynth.errors import MediaError
from diffsynth.frames import Image, Timing, sync
from diffsynth.video.audio import AudioRange, AudioTrack
from diffsynth.video.encoders import Encoder, encoder_for
from diffsynth.video.ffmpeg import captured_log, words
from diffsynth.video.options import ALPHA_CODECS, CODEC_SUFFIXES, VideoOptions
from diffsynth.video.picture import EXACT

_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif", ".webp": "webp"}


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
    repeating the last row or column.
    """
    path = Path(path)
    options = options or VideoOptions()
    _check_suffix(path, options)
    aside = path.with_name(f".{path.stem}.partial{path.suffix}")
    with captured_log() as log:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            schedule = Schedule(fps, timing)
            written = _encode(path, aside, frames, alphas, schedule, options, audio, settings, progress)
            sync(aside)
            aside.replace(path)
            sync(path.parent)
        except (av.FFmpegError, OSError) as problem:
            if isinstance(problem, MediaError) or not isinstance(problem, (av.FFmpegError, OSError)):
                raise
            raise MediaError(f"{path}: cannot be written: {words(problem, log)}.") from problem
        finally:
            aside.unlink(missing_ok=True)
    return written


class Schedule:
    """When each frame of the output is shown, counted from 0."""

    def __init__(self, fps: Fraction, timing: Timing | None) -> None:
        self.timing = timing
        self.variable = timing is not None and not timing.is_regular(fps)
        # Encoders hold rates in 32 bits.
        self.fps = fps.limit_denominator(100_000)
        self.time_base = timing.time_base if timing is not None and self.variable else 1 / self.fps

    def span(self, position: int) -> tuple[int, int]:
        """(pts, duration) of a frame in `time_base`."""
        if self.timing is None or not self.variable:
            return position, 1
        ticks = self.timing.ticks
        if position >= len(ticks):
            raise ValueError(f"frame {position} has no time stamp: there are {len(ticks)}")
        until = int(ticks[position + 1]) if position + 1 < len(ticks) else self.timing.until
        return int(ticks[position] - ticks[0]), max(1, until - int(ticks[position]))


def _check_suffix(path: Path, options: VideoOptions) -> None:
    allowed = CODEC_SUFFIXES[options.codec]
    if path.suffix.lower() not in allowed:
        raise MediaError(
            f"{path}: {options.codec} is not written into {path.suffix or 'a file without a suffix'}. "
            f"Use {' or '.join(allowed)}, or another codec."
        )


def _encode(
    path: Path,
    aside: Path,
    frames: Iterable[Image],
    alphas: Iterable[Image] | None,
    schedule: Schedule,
    options: VideoOptions,
    audio: AudioRange | None,
    settings: str | None,
    progress: Callable[[int], None] | None,
) -> WrittenVideo:
    notes: list[str] = []
    keep_alpha = alphas is not None and options.alpha and options.codec in ALPHA_CODECS
    encoder = encoder_for(options, alpha=keep_alpha)
    if alphas is not None and not keep_alpha and options.alpha:
        notes.append(f"{options.codec} holds no alpha: it is left out.")
    suffix = path.suffix.lower()
    images = _with_alpha(frames, alphas if keep_alpha else None)
    first = next(images, None)
    if first is None:
        raise MediaError(f"{path}: there are no frames to write.")
    height, width = first[0].shape[:2]
    rows, columns = (height % 2, width % 2) if encoder.even_sides else (0, 0)
    container_options = {**encoder.container_options, "fflags": "+bitexact"}
    with av.open(str(aside), "w", format=_FORMATS[suffix], options=container_options) as container:
        if settings is not None:
            container.metadata["comment"] = settings
        stream = _add_stream(container, encoder, schedule, height + rows, width + columns)
        track = AudioTrack(container, suffix, audio) if audio is not None and options.audio else None
        try:
            count, end = 0, 0
            to_frame = ToFrame(encoder, rows, columns)
            durations: dict[int, int] = {}
            for rgb, alpha in _chain(first, images):
                if rgb.shape[:2] != (height, width):
                    raise ValueError(f"frame {count} is {rgb.shape[:2]}, the first one is {(height, width)}")
                pts, duration = schedule.span(count)
                if track is not None:
                    track.advance(pts * schedule.time_base)
                frame = to_frame(rgb, alpha)
                frame.pts, frame.time_base, frame.duration = pts, schedule.time_base, duration
                durations[pts] = duration
                _mux(container, stream, frame, durations, schedule)
                count, end = count + 1, pts + duration
                if progress is not None:
                    progress(count)
            _mux(container, stream, None, durations, schedule)
            if track is not None:
                track.advance(None)
        finally:
            if track is not None:
                track.close()
    if schedule.timing is not None and count != len(schedule.timing):
        raise ValueError(f"{count} frames came, but there are {len(schedule.timing)} time stamps")
    how: Literal["none", "copied", "encoded", "dropped"] = "none" if track is None else track.how
    if audio is not None and track is None:
        how = "dropped"
    return WrittenVideo(
        path, count, height + rows, width + columns, end * schedule.time_base, schedule.variable, rows, columns, how, tuple(notes)
    )


def _add_stream(
    container: OutputContainer, encoder: Encoder, schedule: Schedule, height: int, width: int
) -> VideoStream:
    stream = container.add_stream(encoder.name, rate=schedule.fps, options=dict(encoder.options))
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = width, height
    stream.pix_fmt = encoder.pixel_format
    context = stream.codec_context
    context.time_base = schedule.time_base
    stream.time_base = schedule.time_base
    context.thread_count = encoder.threads
    if encoder.tag is not None:
        context.codec_tag = encoder.tag
    if not encoder.is_rgb:
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _mux(
    container: OutputContainer,
    stream: VideoStream,
    frame: VideoFrame | None,
    durations: dict[int, int],
    schedule: Schedule,
) -> None:
    for packet in stream.encode(frame):
        # Encoders forget how long a frame is shown; without it the last frame of a variable rate has no end.
        if packet.pts is not None:
            pts = round(packet.pts * packet.time_base / schedule.time_base)
            length = durations.pop(pts, None)
            if length is not None:
                packet.duration = max(1, round(length * schedule.time_base / packet.time_base))
        container.mux(packet)


class ToFrame:
    """From an RGB array to what the encoder takes: padded, in BT.709 limited range unless the codec is RGB."""

    def __init__(self, encoder: Encoder, rows: int, columns: int) -> None:
        self._encoder, self._rows, self._columns = encoder, rows, columns
        self._reformatter = VideoReformatter()

    def __call__(self, rgb: Image, alpha: Image | None) -> VideoFrame:
        pixels = rgb if alpha is None else np.dstack([rgb, alpha])
        if self._rows or self._columns:
            pixels = np.pad(pixels, ((0, self._rows), (0, self._columns), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24" if alpha is None else "rgba")
        if self._encoder.is_rgb:
            return self._reformatter.reformat(frame, format=self._encoder.pixel_format, threads=1)
        out = self._reformatter.reformat(
            frame,
            format=self._encoder.pixel_format,
            dst_colorspace=Colorspace.ITU709,
            interpolation=EXACT,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        out.color_primaries, out.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return out


def _with_alpha(frames: Iterable[Image], alphas: Iterable[Image] | None) -> Iterator[tuple[Image, Image | None]]:
    if alphas is None:
        return ((rgb, None) for rgb in frames)
    return zip(frames, alphas, strict=True)


def _chain(
    first: tuple[Image, Image | None], rest: Iterator[tuple[Image, Image | None]]
) -> Iterator[tuple[Image, Image | None]]:
    yield first
    yield from rest
