"""From a decoded FFmpeg frame to an upright RGB array."""

from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from diffsynth.frames import Image

# Exact rounding to the nearest 8-bit value, without dither and the same on every processor; swscale's default is
# up to 3 levels darker and depends on the instruction set. Chroma is interpolated, not repeated.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)

_UNSPECIFIED_MATRIX = {0, 2, 3}
# FFmpeg numbers these as swscale does; 10 (BT.2020 constant luminance) has no exact form there.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.SMPTE170M,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


class ToRgb:
    """Converts decoded frames to RGB uint8, keeping one conversion context for all of them."""

    def __init__(self, *, alpha: bool) -> None:
        self._alpha = alpha
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> tuple[Image, Image | None]:
        """The frame's (H, W, 3) RGB as stored (not yet turned), and its (H, W) alpha if asked for."""
        target = "rgba" if self._alpha else "rgb24"
        out = self._reformatter.reformat(
            frame,
            format=target,
            src_colorspace=matrix(frame),
            interpolation=EXACT,
            src_color_range=_range(frame),
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        pixels = cast("Image", out.to_ndarray())
        if self._alpha:
            return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
        return pixels, None


def matrix(frame: VideoFrame) -> Colorspace:
    """The YUV matrix a frame was made with. Untagged: BT.709 from 720 rows up, BT.601 below, as players assume."""
    found = int(frame.colorspace)
    if found in _UNSPECIFIED_MATRIX or found not in _MATRICES:
        return Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    return _MATRICES[found]


def _range(frame: VideoFrame) -> ColorRange:
    if "yuvj" in frame.format.name or frame.format.is_rgb:
        return ColorRange.JPEG
    return ColorRange.JPEG if frame.color_range == ColorRange.JPEG else ColorRange.MPEG


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
