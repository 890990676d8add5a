"""Reading a video file: decoding, seeking, time stamps, and what to do about damage."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from diffsynth.errors import MediaError
from diffsynth.frames import Image
from diffsynth.video.ffmpeg import open_input, packets, video_stream, words
from diffsynth.video.info import VideoInfo
from diffsynth.video.picture import ToRgb, upright
from diffsynth.video.source import Damage, Picture

if TYPE_CHECKING:
    from av.packet import Packet

# FFmpeg's own VP8/VP9 decoders leave the alpha channel aside; libvpx reads it.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# How many packets may lie between a frame's place in the file and its place in time: H.264 and HEVC allow 16.
_REORDER = 32


_Timed = tuple[VideoFrame, int, int]


class VideoFile:
    """A video file as a `Source`. Each call of `pictures` opens the file anew, so several can run at once."""

    def __init__(self, info: VideoInfo) -> None:
        self._info = info

    @property
    def info(self) -> VideoInfo:
        return self._info

    def tick_of(self, position: int) -> int | None:
        """Read from the index where it is whole, otherwise from the packets, which costs reading but no decoding."""
        with open_input(self._info.path) as container:
            stream = video_stream(self._info.path, container)
            return (
                _indexed_tick(stream, position)
                if _is_even(stream)
                else _scanned_tick(self._info.path, container, stream, position)
            )

    def pictures(self, start: int | None, damage: Damage) -> Iterator[Picture]:
        decoder = Decoder(self._info, damage)
        try:
            convert = ToRgb(alpha=self._info.has_alpha)
            for frame, tick, until in decoder.frames_from(start):
                yield Picture(tick, until, _Pixels(frame, convert, self._info))
            _check_end(decoder.until, self._info, whole=start is None)
        finally:
            decoder.close()


class _Pixels:
    """The pixels of a decoded frame, converted when called."""

    def __init__(self, frame: VideoFrame, convert: ToRgb, info: VideoInfo) -> None:
        self._frame, self._convert, self._info = frame, convert, info

    def __call__(self) -> tuple[Image, Image | None]:
        try:
            rgb, alpha = self._convert(self._frame)
        except av.FFmpegError as problem:
            raise MediaError(f"{self._info.path}: its pictures cannot become RGB: {words(problem)}.") from problem
        rotation = self._info.rotation
        return upright(rgb, rotation), None if alpha is None else upright(alpha, rotation)


class Decoder:
    """Frames of one stream in the order of showing, with strictly rising ticks."""

    def __init__(self, info: VideoInfo, damage: Damage) -> None:
        self._info = info
        self._damage = damage
        self.until: int | None = None
        """When the last frame so far goes away."""
        self._last = 0
        self._times: deque[int] = deque()
        self._open()
        self._step = _nominal_ticks(self._stream)
        # AVI stores no times of showing. Its packets come in even steps, so the n-th frame shown gets the n-th
        # packet's time; that needs counting from the start.
        self._counted = info.container == "avi" and self._stream.codec_context.has_b_frames

    def _open(self) -> None:
        self._container = open_input(self._info.path)
        self._stream = video_stream(self._info.path, self._container)
        self._own: VideoCodecContext | None = None
        name = self._stream.codec_context.name
        if self._info.has_alpha and name in _ALPHA_DECODERS:
            self._own = cast("VideoCodecContext", VideoCodecContext.create(_ALPHA_DECODERS[name], "r"))
            self._own.extradata = self._stream.codec_context.extradata
        else:
            self._stream.thread_type = ThreadType.AUTO

    def close(self) -> None:
        self._container.close()

    def frames_from(self, start: int | None) -> Iterator[_Timed]:
        """(frame, tick, until) from the frame at tick `start` on. Seeks, and checks that it landed early enough."""
        if start is None or self._counted:
            yield from self._after(start)
            return
        step_back = 0
        while start - step_back > self._info.first_tick and self._seek(start - step_back):
            frames = self._decoded()
            landing = self._land(start, frames)
            if landing is not None:
                yield from landing
                yield from frames
                return
            step_back = max(1, int(1 / self._info.time_base), 4 * step_back)
        self._container.close()
        self._open()
        self._forget()
        yield from self._after(start)

    def _land(self, start: int, frames: Iterator[_Timed]) -> list[_Timed] | None:
        """The first frame at or after `start`, or nothing if the file ends before; None if the seek led too late.

        It is early enough if the first frame read is not behind `start`, and a key frame is shown at or before it:
        then all that the frame was made from has been decoded.
        """
        key_seen, earliest = False, None
        for item in frames:
            frame, tick, _ = item
            earliest = tick if earliest is None else earliest
            key_seen = key_seen or bool(frame.key_frame)
            if tick >= start:
                return [item] if key_seen and earliest <= start else None
        return [] if key_seen else None

    def _after(self, start: int | None) -> Iterator[_Timed]:
        return (item for item in self._decoded() if start is None or item[1] >= start)

    def _seek(self, tick: int) -> bool:
        try:
            self._container.seek(tick, stream=self._stream, backward=True)
        except (av.FFmpegError, OSError):
            return False
        self._forget()
        return True

    def _forget(self) -> None:
        self.until = None
        self._times.clear()
        if self._own is not None:
            self._own.flush_buffers()

    def _decoded(self) -> Iterator[_Timed]:
        for frame in self._raw():
            tick = self._times.popleft() if self._counted and self._times else frame.pts
            if tick is None or (self.until is not None and tick <= self._last):
                # A missing or repeated stamp: show it when the one before goes away.
                tick = self.until if self.until is not None else 0
            if not self._info.variable_rate and self.until is not None:
                # Packets that a demuxer skipped over leave nothing but their place.
                self._damage.missing += max(0, tick - self.until + self._step // 2) // self._step
            length = frame.duration if frame.duration and frame.duration > 0 else self._step
            self._last = tick
            self.until = tick + max(1, length)
            if frame.is_corrupt:
                self._damage.add(tick, "the decoder marks it as corrupt")
            yield frame, tick, self.until

    def _raw(self) -> Iterator[VideoFrame]:
        for packet in packets(self._info.path, self._container, self._stream):
            if packet.size and self._counted and packet.dts is not None:
                self._times.append(packet.dts)
            try:
                frames = self._decode(packet)
            except (av.FFmpegError, ValueError) as problem:
                self._damage.add(packet.pts, words(problem))
                continue
            yield from frames

    def _decode(self, packet: "Packet[VideoStream]") -> list[VideoFrame]:
        if self._own is None:
            return packet.decode()
        frames = self._own.decode(packet if packet.size else None)
        for frame in frames:
            frame.time_base = packet.time_base
        return frames


def _nominal_ticks(stream: VideoStream) -> int:
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return max(1, round(1 / (rate * (stream.time_base or Fraction(1, 1000)))))


def _is_even(stream: VideoStream) -> bool:
    """Whether the index holds every frame, in equal steps."""
    entries = stream.index_entries
    if not stream.frames or len(entries) != stream.frames or stream.start_time is None:
        return False
    stamps = [entry.timestamp for entry in entries]
    steps = {after - before for before, after in pairwise(stamps)}
    return len(steps) <= 1 and not any(entry.is_discard for entry in entries)


def _indexed_tick(stream: VideoStream, position: int) -> int | None:
    if position >= stream.frames or stream.start_time is None:
        return None
    entries = stream.index_entries
    step = entries[1].timestamp - entries[0].timestamp if len(entries) > 1 else 0
    return stream.start_time + position * step


def _scanned_tick(path: Path, container: InputContainer, stream: VideoStream, position: int) -> int | None:
    ticks: list[int] = []
    for packet in packets(path, container, stream):
        tick = packet.dts if container.format.name == "avi" else packet.pts
        if packet.size and not packet.is_discard and tick is not None:
            ticks.append(tick)
        if len(ticks) > position + _REORDER:
            break
    ticks.sort()
    return ticks[position] if position < len(ticks) else None


def _check_end(until: int | None, info: VideoInfo, *, whole: bool) -> None:
    """The file was read to its end: was that the end its header announces?"""
    if until is None:
        if whole:
            raise MediaError(f"{info.path}: no frame of its video stream could be decoded.")
        return
    if info.duration is None:
        return
    read = (until - info.first_tick) * info.time_base
    # Half a second, or two frames at low rates: containers round, and announce the longest stream.
    if read < info.duration - max(Fraction(1, 2), 2 / info.fps):
        raise MediaError(
            f"{info.path}: ends after {float(read):.2f} s although its header announces {float(info.duration):.2f} s; "
            f'the file was cut off or is damaged. To use what is there, set "end" to {float(read):.2f}.'
        )
