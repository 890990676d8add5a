"""From RGB arrays to what an encoder takes."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc

from diffsynth.frames import Image
from diffsynth.video.animation import Paletted, palette_of
from diffsynth.video.conversion import Conversion
from diffsynth.video.encoders import Encoder


class Outgoing(Protocol):
    """Turns arrays into frames for an encoder; a frame's pts is its position."""

    height: int
    width: int

    def push(self, rgb: Image, alpha: Image | None, position: int) -> Iterator[VideoFrame]: ...

    def flush(self) -> Iterator[VideoFrame]: ...


class PlainFrames:
    """One frame in, one out: padded to even sides where 4:2:0 needs them, BT.709 limited range if the codec is YUV."""

    def __init__(self, encoder: Encoder, height: int, width: int) -> None:
        self._encoder = encoder
        self._rows, self._columns = (height % 2, width % 2) if encoder.even_sides else (0, 0)
        self.height, self.width = height + self._rows, width + self._columns
        self._convert = Conversion(encoder.pixel_format)

    def push(self, rgb: Image, alpha: Image | None, position: int) -> Iterator[VideoFrame]:
        pixels = rgb if alpha is None else np.dstack([rgb, alpha])
        if self._rows or self._columns:
            pixels = np.pad(pixels, ((0, self._rows), (0, self._columns), (0, 0)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24" if alpha is None else "rgba")
        # Chroma lies at the left of its pair of pixels, where decoders of all these codecs take it to be.
        colours = "in_range=pc:out_color_matrix=bt709:out_range=tv:out_chroma_loc=left" if self._encoder.is_yuv else ""
        out = self._convert(frame, colours or "in_range=pc:out_range=pc")
        if self._encoder.is_yuv:
            out.color_primaries, out.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        out.pts = position
        yield out

    def flush(self) -> Iterator[VideoFrame]:
        return iter(())


class PaletteFrames:
    """Frames of 256 colours for a GIF. `frames` is read through once here to find the colours."""

    def __init__(self, frames: Iterable[Image], height: int, width: int, *, alpha: bool) -> None:
        if iter(frames) is frames:
            raise TypeError("a GIF needs frames that can be read twice, such as a FrameStore, not an iterator")
        self.height, self.width = height, width
        self._paletted = Paletted(palette_of(frames, alpha=alpha), height, width, alpha=alpha)

    def push(self, rgb: Image, alpha: Image | None, position: int) -> Iterator[VideoFrame]:
        return self._paletted.push(rgb, alpha, position)

    def flush(self) -> Iterator[VideoFrame]:
        return self._paletted.flush()
