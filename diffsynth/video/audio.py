"""The sound of the rendered range: copied where nothing has to change, otherwise decoded, cut and encoded again."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph

from diffsynth.video.ffmpeg import open_input, packets

if TYPE_CHECKING:
    from av.packet import Packet

# What players of each container understand. mp4 is meant for browsers: AC-3 and ALAC fit into it,
# but only one of them plays either.
_COPIED = {
    ".mp4": frozenset(["aac", "mp3", "mp3float", "opus", "libopus", "flac"]),
    ".mov": frozenset(["aac", "mp3", "mp3float", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "ac3", "eac3"]),
    ".webm": frozenset(["opus", "libopus", "vorbis", "libvorbis"]),
    ".mkv": frozenset(
        [
            "aac",
            "mp3",
            "mp3float",
            "mp2",
            "mp2float",
            "opus",
            "libopus",
            "vorbis",
            "libvorbis",
            "flac",
            "ac3",
            "eac3",
            "dca",
            "truehd",
            "pcm_s16le",
            "pcm_s24le",
            "pcm_f32le",
        ]
    ),
}
_ENCODERS = {".mp4": "aac", ".mov": "aac", ".webm": "libopus", ".mkv": "flac"}
# AAC and Opus need what came before to decode a sample: start a little early and cut afterwards.
_PREROLL = Fraction(1, 2)


@dataclass(frozen=True)
class AudioRange:
    """A stretch of a file's first audio stream, in seconds of the file's own time stamps."""

    path: Path
    start: Fraction
    end: Fraction
    whole: bool
    """The range is the whole video: the sound may be copied as it is, with what it has before and behind."""
    decodable: bool = True


def holds_sound(suffix: str) -> bool:
    """Whether files with this suffix can hold sound at all."""
    return suffix in _COPIED


class AudioTrack:
    """Feeds a range of sound into an output, in step with the pictures so that neither has to wait in memory."""

    def __init__(self, out: OutputContainer, suffix: str, wanted: AudioRange) -> None:
        self._range = wanted
        self._out = out
        self._in = open_input(wanted.path)
        stream = self._in.streams.audio[0]
        others = len(self._in.streams.audio) - 1
        self.notes = [f"the source has {others} more sound tracks: only the first is kept."] if others else []
        self.how: Literal["copied", "encoded"]
        if wanted.whole and stream.codec_context.name in _COPIED[suffix] and not _moves_pictures(wanted, suffix):
            self.how = "copied"
            self._stream = out.add_stream_from_template(stream)
            self._packets = self._copied(stream)
        else:
            self.how = "encoded"
            self._stream = _add_encoder(out, suffix, stream)
            self._packets = self._encoded(stream)
        self._next: Packet[AudioStream] | None = None
        self._done = False

    def advance(self, seconds: Fraction | None) -> None:
        """Write all packets that begin before `seconds` of the output; all that are left for None."""
        while not self._done:
            if self._next is None:
                self._next = next(self._packets, None)
                if self._next is None:
                    self._done = True
                    return
            packet = self._next
            begins = (packet.dts or 0) * packet.time_base
            if seconds is not None and begins >= seconds:
                return
            packet.stream = self._stream
            self._out.mux(packet)
            self._next = None

    def close(self) -> None:
        self._in.close()

    def _copied(self, stream: AudioStream) -> "Iterator[Packet[AudioStream]]":
        offset = round(self._range.start / _time_base(stream))
        last: int | None = None
        for packet in packets(self._range.path, self._in, stream):
            if packet.dts is None or not packet.size:
                continue
            packet.dts -= offset
            packet.pts = packet.dts if packet.pts is None else packet.pts - offset
            if last is not None and packet.dts <= last:
                # Some recorders stamp two packets alike; no container takes that.
                packet.dts = last + 1
                packet.pts = max(packet.pts, packet.dts)
            last = packet.dts
            yield packet

    def _encoded(self, stream: AudioStream) -> "Iterator[Packet[AudioStream]]":
        for frame in self._cut(stream):
            yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _cut(self, stream: AudioStream) -> Iterator[AudioFrame]:
        """The decoded samples of the range, stamped from its start."""
        # The whole video's sound keeps what runs on behind the last picture, as a copy would.
        stop = "" if self._range.whole else f":end={float(self._range.end):.9f}"
        context = self._stream.codec_context
        layout, rate, kind = context.layout.name, context.sample_rate, context.format.name
        graph: Graph | None = None
        for frame in self._decoded(stream):
            if graph is None:
                graph = Graph()
                start = float(self._range.start)
                graph.link_nodes(
                    graph.add_abuffer(
                        sample_rate=frame.sample_rate,
                        format=frame.format.name,
                        layout=frame.layout.name,
                        time_base=stream.time_base,
                    ),
                    graph.add("atrim", f"start={start:.9f}{stop}"),
                    graph.add("asetpts", f"PTS-{start:.9f}/TB"),
                    # Damage leaves gaps, and sound may start late: both become silence, so that nothing moves forward.
                    graph.add("aresample", f"{rate}:async=1:first_pts=0"),
                    graph.add("aformat", f"sample_fmts={kind}:channel_layouts={layout}"),
                    graph.add("abuffersink"),
                ).configure()
            yield from _filtered(graph, frame)
        if graph is not None:
            yield from _filtered(graph, None)

    def _decoded(self, stream: AudioStream) -> Iterator[AudioFrame]:
        time_base = _time_base(stream)
        begin = self._range.start - _PREROLL
        if begin > 0 and not self._range.whole:
            self._in.seek(int(begin / time_base), stream=stream)
        for packet in packets(self._range.path, self._in, stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue  # A broken packet is a short silence; the frames around it keep their stamps.
            for frame in frames:
                yield frame
                if frame.pts is not None and not self._range.whole and frame.pts * time_base > self._range.end:
                    return


def _moves_pictures(wanted: AudioRange, suffix: str) -> bool:
    """Whether copied sound would begin before zero in a container without edit lists, which would show all pictures
    later to make room for it. An encoder's run-up does so; only Opus tells Matroska how long its own is."""
    if suffix in {".mp4", ".mov"}:
        return False
    with open_input(wanted.path) as container:
        stream = container.streams.audio[0]
        if stream.codec_context.name in {"opus", "libopus"}:
            return False
        first = next(packets(wanted.path, container, stream))
        return first.pts is not None and first.pts * _time_base(stream) < wanted.start


def _add_encoder(out: OutputContainer, suffix: str, stream: AudioStream) -> AudioStream:
    name = _ENCODERS[suffix]
    rate = 48000 if name == "libopus" else stream.sample_rate
    layout = _layout(stream)
    encoder = out.add_stream(name, rate=rate)
    if not isinstance(encoder, AudioStream):
        raise TypeError(f"{name} is no sound encoder")
    encoder.codec_context.layout = layout
    if name != "flac":
        encoder.codec_context.bit_rate = 96_000 * max(1, stream.codec_context.layout.nb_channels)
    return encoder


def _layout(stream: AudioStream) -> str:
    """The speakers to encode for: the usual ones for their number, which every encoder here knows. (Plain PCM says no
    more than a number; 5.1 comes in two spellings, of which Opus takes one.)"""
    usual = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
    return usual.get(stream.codec_context.layout.nb_channels, "stereo")


def _time_base(stream: AudioStream) -> Fraction:
    return stream.time_base or Fraction(1, stream.sample_rate)


def _filtered(graph: Graph, frame: AudioFrame | None) -> Iterator[AudioFrame]:
    """What the filters give back for one more frame; None is the end."""
    with suppress(av.EOFError):  # the trim takes no more once it has let all through
        graph.push(frame)
    while True:
        try:
            filtered = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(filtered, AudioFrame):
            yield filtered
