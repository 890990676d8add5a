"""Writing: exact counts, times, colours and sound, checked by another program than the one that wrote."""

import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
from media import BEEP_EVERY, CODECS, Media, beeps, ffmpeg, pixels, shown_frames, sound

from diffsynth.errors import MediaError
from diffsynth.frames import FrameStore, FrameWriter
from diffsynth.images import read_image
from diffsynth.timing import Timing
from diffsynth.video.clip import Clip, open_clip
from diffsynth.video.ingest import ingest, write_frames
from diffsynth.video.options import CODEC_SUFFIXES, Geometry, Selection, VideoOptions
from diffsynth.video.probe import probe, read_settings
from diffsynth.video.write import WrittenVideo, write_video

FFV1 = VideoOptions(codec="ffv1")


def moving(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """A shaded square that moves over a gradient."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for i in range(count):
        frame = np.stack([x * 3 % 256, y * 4 % 256, (x + y) % 256], -1).astype(np.uint8)
        frame[5:20, i % 30 : i % 30 + 15] = (200, 40, 90)
        frames.append(frame)
    return frames


def transcode(clip: Clip, store_path, target, options: VideoOptions | None = None) -> WrittenVideo:
    """The whole chain, as a task runs it."""
    store = ingest(clip, store_path)
    timing = store.timing
    assert timing is not None
    return write_video(
        target,
        store,
        fps=clip.fps,
        timing=timing,
        alphas=store.alphas() if store.has_alpha else None,
        options=options,
        audio=clip.audio_range(timing),
    )


@pytest.mark.parametrize("name", [*CODECS, "variable.mp4", "variable.mkv", "rotated90"])
def test_every_kind_of_source_keeps_count_rate_duration_and_sound(media: Media, tmp_path, name):
    if name.startswith("variable"):
        path = media.variable_rate(name.removeprefix("variable"))
    else:
        path = media.rotated(90) if name == "rotated90" else media.codec(name)
    clip = open_clip(path)
    out = tmp_path / "out.mp4"
    written = transcode(clip, tmp_path / "store", out)
    before, after = shown_frames(path), shown_frames(out)
    # One frame is allowed; only the rounding of time bases is needed.
    slack = Fraction(1, 500)
    assert len(after) == len(before) == written.frame_count
    for a, b in zip(after, before, strict=True):
        assert abs((a.begin - after[0].begin) - (b.begin - before[0].begin)) <= slack
    assert after[0].begin == 0
    assert abs(probe(out).duration - clip.info.duration) <= slack
    assert written.variable_rate == name.startswith("variable") == clip.info.variable_rate
    if not written.variable_rate:
        assert probe(out).fps == clip.fps
    assert (clip.info.audio is None) == (probe(out).audio is None)
    if clip.info.audio is not None:
        assert written.audio in {"copied", "encoded"}
        # MP3 in AVI has no way to tell its encoder's delay; a third of a frame covers what is left of it.
        np.testing.assert_allclose(beeps(out), beeps(path), atol=0.015)
        assert abs(len(sound(out)) - len(sound(path))) / 48000 <= 1 / clip.fps


@pytest.mark.parametrize(
    ("codec", "suffix"), [(codec, suffix) for codec, suffixes in CODEC_SUFFIXES.items() for suffix in suffixes]
)
def test_every_codec_keeps_count_duration_and_sound(media: Media, tmp_path, codec, suffix):
    path = media.codec("h264-mp4")
    out = tmp_path / f"out{suffix}"
    written = transcode(open_clip(path), tmp_path / "store", out, VideoOptions(codec=codec))
    if suffix == ".webp":
        with PIL.Image.open(out) as image:
            assert image.n_frames == 24
    else:
        after = shown_frames(out)
        assert len(after) == 24
        assert [round(frame.begin * 25) for frame in after] == list(range(24))
    assert written.duration == Fraction(24, 25)
    if suffix in {".gif", ".webp"}:
        assert written.audio == "dropped"
        assert any("sound" in note for note in written.notes)
    else:
        # Matroska knows no edits, so sound with an encoder's run-up is not copied into it.
        copied = suffix in {".mp4", ".mov"}
        assert written.audio == ("copied" if copied else "encoded")
        np.testing.assert_allclose(beeps(out), beeps(path), atol=0.005)


@pytest.mark.parametrize(("name", "suffix"), [("vp9-webm", ".webm"), ("vp9-webm", ".mkv"), ("h264-10bit-mkv", ".mkv")])
def test_sound_is_copied_between_matroska_files(media: Media, tmp_path, name, suffix):
    path, out = media.codec(name), tmp_path / f"out{suffix}"
    assert transcode(open_clip(path), tmp_path / "store", out, VideoOptions(codec="vp9")).audio == "copied"
    assert shown_frames(out)[0].begin == 0
    np.testing.assert_allclose(beeps(out), beeps(path), atol=0.002)


def test_ffv1_is_exact_and_keeps_alpha(tmp_path):
    rng = np.random.default_rng(0)
    frames = list(rng.integers(0, 256, (4, 33, 47, 3), np.uint8))
    alphas = list(rng.integers(0, 256, (4, 33, 47), np.uint8))
    write_video(tmp_path / "a.mkv", frames, fps=Fraction(25), options=FFV1)
    np.testing.assert_array_equal(pixels(tmp_path / "a.mkv", 33, 47), np.stack(frames))
    write_video(tmp_path / "b.mkv", frames, alphas=alphas, fps=Fraction(25), options=FFV1)
    raw = ffmpeg("-i", str(tmp_path / "b.mkv"), "-f", "rawvideo", "-pix_fmt", "rgba", "-")
    both = np.concatenate([np.stack(frames), np.stack(alphas)[..., None]], -1)
    np.testing.assert_array_equal(np.frombuffer(raw, np.uint8).reshape(both.shape), both)


@pytest.mark.parametrize(
    ("codec", "suffix", "tolerance"),
    [("vp9", ".webm", 6), ("prores", ".mov", 1), ("ffv1", ".mkv", 0), ("webp", ".webp", 0)],
)
def test_alpha_comes_back(tmp_path, codec, suffix, tolerance):
    """`tolerance` is what the codec's loss makes of a smooth ramp; webp keeps alpha exactly."""
    frames = moving(5)
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))
    written = write_video(
        tmp_path / f"a{suffix}", frames, alphas=[ramp] * 5, fps=Fraction(25), options=VideoOptions(codec=codec)
    )
    assert written.notes == ()
    if codec == "webp":
        with PIL.Image.open(tmp_path / "a.webp") as image:
            assert image.n_frames == 5
            alphas = [np.array(image.convert("RGBA"))[..., 3]]
    else:
        clip = open_clip(tmp_path / f"a{suffix}")
        assert clip.has_alpha
        alphas = [frame.alpha for frame in clip.frames()]
        assert len(alphas) == 5
    assert max(np.abs(alpha.astype(int) - ramp).max() for alpha in alphas) <= tolerance


def test_alpha_that_a_codec_cannot_hold_is_mentioned(tmp_path):
    frames = moving(2)
    written = write_video(tmp_path / "a.mp4", frames, alphas=[f[..., 0] for f in frames], fps=Fraction(25))
    assert written.notes == ("h264 holds no alpha: it is left out.",)


def test_h264_is_what_browsers_play(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, moving(30), fps=Fraction(30000, 1001))
    info = subprocess.run(
        [ffmpeg.__globals__["FFMPEG"], "-hide_banner", "-i", str(path)], capture_output=True, text=True, check=False
    ).stderr
    assert "h264 (High)" in info
    assert "yuv420p(tv, bt709" in info
    assert "29.97 fps" in info
    content = path.read_bytes()
    # The index stands before the data.
    assert 0 < content.find(b"moov") < content.find(b"mdat")


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "prores"])
def test_colours_survive_by_another_decoder(tmp_path, codec):
    colours = [(200, 40, 90), (16, 16, 16), (250, 250, 250), (10, 120, 240), (0, 255, 0)]
    frames = [np.full((64, 64, 3), colour, np.uint8) for colour in colours]
    path = tmp_path / f"a{CODEC_SUFFIXES[codec][0]}"
    write_video(path, frames, fps=Fraction(5), options=VideoOptions(codec=codec))
    # 8-bit YUV and the encoder's loss: some levels; another matrix or range would be ten and more.
    assert np.abs(pixels(path, 64, 64, "scale=in_range=auto").astype(int) - np.stack(frames)).max() <= 5


@pytest.mark.parametrize(("height", "width"), [(47, 64), (48, 61), (47, 61), (1, 1)])
def test_odd_sizes_are_padded_by_repeating_the_edge(tmp_path, height, width):
    frames = [np.full((height, width, 3), 90, np.uint8) for _ in range(3)]
    written = write_video(tmp_path / "a.mp4", frames, fps=Fraction(25))
    assert (written.padded_rows, written.padded_columns) == (height % 2, width % 2)
    assert (written.height, written.width) == (height + height % 2, width + width % 2)
    got = pixels(tmp_path / "a.mp4", written.height, written.width)
    assert np.abs(got.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("codec", ["vp9", "prores", "ffv1", "gif", "webp"])
def test_other_codecs_keep_odd_sizes(tmp_path, codec):
    written = write_video(
        tmp_path / f"a{CODEC_SUFFIXES[codec][0]}",
        moving(3, 47, 61),
        fps=Fraction(25),
        options=VideoOptions(codec=codec),
    )
    assert (written.height, written.width, written.padded_rows, written.padded_columns) == (47, 61, 0, 0)


@pytest.mark.parametrize("codec", CODEC_SUFFIXES)
def test_one_frame(tmp_path, codec):
    path = tmp_path / f"a{CODEC_SUFFIXES[codec][0]}"
    assert write_video(path, moving(1), fps=Fraction(25), options=VideoOptions(codec=codec)).frame_count == 1
    if codec != "webp":
        assert len(shown_frames(path)) == 1


def test_the_same_frames_give_the_same_bytes(tmp_path, media: Media):
    for codec, suffixes in CODEC_SUFFIXES.items():
        for suffix in suffixes:
            files = [tmp_path / f"{name}-{codec}{suffix}" for name in "ab"]
            for file in files:
                write_video(file, moving(12), fps=Fraction(25), options=VideoOptions(codec=codec), settings="{}")
            assert files[0].read_bytes() == files[1].read_bytes(), f"{codec} in {suffix}"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_settings_come_back(tmp_path, suffix):
    settings = json.dumps({"prompt": 'een schilderij, "très" 日本 = ; \\ #', "steps": list(range(2000))})
    path = tmp_path / f"a{suffix}"
    write_video(path, moving(2), fps=Fraction(25), settings=settings)
    assert read_settings(path) == settings
    assert read_settings_of_bare(tmp_path) is None


def read_settings_of_bare(folder):
    write_video(folder / "bare.mp4", moving(2), fps=Fraction(25))
    return read_settings(folder / "bare.mp4")


def test_a_gif_of_few_colours_keeps_them(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (200, 3), np.uint8)
    frames = [colours[np.random.default_rng(i).integers(0, 200, (40, 50))] for i in range(6)]
    write_video(tmp_path / "a.gif", frames, fps=Fraction(10), options=VideoOptions(codec="gif"))
    # The palette is found in a perceptual space, whose rounding may move a colour by one.
    assert np.abs(pixels(tmp_path / "a.gif", 40, 50).astype(int) - np.stack(frames)).max() <= 1


def test_a_gif_keeps_one_bit_of_alpha(tmp_path):
    frames = moving(3)
    alpha = np.zeros((48, 64), np.uint8)
    alpha[10:30, 10:30] = 255
    write_video(tmp_path / "a.gif", frames, alphas=[alpha] * 3, fps=Fraction(10), options=VideoOptions(codec="gif"))
    with PIL.Image.open(tmp_path / "a.gif") as image:
        for i in range(3):
            image.seek(i)
            np.testing.assert_array_equal(np.array(image.convert("RGBA"))[..., 3], alpha)


def test_a_gif_is_refused_what_it_cannot_do(tmp_path):
    gif = VideoOptions(codec="gif")
    with pytest.raises(MediaError, match="at most 100 frames a second"):
        write_video(tmp_path / "a.gif", moving(4), fps=Fraction(240), options=gif)
    with pytest.raises(TypeError, match="read twice"):
        write_video(tmp_path / "a.gif", iter(moving(4)), fps=Fraction(10), options=gif)
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"h264 is not written into \.webm\. Use \.mp4 or"):
        write_video(tmp_path / "a.webm", moving(2), fps=Fraction(25))
    with pytest.raises(MediaError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], fps=Fraction(25))


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def breaking():
        yield from moving(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, breaking(), fps=Fraction(25))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_full_disk_is_a_media_error(tmp_path):
    """A limit on the file's size stands in for the full disk."""
    script = (
        "import resource, signal, sys, numpy as np; from fractions import Fraction\n"
        "from diffsynth.errors import MediaError; from diffsynth.video.write import write_video\n"
        "from diffsynth.video.options import VideoOptions\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "frames = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)\n"
        "try: write_video(sys.argv[1], frames, fps=Fraction(25), options=VideoOptions(codec=sys.argv[2]))\n"
        "except MediaError as e: print(e)\n"
    )
    for name, codec in (("a.mkv", "ffv1"), ("a.mp4", "h264"), ("a.gif", "gif")):
        command = [sys.executable, "-c", script, str(tmp_path / name), codec]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert f"{name}: cannot be written: " in run.stdout, (codec, run)
        assert list(tmp_path.iterdir()) == []


def test_too_few_or_many_time_stamps_are_refused(tmp_path):
    timing = Timing(np.array([0, 1, 5], np.int64), 6, Fraction(1, 25))
    for count in (2, 4):
        with pytest.raises(ValueError, match="time stamp"):
            write_video(tmp_path / "a.mp4", moving(count), fps=Fraction(25), timing=timing)


@pytest.mark.parametrize("options", [VideoOptions(), VideoOptions(codec="vp9"), FFV1])
@pytest.mark.parametrize("source", ["h264-mp4", "vp9-webm", "ffv1-mkv", "h264-ntsc-mov", "variable"])
@pytest.mark.parametrize("selection", [Selection(start=5, end=20), Selection(start=0.3), Selection(maximum_count=9)])
def test_the_sound_of_a_range_is_cut_to_it(media: Media, tmp_path, source, options, selection):
    path = media.variable_rate() if source == "variable" else media.codec(source)
    out = tmp_path / f"out{CODEC_SUFFIXES[options.codec][0]}"
    clip = open_clip(path, selection)
    if source == "variable" and isinstance(selection.start, int):
        clip = open_clip(path, Selection(start=2, end=9))
    written = transcode(clip, tmp_path / "store", out, options)
    timing = FrameStore(tmp_path / "store").timing
    assert timing is not None
    assert written.audio == "encoded"
    start, end = float(timing.start), float(timing.end)
    want = [t - start for t in np.arange(0, 2, BEEP_EVERY) if start <= t < min(end, float(clip.info.duration))]
    np.testing.assert_allclose(beeps(out), want, atol=0.012)
    assert abs(len(sound(out)) / 48000 - float(timing.duration)) <= 1 / clip.fps


def test_sound_that_starts_late_starts_late(tmp_path, media: Media):
    path = tmp_path / "late.mp4"
    ffmpeg(
        *("-i", str(media.codec("h264-mp4")), "-itsoffset", "0.2", "-i", str(media.codec("h264-mp4"))),
        *("-map", "0:v", "-map", "1:a", "-c", "copy", str(path)),
    )
    out = tmp_path / "out.mp4"
    assert transcode(open_clip(path), tmp_path / "a", out).audio == "copied"
    np.testing.assert_allclose(beeps(out), [0.2, 0.7], atol=0.005)
    cut = tmp_path / "cut.mp4"
    assert transcode(open_clip(path, Selection(start=3)), tmp_path / "b", cut).audio == "encoded"
    np.testing.assert_allclose(beeps(cut), [0.08, 0.58], atol=0.012)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 6, 8])
@pytest.mark.parametrize("options", [VideoOptions(), VideoOptions(codec="vp9"), FFV1])
def test_any_number_of_channels_can_be_encoded(tmp_path, channels, options):
    path = tmp_path / "in.mkv"
    tones = "|".join(["0.3*sin(2*PI*500*t)"] * channels)
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-f", "lavfi", "-i", f"aevalsrc={tones}:s=48000"),
        *("-frames:v", "8", "-t", "0.32", "-c:v", "ffv1", "-c:a", "pcm_s16le", str(path)),
    )
    out = tmp_path / f"out{CODEC_SUFFIXES[options.codec][0]}"
    clip = open_clip(path, Selection(end=6))
    assert transcode(clip, tmp_path / "store", out, options).audio == "encoded"
    audio = probe(out).audio
    assert audio is not None
    assert audio.channels == channels


def test_a_second_sound_track_is_mentioned(media: Media, tmp_path):
    path = tmp_path / "two.mkv"
    source = str(media.codec("h264-mp4"))
    ffmpeg("-i", source, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy", str(path))
    written = transcode(open_clip(path), tmp_path / "store", tmp_path / "a.mp4")
    assert written.audio == "copied"
    assert written.notes == ("the source has 1 more sound tracks: only the first is kept.",)


def test_sound_and_silence_can_be_left_out(media: Media, tmp_path):
    clip = open_clip(media.codec("h264-mp4"))
    written = transcode(clip, tmp_path / "store", tmp_path / "a.mp4", VideoOptions(audio=False))
    assert written.audio == "none"
    assert probe(tmp_path / "a.mp4").audio is None


def test_an_interrupted_ingest_continues_to_the_same_bytes(media: Media, tmp_path):
    path = media.variable_rate()
    selection, geometry = Selection(interval=2, start=1), Geometry(40, 40)
    ingest(open_clip(path, selection, geometry), tmp_path / "whole")
    for stop in range(6):
        clip = open_clip(path, selection, geometry)
        folder = tmp_path / f"part{stop}"
        with FrameWriter(folder, 40, 40, time_base=clip.time_base) as writer:
            for frame, _ in zip(clip.frames(), range(stop), strict=False):
                writer.append(frame.rgb, tick=frame.tick, until=frame.until)
        seen: list[int] = []
        ingest(open_clip(path, selection, geometry), folder, seen.append)
        assert seen == list(range(stop + 1, 6))
        for name in ("frames.bin", "index.bin", "complete.json", "store.json"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(ingest(open_clip(path, selection, geometry), tmp_path / "whole")) == 5


def test_an_empty_selection_is_said(media: Media, tmp_path):
    with pytest.raises(MediaError, match="start is frame 99"):
        ingest(open_clip(media.codec("h264-mp4"), Selection(start=99)), tmp_path / "a")
    with pytest.raises(MediaError, match="holds no frame"):
        ingest(open_clip(media.codec("h264-mp4"), Selection(start=99.0)), tmp_path / "b")


def test_the_folder_of_pictures_is_numbered_and_continues(tmp_path):
    frames = moving(12)
    with FrameWriter(tmp_path / "store", 48, 64) as writer:
        for frame in frames:
            writer.append(frame)
        store = writer.finish()
    folder = tmp_path / "frames"
    assert write_frames(store, folder) == 12
    assert sorted(file.name for file in folder.iterdir()) == [f"{i:05}.png" for i in range(12)]
    (folder / "00007.png").unlink()
    assert write_frames(store, folder) == 1
    np.testing.assert_array_equal(read_image(folder / "00007.png")[0], frames[7])
    again = open_clip(folder)
    np.testing.assert_array_equal(np.stack([f.rgb for f in again.frames()]), np.stack(frames))
