"""Opening files with FFmpeg's libraries, and passing on what they say when they can't."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import av
import av.logging
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from diffsynth.errors import MediaError, MissingFileError

if TYPE_CHECKING:
    from av.packet import Packet

_S = TypeVar("_S", bound=Stream)
_MAXIMUM_STALLS = 1000


def words(problem: BaseException, log: list[tuple[int, str, str]] | None = None) -> str:
    """What FFmpeg said: the error itself and the last line of its log, which is often the better half."""
    text = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    lines = [message.strip() for level, _, message in log or [] if level <= av.logging.ERROR and message.strip()]
    return f"{text} ({lines[-1]})" if lines and lines[-1] not in text else str(text)


@contextmanager
def captured_log() -> Iterator[list[tuple[int, str, str]]]:
    """Collect FFmpeg's log of this block, which is silent otherwise.

    Only around calls that run no codec threads: a thread that logs waits for the interpreter's lock, and its owner
    may be waiting for the thread.
    """
    before, skipped = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    # The second of two broken files has a right to the same words.
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_level(before)
        av.logging.set_skip_repeated(skipped)


def open_input(path: Path) -> InputContainer:
    """Open a media file for reading."""
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such file.")
    if path.is_dir():
        raise MediaError(f"{path}: is a folder, not a video file.")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: the file is empty (0 bytes).")
    with captured_log() as log:
        try:
            # Lists and playlists inside a file must not make us open other files or addresses.
            return av.open(
                str(path), "r", options={"protocol_whitelist": "file,crypto,data"}, metadata_errors="replace"
            )
        except (av.FFmpegError, OSError, ValueError) as problem:
            raise MediaError(f"{path}: FFmpeg cannot open it: {words(problem, log)}.") from problem


def has_decoder(stream: Stream) -> bool:
    """Whether FFmpeg can decode a stream; where it can't, there is no codec context in spite of the annotation."""
    return cast("object", stream.codec_context) is not None


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; the cover picture of a song is none."""
    for stream in container.streams.video:
        if not stream.disposition & type(stream.disposition).attached_pic:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise MediaError(f"{path}: has no video stream (it holds {kinds}).")


def packets(path: Path, container: InputContainer, stream: _S) -> "Iterator[Packet[_S]]":
    """A stream's packets, the empty one that flushes its decoder last. What can't be read on is a `MediaError`."""
    stalls = 0
    while True:
        try:
            for packet in container.demux(stream):
                stalls = 0
                yield cast("Packet[_S]", packet)
        except av.BlockingIOError as problem:
            # Damage in a transport stream: the demuxer skipped something and asks to be called again.
            stalls += 1
            if stalls > _MAXIMUM_STALLS:
                raise MediaError(f"{path}: FFmpeg cannot read on: {words(problem)}.") from problem
        except (av.FFmpegError, OSError) as problem:
            raise MediaError(f"{path}: FFmpeg cannot read on: {words(problem)}.") from problem
        else:
            return
