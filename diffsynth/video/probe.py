"""Looking into a video file without reading it through."""

from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from diffsynth.errors import MediaError
from diffsynth.video.ffmpeg import has_decoder, open_input, packets, video_stream, words
from diffsynth.video.geometry import display_size
from diffsynth.video.info import AudioInfo, VideoInfo
from diffsynth.video.picture import ToRgb, has_alpha_plane, is_hdr, rotation_of

# Enough to tell a variable rate in a container without an index, few enough to read at once.
_PACKETS_LOOKED_AT = 120


def probe(path: Path | str) -> VideoInfo:
    """What a video file holds. Reads its header, its index or first packets, and decodes its first frame."""
    path = Path(path)
    with open_input(path) as container:
        stream = video_stream(path, container)
        if not has_decoder(stream):
            raise MediaError(f"{path}: its video is in a format that this FFmpeg has no decoder for.")
        variable = _is_variable(path, container, stream)
    # Opened again: looking at packets has moved the reading position, and not every format can seek back.
    with open_input(path) as container:
        stream = video_stream(path, container)
        frame = _first_frame(path, container, stream)
        return _describe(path, container, stream, frame, variable=variable)


def read_settings(path: Path | str) -> str | None:
    """The settings that `write_video` embedded, or None."""
    with open_input(Path(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        return tags.get("comment")


def _describe(
    path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame, *, variable: bool
) -> VideoInfo:
    time_base = stream.time_base or Fraction(1, 1000)
    rotation = rotation_of(frame)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    height, width = display_size(frame.height, frame.width, aspect)
    if rotation % 180:
        height, width = width, height
    duration = _duration(container, stream, time_base)
    if duration is not None and "matroska" in container.format.name and frame.pts:
        # Matroska counts its duration from zero, wherever the first frame lies.
        duration = max(duration - frame.pts * time_base, Fraction(0)) or None
    fps = Fraction(stream.average_rate or stream.guessed_rate or 25)
    if variable and stream.frames and duration:
        # FFmpeg's average of a variable rate divides by the times of decoding, not of showing.
        fps = stream.frames / duration
    count = stream.frames or (round(duration * fps) if duration is not None else None)
    notes = []
    if is_hdr(frame):
        notes.append("HDR (PQ or HLG) values are used as they are, without tone mapping.")
    return VideoInfo(
        path=path,
        container=container.format.name,
        codec=stream.codec_context.name,
        height=height,
        width=width,
        fps=fps,
        variable_rate=variable,
        frame_count=count,
        frame_count_is_exact=bool(stream.frames),
        duration=duration,
        pixel_format=frame.format.name,
        bit_depth=max(component.bits for component in frame.format.components),
        has_alpha=_has_alpha(stream, frame),
        rotation=rotation,
        pixel_aspect=aspect,
        time_base=time_base,
        # AVI counts packets instead (see `Decoder`).
        first_tick=0 if container.format.name == "avi" or frame.pts is None else frame.pts,
        audio=_audio(container),
        notes=tuple(notes),
    )


def _first_frame(path: Path, container: InputContainer, stream: VideoStream) -> VideoFrame:
    problem: av.FFmpegError | None = None
    for packet in packets(path, container, stream):
        try:
            for frame in packet.decode():
                return frame
        except av.FFmpegError as found:
            problem = problem or found
    said = f": {words(problem)}" if problem is not None else ""
    raise MediaError(f"{path}: no frame of its video stream could be decoded{said}.") from problem


def _duration(container: InputContainer, stream: VideoStream, time_base: Fraction) -> Fraction | None:
    if stream.duration:
        return stream.duration * time_base
    tag = next((value for key, value in stream.metadata.items() if key.upper() == "DURATION"), None)
    if tag is not None:
        try:
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds[:12])
        except ValueError:
            pass  # A tag in another form says nothing; the container's own duration is next.
    return Fraction(container.duration, 1_000_000) if container.duration else None


def _is_variable(path: Path, container: InputContainer, stream: VideoStream) -> bool:
    time_base = stream.time_base or Fraction(1, 1000)
    rate = stream.average_rate or stream.guessed_rate
    entries = stream.index_entries
    if stream.frames and len(entries) == stream.frames:
        stamps = [entry.timestamp for entry in entries]
    else:
        first = islice(packets(path, container, stream), _PACKETS_LOOKED_AT)
        stamps = sorted(packet.pts for packet in first if packet.pts is not None)
        # Frames still to come may belong between the last ones.
        stamps = stamps[: -16 if len(stamps) > 32 else None]
    if rate is None or len(stamps) < 3:
        return False
    nominal = 1 / (rate * time_base)
    # A time base rounds each stamp by up to one tick, so two neighbours may differ by two.
    limit = max(Fraction(2), nominal / 4)
    return any(abs(after - before - nominal) >= limit for before, after in pairwise(stamps))


def _has_alpha(stream: VideoStream, frame: VideoFrame) -> bool:
    if stream.codec_context.name in {"vp8", "vp9"}:
        return stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
    if not has_alpha_plane(frame.format.name):
        return False
    if stream.codec_context.name == "gif":
        # Every GIF decodes with alpha; only one that starts with clear pixels means it.
        _, alpha = ToRgb(alpha=True)(frame)
        return alpha is not None and bool((alpha < 255).any())
    return True


def _audio(container: InputContainer) -> AudioInfo | None:
    for stream in container.streams.audio:
        if not has_decoder(stream):
            return AudioInfo("unknown", 0, 0, None, decodable=False)
        length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        return AudioInfo(stream.codec_context.name, stream.sample_rate or 0, stream.channels or 0, length)
    return None
