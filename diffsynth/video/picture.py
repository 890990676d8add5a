"""From a decoded FFmpeg frame to an upright RGB array."""

from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc

from diffsynth.frames import Image
from diffsynth.video.conversion import Conversion

_FULL = 2
# By FFmpeg's numbers. Constant-luminance BT.2020 (10) has no exact form in swscale; the plain one is close.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020"}


class ToRgb:
    """Converts decoded frames to RGB uint8, keeping one conversion for all of them.

    More than 8 bits are rounded to the nearest level, without dither. (Of full-range YUV up to one level off: swscale
    takes its white for 4 x 255.)
    """

    def __init__(self, *, alpha: bool) -> None:
        self._alpha = alpha
        self._convert = Conversion("rgba" if alpha else "rgb24")

    def __call__(self, frame: VideoFrame) -> tuple[Image, Image | None]:
        """The frame's (H, W, 3) RGB as stored (not yet turned), and its (H, W) alpha if asked for."""
        arguments = _colours(frame)
        # Not used for plain RGB, but swscale refuses files that carry a reserved number here.
        frame.color_primaries, frame.color_trc = ColorPrimaries.UNSPECIFIED, ColorTrc.UNSPECIFIED
        out = self._convert(frame, arguments)
        pixels = cast("Image", out.to_ndarray())
        if self._alpha:
            return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
        return pixels, None


def _colours(frame: VideoFrame) -> str:
    if frame.format.is_rgb:
        return "out_range=pc"
    full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
    return f"in_color_matrix={matrix(frame)}:in_range={'pc' if full else 'tv'}:out_range=pc"


def matrix(frame: VideoFrame) -> str:
    """The YUV matrix a frame was made with. Untagged: BT.709 from 720 rows up, BT.601 below, as players assume."""
    return _MATRICES.get(int(frame.colorspace), "bt709" if frame.height >= 720 else "bt601")


def upright(image: Image, rotation: int) -> Image:
    """Turn an array by `rotation` degrees counter-clockwise."""
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


def rotation_of(frame: VideoFrame) -> int:
    """The quarter turns that make a frame upright, in degrees counter-clockwise."""
    return round(frame.rotation / 90) % 4 * 90


def is_hdr(frame: VideoFrame) -> bool:
    """Whether the transfer curve is PQ or HLG, whose values look pale when they are shown as plain RGB."""
    return int(frame.color_trc) in {16, 18}


def has_alpha_plane(format_name: str) -> bool:
    """Whether a pixel format carries alpha."""
    try:
        components = av.VideoFormat(format_name).components
    except ValueError:
        return False
    return any(component.is_alpha for component in components)
