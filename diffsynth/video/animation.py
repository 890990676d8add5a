"""The palette of a GIF: 256 colours for the whole clip, found and applied by FFmpeg's filters frame by frame."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from diffsynth.frames import Image

# The palette is drawn from a sample, so that neither memory nor time grows with the clip: at most this many pixels a
# frame, and ever fewer frames the longer the clip gets (about 900 of 100,000).
_SAMPLED_PIXELS = 20_000
_EVERY_FRAME_UP_TO = 128
_TICK = Fraction(1, 25)  # the filters only count; the real times are set when a frame is encoded


def palette_of(frames: Iterable[Image], *, alpha: bool) -> VideoFrame:
    """A 16x16 picture of the 256 colours that suit all of `frames`; one is kept for clear pixels if `alpha`."""
    graph: Graph | None = None
    for position, rgb in enumerate(frames):
        if position % (1 + position // _EVERY_FRAME_UP_TO):
            continue
        height, width = rgb.shape[:2]
        if graph is None:
            step = int(np.ceil(np.sqrt(height * width / _SAMPLED_PIXELS)))
            small = rgb[::step, ::step]
            graph = Graph()
            graph.link_nodes(
                _buffer(graph, small.shape[0], small.shape[1]),
                graph.add("palettegen", f"reserve_transparent={int(alpha)}:stats_mode=full"),
                graph.add("buffersink"),
            ).configure()
        graph.vpush(_frame(rgb[::step, ::step], None, position))
    if graph is None:
        raise ValueError("a palette needs at least one frame")
    graph.vpush(None)
    return graph.vpull()


class Paletted:
    """Brings frames to a palette, with error diffusion that stays still where the picture does."""

    def __init__(self, palette: VideoFrame, height: int, width: int, *, alpha: bool) -> None:
        self._graph = Graph()
        pictures = _buffer(self._graph, height, width)
        colours = _buffer(self._graph, palette.height, palette.width)
        # Of the error-diffusing dithers this one stays inside the rectangle that changed; alpha is cut at one half.
        use = self._graph.add(
            "paletteuse", f"dither=sierra2_4a:diff_mode=rectangle:alpha_threshold={128 if alpha else 0}"
        )
        sink = self._graph.add("buffersink")
        pictures.link_to(use, 0, 0)
        colours.link_to(use, 0, 1)
        use.link_to(sink)
        self._graph.configure()
        self._pictures = pictures
        palette.pts = 0
        colours.push(palette)
        colours.push(None)

    def push(self, rgb: Image, alpha: Image | None, position: int) -> Iterator[VideoFrame]:
        self._pictures.push(_frame(rgb, alpha, position))
        yield from self._pull()

    def flush(self) -> Iterator[VideoFrame]:
        self._pictures.push(None)
        yield from self._pull()

    def _pull(self) -> Iterator[VideoFrame]:
        while True:
            try:
                yield self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return


def _buffer(graph: Graph, height: int, width: int) -> FilterContext:
    return graph.add_buffer(width=width, height=height, format=VideoFormat("bgra", width, height), time_base=_TICK)


def _frame(rgb: Image, alpha: Image | None, position: int) -> VideoFrame:
    opaque = np.full(rgb.shape[:2], 255, np.uint8) if alpha is None else alpha
    frame = VideoFrame.from_ndarray(np.dstack([rgb[..., ::-1], opaque]), format="bgra")
    frame.pts, frame.time_base = position, _TICK
    return frame
