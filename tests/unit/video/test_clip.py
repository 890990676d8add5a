"""Reading: every frame once, at its time, upright, in the right colours, from any place on."""

from fractions import Fraction

import numpy as np
import pytest
from media import CODECS, X264, Media, Recipe, ffmpeg, pixels, shown_frames

from diffsynth.errors import MediaError, MissingFileError
from diffsynth.images import write_png
from diffsynth.video.clip import open_clip
from diffsynth.video.options import Geometry, Selection
from diffsynth.video.probe import probe

# Frames that were decoded since the last reset, counted where FFmpeg hands them out.
LONG = Recipe(".mp4", (*X264, "-g", "25"), frames=3000, size="64x48")
LONG_SOUND = Recipe(".mkv", (*X264, "-g", "25"), ("-c:a", "libopus"), frames=600, size="64x48")


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_comes_once_at_its_time(media: Media, name):
    path, recipe = media.codec(name), CODECS[name]
    clip = open_clip(path)
    frames = list(clip.frames())
    assert len(frames) == recipe.frames == len(shown_frames(path))
    assert (clip.height, clip.width) == (80, 96)
    assert clip.fps == Fraction(recipe.rate)
    assert not clip.info.variable_rate
    assert clip.info.frame_count == recipe.frames
    origin = frames[0].tick
    for i, frame in enumerate(frames):
        # Containers round each stamp to their time base.
        assert abs((frame.tick - origin) * clip.time_base - i / clip.fps) <= clip.time_base
    assert abs((frames[-1].until - origin) * clip.time_base - recipe.seconds) <= max(clip.time_base, Fraction(1, 1000))
    assert (clip.info.audio is not None) == bool(recipe.audio)
    assert clip.damage.frames == 0


@pytest.mark.parametrize(
    "name", ["h264-mp4", "h264-avi", "h264-10bit-mkv", "prores-mov", "gif", "ffv1-mkv", "mpeg4-avi"]
)
def test_pixels_are_those_of_ffmpeg(media: Media, name):
    path = media.codec(name)
    # Two builds of swscale agree up to one level; the exact formula is checked below.
    want = pixels(path, 80, 96).astype(int)
    got = np.stack([frame.rgb for frame in open_clip(path).frames()]).astype(int)
    assert np.abs(got - want).max() <= 1


def flat(folder, name, colour, *arguments, size="64x64"):
    path = folder / name
    ffmpeg("-f", "lavfi", "-i", f"color=c={colour}:size={size}:rate=5:duration=0.4,format=gbrp", *arguments, str(path))
    return path


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("span", ["tv", "pc"])
@pytest.mark.parametrize(("matrix", "tag"), [("bt709", "bt709"), ("bt601", "smpte170m")])
def test_matrix_range_and_depth_are_respected(tmp_path, matrix, tag, span, bits):
    """A colour goes through YUV of every kind and comes back."""
    form = "yuv444p" if bits == 8 else "yuv444p10le"
    convert = f"scale=out_color_matrix={matrix}:out_range={span}:flags=accurate_rnd+full_chroma_int,format={form}"
    tags = ("-colorspace", tag, "-color_range", span)
    path = flat(tmp_path, "a.mkv", "0x3070C0", "-vf", convert, "-c:v", "ffv1", *tags)
    rgb = next(open_clip(path).frames()).rgb.astype(int)
    # Rounding to 8-bit YUV and back costs at most two levels; the other matrix or range would cost ten and more.
    assert np.abs(rgb - [0x30, 0x70, 0xC0]).max() <= (2 if bits == 8 else 1)


@pytest.mark.parametrize(("size", "matrix"), [("64x64", "bt601"), ("1280x720", "bt709")])
def test_untagged_colours_follow_the_size(tmp_path, size, matrix):
    convert = f"scale=out_color_matrix={matrix}:out_range=tv,format=yuv444p,setparams=colorspace=unknown"
    path = flat(tmp_path, "a.mkv", "0x3070C0", "-vf", convert, "-c:v", "ffv1", size=size)
    rgb = next(open_clip(path).frames()).rgb.astype(int)
    assert np.abs(rgb - [0x30, 0x70, 0xC0]).max() <= 2


def test_ten_bits_are_rounded_to_the_nearest_level(tmp_path):
    """All 10-bit greys of a ramp against the formula, half a level at most: no dither, no bias."""
    ramp = "nullsrc=size=876x16:rate=5:duration=0.2,format=gray10le,geq=lum='64+X'"
    path = tmp_path / "ramp.mkv"
    tags = ("-colorspace", "bt709", "-color_range", "tv")
    ffmpeg("-f", "lavfi", "-i", ramp, "-vf", "format=yuv444p10le", "-c:v", "ffv1", *tags, str(path))
    luma = ffmpeg("-i", str(path), "-vf", "extractplanes=y", "-f", "rawvideo", "-pix_fmt", "gray10le", "-")
    stored = np.frombuffer(luma, "<u2").reshape(16, 876)[0].astype(float)
    exact = np.clip((stored - 64) / 876 * 255, 0, 255)
    got = next(open_clip(path).frames()).rgb[0].astype(float)
    assert len(np.unique(stored)) > 700
    # swscale computes in fixed point: a hundredth beside the half.
    assert np.abs(got - exact[:, None]).max() <= 0.52


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(media: Media, degrees):
    path = media.rotated(degrees)
    clip = open_clip(path)
    height, width = (96, 80) if degrees % 180 else (80, 96)
    assert (clip.height, clip.width, clip.info.rotation) == (height, width, degrees)
    upright = open_clip(media.codec("h264-mp4"))
    for frame, plain in zip(clip.frames(), upright.frames(), strict=True):
        np.testing.assert_array_equal(frame.rgb, np.rot90(plain.rgb, degrees // 90))
    # ffmpeg turns by the same flag, but before it interpolates chroma: some levels at edges.
    assert np.abs(pixels(path, height, width)[0].astype(int) - next(clip.frames()).rgb).max() <= 10


def test_wide_pixels_become_square(media: Media):
    path = media.clip("wide", Recipe(".mkv", ("-c:v", "ffv1"), frames=2, filters="setsar=4/3"))
    clip = open_clip(path)
    assert (clip.height, clip.width) == (80, 128)
    assert next(clip.frames()).rgb.shape == (80, 128, 3)
    assert clip.info.pixel_aspect == Fraction(4, 3)


def test_odd_sizes_are_kept(media: Media):
    path = media.clip(
        "odd", Recipe(".mkv", ("-c:v", "ffv1", "-pix_fmt", "bgr0"), frames=3, size="61x47", source="testsrc")
    )
    np.testing.assert_array_equal(np.stack([f.rgb for f in open_clip(path).frames()]), pixels(path, 47, 61))


@pytest.mark.parametrize("codec", ["vp9", "prores", "ffv1"])
def test_alpha_is_read(media: Media, codec):
    clip = open_clip(media.with_alpha(codec))
    assert clip.has_alpha
    frame = next(clip.frames())
    assert frame.alpha is not None
    want = 255 * np.arange(96) / 95
    # 8 bits rounded once, and what lossy VP9 makes of a ramp.
    assert np.abs(frame.alpha.astype(float) - want).max() <= (4 if codec == "vp9" else 1)


def test_a_variable_rate_keeps_its_times(media: Media):
    for suffix in (".mp4", ".mkv"):
        clip = open_clip(media.variable_rate(suffix))
        frames = list(clip.frames())
        shown = [n for n in range(25) if not n % 3 or not n % 7]
        assert clip.info.variable_rate
        assert [round((f.tick - frames[0].tick) * clip.time_base * 25) for f in frames] == shown


@pytest.mark.parametrize("name", ["h264-mp4", "h264-avi", "vp9-webm", "gif", "h264-ntsc-mov", "mpeg4-avi", "variable"])
@pytest.mark.parametrize("interval", [1, 3])
def test_reading_on_from_any_frame_gives_the_same_frames(media: Media, name, interval):
    path = media.variable_rate() if name == "variable" else media.codec(name)
    clip = open_clip(path, Selection(interval=interval, start=2))
    whole = list(clip.frames())
    for start in range(1, len(whole), 2):
        for after in (None, whole[start - 1].tick):
            rest = list(clip.frames(start, after=after))
            assert [f.tick for f in rest] == [f.tick for f in whole[start:]]
            assert all((a.rgb == b.rgb).all() for a, b in zip(rest, whole[start:], strict=True))


@pytest.mark.parametrize("name", ["h264-mp4", "vp9-webm", "h264-ntsc-mov", "h264-avi", "gif", "h264-10bit-mkv"])
@pytest.mark.parametrize(("start", "end"), [(0, 5), (3, None), (7, 8), (2, 9)])
def test_a_range_in_frames_is_that_in_seconds(media: Media, name, start, end):
    path = media.codec(name)
    everything = [f.tick for f in open_clip(path).frames()]
    rate = Fraction(CODECS[name].rate)
    seconds = None if end is None else float(end / rate)
    by_frames = [f.tick for f in open_clip(path, Selection(start=start, end=end)).frames()]
    by_seconds = [f.tick for f in open_clip(path, Selection(start=float(start / rate), end=seconds)).frames()]
    assert by_frames == by_seconds == everything[start:end]
    for selection in (Selection(start=start, end=end), Selection(start=float(start / rate), end=seconds)):
        assert open_clip(path, selection).expected_count == len(everything[start:end])


def test_interval_and_maximum(media: Media):
    path = media.codec("h264-mp4")
    everything = [f.tick for f in open_clip(path).frames()]
    clip = open_clip(path, Selection(interval=5, maximum_count=3, start=1))
    assert [f.tick for f in clip.frames()] == everything[1::5][:3]
    assert clip.fps == Fraction(25, 5)
    assert [f.tick for f in clip.frames(2)] == everything[11:12]
    assert list(clip.frames(3)) == []


class DecodedFrames:
    """Counts what the decoder of `diffsynth` hands out."""

    def __init__(self, monkeypatch) -> None:
        from diffsynth.video import file

        self.count = 0
        original = file.Decoder._decode

        def counting(decoder, packet):
            frames = original(decoder, packet)
            self.count += len(frames)
            return frames

        monkeypatch.setattr(file.Decoder, "_decode", counting)


@pytest.mark.parametrize(
    ("selection", "at_most"),
    [
        (Selection(maximum_count=10), 10),
        (Selection(maximum_count=10, interval=2), 20),
        # A seek lands on the key frame before: 25 frames apart here.
        (Selection(maximum_count=10, start=100.0), 35),
        (Selection(maximum_count=10, start=2509), 35),
        (Selection(start=80.0, end=80.4), 40),
    ],
)
def test_a_few_frames_of_a_long_file_decode_few_frames(media: Media, monkeypatch, selection, at_most):
    path = media.clip("long", LONG)
    clip = open_clip(path, selection)
    decoded = DecodedFrames(monkeypatch)
    assert len(list(clip.frames())) == 10
    # Frames that the decoder's threads had begun come on top.
    assert decoded.count <= at_most + 16


def test_a_start_in_frames_seeks_without_an_index(media: Media, monkeypatch):
    path = media.clip("long-sound", LONG_SOUND)
    decoded = DecodedFrames(monkeypatch)
    frames = list(open_clip(path, Selection(start=501, maximum_count=3)).frames())
    assert [round(f.tick / 40) for f in frames] == [501, 502, 503]
    assert decoded.count <= 25 + 3 + 16


def test_open_gops_are_entered_early_enough(tmp_path):
    """Frames that lean on the group before the key frame a seek lands on."""
    path = tmp_path / "open.mp4"
    source = "testsrc2=size=64x48:rate=25:duration=6"
    ffmpeg("-f", "lavfi", "-i", source, *X264, "-x264-params", "open-gop=1:keyint=20:bframes=4:b-adapt=0", str(path))
    whole = list(open_clip(path).frames())
    for start in range(15, 70):
        frame = next(open_clip(path, Selection(start=start)).frames())
        assert frame.tick == whole[start].tick
        np.testing.assert_array_equal(frame.rgb, whole[start].rgb)


def test_images_folder_glob_and_single_image(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 10, 14, 3), np.uint8)
    for i, image in enumerate(images):
        write_png(tmp_path / f"frame{i}.png", image)
    clip = open_clip(tmp_path, image_fps=Fraction(10))
    np.testing.assert_array_equal(np.stack([f.rgb for f in clip.frames()]), images)
    assert (clip.fps, clip.info.duration, clip.has_alpha) == (10, Fraction(12, 10), False)
    some = open_clip(str(tmp_path / "frame1*.png"))
    np.testing.assert_array_equal(np.stack([f.rgb for f in some.frames()]), images[[1, 10, 11]])
    assert some.fps == 25
    one = open_clip(tmp_path / "frame3.png")
    np.testing.assert_array_equal(next(one.frames()).rgb, images[3])
    part = open_clip(tmp_path, Selection(start=2, interval=4, end=11))
    np.testing.assert_array_equal(np.stack([f.rgb for f in part.frames(1)]), images[[6, 10]])


def test_images_of_another_size_are_named(tmp_path):
    write_png(tmp_path / "0.png", np.zeros((4, 4, 3), np.uint8))
    write_png(tmp_path / "1.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(MediaError, match=r"1\.png: is 4x5"):
        list(open_clip(tmp_path).frames())


def test_size_and_multiple(media: Media):
    clip = open_clip(media.codec("h264-mp4"), geometry=Geometry(height=50, width=70, multiple=8))
    assert (clip.height, clip.width) == (48, 64)
    assert next(clip.frames()).rgb.shape == (48, 64, 3)


def test_files_that_are_no_video_are_named_with_the_reason(tmp_path, media: Media):
    whole = media.codec("h264-mp4").read_bytes()
    files = {
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"To be, or not to be\n" * 50, "FFmpeg cannot open it"),
        "cut.mp4": (whole[: len(whole) // 2], "FFmpeg cannot open it: .*moov atom not found"),
        "again.mp4": (whole[: len(whole) // 2], "moov atom not found"),
        "noise.webm": (bytes(np.random.default_rng(0).integers(0, 256, 5000, np.uint8)), "FFmpeg cannot open it"),
    }
    for name, (content, reason) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=f"{name}: .*{reason}"):
            open_clip(tmp_path / name)
    with pytest.raises(MissingFileError, match=r"none\.mp4"):
        open_clip(tmp_path / "none.mp4")


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "song.m4a"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.5", str(path))
    with pytest.raises(MediaError, match=r"song\.m4a: has no video stream \(it holds audio\)"):
        open_clip(path)


def test_a_file_cut_behind_its_index_is_said_to_be_cut(tmp_path, media: Media):
    path = media.clip("long", LONG)
    front = tmp_path / "front.mp4"
    ffmpeg("-i", str(path), "-c", "copy", "-movflags", "+faststart", str(front))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(front.read_bytes()[: front.stat().st_size * 2 // 3])
    clip = open_clip(cut)
    with pytest.raises(MediaError, match=r'cut\.mp4: ends after .* announces 120\.00 s.*set "end" to'):
        for _ in clip.frames():
            pass
    # What is there can be used.
    assert len(list(open_clip(cut, Selection(end=10.0)).frames())) == 250


def test_a_cut_matroska_file_is_said_to_be_cut(tmp_path, media: Media):
    path = media.clip("long-sound", LONG_SOUND)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(MediaError, match=r"cut\.mkv: "):
        for _ in open_clip(cut).frames():
            pass


def test_a_matroska_file_that_begins_late_is_whole(tmp_path, media: Media):
    path = tmp_path / "late.mkv"
    ffmpeg("-itsoffset", "5", "-i", str(media.codec("h264-mp4")), "-map", "0:v", "-c", "copy", "-copyts", str(path))
    clip = open_clip(path)
    assert clip.expected_count == len(list(clip.frames())) == 24
    assert clip.info.duration == pytest.approx(24 / 25, abs=0.002)


@pytest.mark.parametrize("kind", ["refused by the decoder", "skipped by the demuxer"])
def test_broken_frames_in_the_middle_are_counted(tmp_path, media: Media, kind):
    decoder = kind == "refused by the decoder"
    path = media.clip("long", LONG) if decoder else media.clip("long-sound", LONG_SOUND)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    broken = tmp_path / f"broken{path.suffix}"
    broken.write_bytes(content)
    clip = open_clip(broken)
    frames = list(clip.frames())
    # What follows the damage is there, at its old time.
    last = LONG.frames - 1 if decoder else LONG_SOUND.frames - 1
    assert frames[-1].tick * clip.time_base == Fraction(last, 25)
    if decoder:
        assert clip.damage.frames > 0
        assert f"{clip.damage.frames} frames could not be decoded" in (clip.damage.report(clip.time_base) or "")
    else:
        assert clip.damage.missing == last + 1 - len(frames) > 0


def test_probe_describes_without_reading_through(media: Media):
    info = probe(media.codec("h264-10bit-mkv"))
    assert (info.codec, info.pixel_format, info.bit_depth) == ("h264", "yuv420p10le", 10)
    assert (info.height, info.width, info.fps, info.frame_count) == (80, 96, 24, 24)
    assert info.audio is not None
    assert (info.audio.codec, info.audio.sample_rate, info.audio.channels) == ("flac", 48000, 1)
    assert info.duration == 1
