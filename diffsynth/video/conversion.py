"""Converting frames between pixel formats, exactly and the same on every machine."""

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

# Rounds to the nearest level, without dither; swscale's default is up to 3 levels darker, repeats chroma instead of
# interpolating it, and depends on the processor's instructions.
_EXACT = "flags=bicubic+full_chroma_int+full_chroma_inp+accurate_rnd+bitexact"
_TICK = Fraction(1, 25)  # only counts: the caller sets the real times


class Conversion:
    """Converts frames to one pixel format by FFmpeg's scale filter, which knows where chroma samples lie (PyAV's own
    conversion takes them for centred and shifts the colours of H.264 by half a pixel)."""

    def __init__(self, pixel_format: str) -> None:
        self._pixel_format = pixel_format
        self._graph: Graph | None = None
        self._made_for: tuple[object, ...] = ()

    def __call__(self, frame: VideoFrame, arguments: str) -> VideoFrame:
        """Convert `frame`; `arguments` name its colours and those wanted, as the scale filter spells them."""
        kind = (frame.width, frame.height, frame.format.name, arguments)
        if self._graph is None or kind != self._made_for:
            self._graph, self._made_for = self._build(frame, arguments), kind
        pts, base = frame.pts, frame.time_base
        frame.pts, frame.time_base = 0, _TICK
        self._graph.vpush(frame)
        frame.pts, frame.time_base = pts, base or _TICK
        return self._graph.vpull()

    def _build(self, frame: VideoFrame, arguments: str) -> Graph:
        graph = Graph()
        # One thread: a second one gains little at these sizes, and every graph would keep its own.
        graph.threads = 1
        graph.link_nodes(
            graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TICK),
            graph.add("scale", f"{arguments}:{_EXACT}"),
            graph.add("format", self._pixel_format),
            graph.add("buffersink"),
        ).configure()
        return graph
