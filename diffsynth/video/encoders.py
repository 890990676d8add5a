"""How each codec is set up."""

from collections.abc import Mapping
from dataclasses import dataclass

from diffsynth.video.options import VideoOptions


@dataclass(frozen=True)
class Encoder:
    """One codec's encoder with its settings. Thread counts are fixed: they change the bytes of H.264 and VP9."""

    name: str
    pixel_format: str
    options: Mapping[str, str]
    even_sides: bool
    """Whether the coded size must be even (4:2:0 in codecs that know no odd size)."""
    tag: str | None = None
    threads: int = 4

    @property
    def is_yuv(self) -> bool:
        return self.pixel_format.startswith("yuv")


def encoder_for(options: VideoOptions, *, alpha: bool) -> Encoder:
    builders = {
        "h264": _h264,
        "hevc": _hevc,
        "vp9": _vp9,
        "prores": _prores,
        "ffv1": _ffv1,
        "gif": _gif,
        "webp": _webp,
    }
    return builders[options.codec](options, alpha)


def _h264(options: VideoOptions, _alpha: bool) -> Encoder:  # noqa: FBT001  one signature for all
    settings = {
        "crf": _number(options, 18),
        "preset": options.preset or "medium",
        # With macroblock trees the same frames gave up to 11 different files in 24 runs, without them always one.
        "x264-params": "mbtree=0",
    }
    return Encoder("libx264", "yuv420p", settings, even_sides=True)


def _hevc(options: VideoOptions, _alpha: bool) -> Encoder:  # noqa: FBT001
    settings = {
        "crf": _number(options, 20),
        "preset": options.preset or "medium",
        # x265 writes to the terminal by itself otherwise; its bytes depend on frame-threads.
        "x265-params": "log-level=none:frame-threads=2",
    }
    # hvc1: Apple's players refuse the other tag.
    return Encoder("libx265", "yuv420p", settings, even_sides=True, tag="hvc1")


def _vp9(options: VideoOptions, alpha: bool) -> Encoder:  # noqa: FBT001
    settings = {"crf": _number(options, 24), "b": "0", "deadline": "good", "cpu-used": options.preset or "4"}
    if alpha:
        # libvpx's hidden frames have no partner in the alpha stream.
        settings["auto-alt-ref"] = "0"
    return Encoder("libvpx-vp9", "yuva420p" if alpha else "yuv420p", settings, even_sides=False)


def _prores(options: VideoOptions, alpha: bool) -> Encoder:  # noqa: FBT001
    settings = {"profile": options.preset or ("4444" if alpha else "hq"), "vendor": "apl0"}
    if options.quality is not None:
        settings["qscale"] = str(options.quality)
    pixel_format = "yuva444p10le" if alpha else "yuv422p10le"
    return Encoder("prores_ks", pixel_format, settings, even_sides=False)


def _ffv1(options: VideoOptions, alpha: bool) -> Encoder:  # noqa: FBT001
    # bgr0: 8-bit RGB without loss; FFmpeg's encoder takes no 8-bit gbrp.
    settings = {"level": "3", "slicecrc": "1", "slices": "4"}
    return Encoder("ffv1", "bgra" if alpha else "bgr0", settings, even_sides=False)


def _gif(_options: VideoOptions, _alpha: bool) -> Encoder:  # noqa: FBT001
    return Encoder("gif", "pal8", {}, even_sides=False, threads=1)


def _webp(options: VideoOptions, _alpha: bool) -> Encoder:  # noqa: FBT001
    # Each frame by itself: the encoder for animations holds the whole clip in memory until its end, and leaves out
    # frames that repeat the one before.
    settings = {"quality": _number(options, 80), "compression_level": options.preset or "4"}
    return Encoder("libwebp", "bgra", settings, even_sides=False, threads=1)


def _number(options: VideoOptions, default: int) -> str:
    return str(default if options.quality is None else options.quality)
