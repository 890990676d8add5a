"""Video in and out, streaming.

`options` holds plain values and is cheap to import; `probe`, `clip`, `ingest` and `write` load FFmpeg's libraries.
"""

from diffsynth.video.options import Geometry, Selection, VideoOptions

__all__ = ["Geometry", "Selection", "VideoOptions"]
