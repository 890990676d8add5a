"""The engine's own PNG and JPEG codecs against Pillow, OpenCV and known samples, and against damaged files."""

import contextlib
import functools
import io
import struct
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from png_oracle import chunk, png_file
from programs import build, clang, fuzz_target, image_tool, optimized_image_tool, run

Pixels = NDArray[np.uint8]

# Two correct decoders differ: each rounds its cosine transform to whole samples (1 off, in a few of a thousand), and
# the conversion to RGB multiplies chroma by up to 1.772 before it rounds again.
JPEG_MOST = 3
JPEG_MEAN = 0.02


@functools.cache
def photo() -> Pixels:
    return cv2.resize(skimage.data.astronaut()[20:340, 60:480], (84, 64), interpolation=cv2.INTER_AREA)


class RefusedError(Exception):
    """The tool's one line about a file."""


def decode(content: bytes) -> Pixels:
    """height x width x channels, as our reader sees the file."""
    with tempfile.TemporaryDirectory() as folder:
        picture, raw = Path(folder, "picture"), Path(folder, "raw")
        picture.write_bytes(content)
        outcome = run(image_tool(), "decode", picture, raw)
        assert outcome.clean, outcome
        if outcome.status == 1:
            raise RefusedError(outcome.error.removeprefix(f"error: {picture} ").strip())
        head, _, samples = raw.read_bytes().partition(b"\n")
        width, height, channels = map(int, head.split())
        return np.frombuffer(samples, np.uint8).reshape(height, width, channels)


def encode(pixels: Pixels, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        raw, picture = Path(folder, "raw"), Path(folder, f"picture{suffix}")
        height, width, channels = pixels.shape
        raw.write_bytes(f"{width} {height} {channels}\n".encode() + pixels.tobytes())
        outcome = run(image_tool(), "encode", raw, picture)
        assert outcome.status == 0, outcome
        return picture.read_bytes()


def pillow_pixels(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def assert_near(ours: Pixels, reference: Pixels, most: int = JPEG_MOST, mean: float = JPEG_MEAN) -> None:
    assert ours.shape == reference.shape
    difference = np.abs(ours.astype(int) - reference)
    assert difference.max() <= most
    assert difference.mean() <= mean


# --- PNG, reading

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
FORMATS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]


def known_samples(shape: tuple[int, int, int], depth: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(7)
    ramp = np.linspace(0, 2**depth - 1, shape[1])[None, :, None] * np.ones(shape)
    return np.clip(ramp + rng.integers(-3, 4, shape), 0, 2**depth - 1).astype(np.int64)


def to_8_bits(samples: NDArray[np.int64], depth: int) -> Pixels:
    return (samples >> 8 if depth == 16 else samples * 255 // (2**depth - 1)).astype(np.uint8)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour_type", "depth"), FORMATS)
def test_png_of_every_format_is_read_exactly(colour_type: int, depth: int, interlaced: bool) -> None:
    for size in [(13, 19), (1, 1), (1, 9), (7, 2)]:
        samples = known_samples((*size, CHANNELS[colour_type]), depth)
        content = png_file(samples, colour_type=colour_type, depth=depth, interlaced=interlaced)
        np.testing.assert_array_equal(decode(content), to_8_bits(samples, depth))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_png_palettes_are_looked_up(depth: int, interlaced: bool) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (2**depth, 3), np.uint8)
    alpha = np.array([0, 100], np.uint8)
    samples = known_samples((11, 21, 1), depth)
    for transparency in [b"", alpha.tobytes()]:
        content = png_file(
            samples,
            colour_type=3,
            depth=depth,
            interlaced=interlaced,
            palette=colours.tobytes(),
            transparency=transparency,
        )
        opaque = np.full(2**depth, 255, np.uint8)
        opaque[:2] = alpha
        table = np.column_stack([colours, opaque]) if transparency else colours
        np.testing.assert_array_equal(decode(content), table[samples[..., 0]])


@pytest.mark.parametrize(("colour_type", "depth"), [(0, 2), (0, 8), (0, 16), (2, 8), (2, 16)])
def test_png_transparent_colour_becomes_alpha(colour_type: int, depth: int) -> None:
    samples = known_samples((9, 9, CHANNELS[colour_type]), depth)
    key = samples[4, 4]
    content = png_file(samples, colour_type=colour_type, depth=depth, transparency=key.astype(">u2").tobytes())
    alpha = np.where((samples == key).all(-1, keepdims=True), 0, 255)
    np.testing.assert_array_equal(decode(content), np.concatenate([to_8_bits(samples, depth), alpha], -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_from_pillow_is_read_as_pillow_reads_it(mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    expected = np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode)))
    np.testing.assert_array_equal(decode(saved(image, "PNG")), expected.reshape(*expected.shape[:2], -1))


def test_png_from_opencv_of_16_bits_keeps_the_high_byte() -> None:
    deep = photo().astype(np.uint16) * 256 + np.roll(photo(), 5)
    content = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode(content), (deep >> 8).astype(np.uint8))


@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_every_kind_of_compressed_block_is_read(level: int, strategy: int) -> None:
    content = png_file(photo().astype(np.int64), colour_type=2, depth=8, level=level, strategy=strategy)
    np.testing.assert_array_equal(decode(content), photo())


# --- PNG, writing


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))))
def test_written_png_is_read_exactly_by_pillow_and_by_us(pixels: Pixels) -> None:
    content = encode(pixels, ".png")
    np.testing.assert_array_equal(pillow_pixels(content), pixels)
    np.testing.assert_array_equal(decode(content), pixels)


def large_pictures() -> dict[str, Pixels]:
    rng = np.random.default_rng(3)
    tile = rng.integers(0, 256, (4, 200, 3), np.uint8)
    return {
        "photo": skimage.data.astronaut(),
        "noise, which is stored": rng.integers(0, 256, (300, 400, 3), np.uint8),
        "one colour, the longest matches": np.full((500, 700, 1), 77, np.uint8),
        "repeats farther apart than the window": np.tile(rng.integers(0, 256, (20, 4000, 1), np.uint8), (3, 1, 1)),
        "repeats inside the window": np.tile(tile, (40, 1, 1)),
        "one column": rng.integers(0, 2, (3000, 1, 4), np.uint8),
    }


@pytest.mark.parametrize("name", large_pictures())
def test_large_written_png_is_read_exactly_by_opencv(name: str) -> None:
    pixels = large_pictures()[name]
    content = encode(pixels, ".png")
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED).reshape(pixels.shape)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]
    np.testing.assert_array_equal(read[..., order], pixels)
    np.testing.assert_array_equal(decode(content), pixels)


def test_written_png_is_about_as_small_as_zlibs() -> None:
    # Matches of three bytes are left out and fewer chains followed: a few percent for several times the speed.
    content = encode(skimage.data.astronaut(), ".png")
    assert len(content) <= 1.1 * len(saved(Image.fromarray(skimage.data.astronaut()), "PNG"))


# --- JPEG, reading

SIZES = [(84, 64), (17, 33), (8, 8), (3, 2), (1, 1), (1, 40), (50, 1)]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [30, 75, 100])
def test_jpeg_is_read_as_libjpeg_reads_it(quality: int, sampling: str, progressive: bool) -> None:
    for size in SIZES:
        image = Image.fromarray(photo()).resize(size)
        content = saved(image, "JPEG", quality=quality, subsampling=sampling, progressive=progressive)
        # Small pictures have too few samples for a mean.
        mean = JPEG_MEAN if size == SIZES[0] else 1.0
        assert_near(decode(content), pillow_pixels(content), mean=mean)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", ["411", "420", "422", "440", "444"])
def test_jpeg_from_opencv_with_every_subsampling_and_restarts(sampling: str, progressive: bool) -> None:
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")
    parameters = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_RST_INTERVAL, 3]
    parameters += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    for width, height in SIZES:
        small = cv2.resize(photo(), (width, height), interpolation=cv2.INTER_AREA)
        content = cv2.imencode(".jpg", small[..., ::-1], parameters)[1].tobytes()
        mean = JPEG_MEAN if (width, height) == SIZES[0] else 1.0
        assert_near(decode(content), pillow_pixels(content), mean=mean)


@pytest.mark.parametrize("options", [{"restart_marker_blocks": 1}, {"restart_marker_rows": 2}, {"optimize": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_restarts_and_made_to_measure_codes(mode: str, options: dict[str, int]) -> None:
    content = saved(Image.fromarray(photo()).convert(mode), "JPEG", **options)
    assert_near(decode(content), pillow_pixels(content))


def test_jpeg_of_rgb_components_is_not_converted() -> None:
    content = saved(Image.fromarray(photo()), "JPEG", quality=95, keep_rgb=True)
    assert_near(decode(content), pillow_pixels(content))


@pytest.mark.parametrize("transform", [0, 2])
def test_jpeg_of_four_inks_is_laid_on_white_paper(transform: int) -> None:
    rgb = photo()
    inks = np.concatenate([rgb, np.roll(rgb[..., :1], 9, 0) // 2 + 100], -1)
    content = saved(Image.frombytes("CMYK", (84, 64), inks.tobytes()), "JPEG")
    marker = content.index(b"Adobe") + 11
    assert content[marker] == 0
    content = content[:marker] + bytes([transform]) + content[marker + 1 :]
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.convert("RGB"))
    assert_near(decode(content), expected)


def test_jpeg_orientation_and_other_segments_are_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(Image.fromarray(photo()), "JPEG", exif=exif, comment=b"a comment", icc_profile=b"x" * 70000)
    assert_near(decode(content), pillow_pixels(content))


# --- JPEG, writing


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_written_jpeg_loses_no_more_than_libjpegs(size: tuple[int, int], channels: int) -> None:
    pixels = cv2.resize(photo(), size, interpolation=cv2.INTER_AREA)[..., :channels]
    content = encode(np.ascontiguousarray(pixels), ".jpg")
    ours = pillow_pixels(content)
    reference = pillow_pixels(
        saved(Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels), "JPEG", quality=95, subsampling=0)
    )

    def loss(read: Pixels) -> float:
        return float(np.abs(read.astype(int) - pixels).mean())

    assert loss(ours) <= 1.05 * loss(reference) + 0.3
    assert_near(decode(content), ours, mean=1.0)


# --- Damage


@functools.cache
def specimens() -> dict[str, bytes]:
    small = Image.fromarray(photo()).resize((21, 14))
    return {
        "palette": saved(small.convert("P"), "PNG"),
        "rgba": saved(small.convert("RGBA"), "PNG"),
        "deep": png_file(known_samples((9, 11, 3), 16), colour_type=2, depth=16, interlaced=True),
        "baseline": saved(small, "JPEG", quality=80),
        "progressive": saved(small, "JPEG", quality=80, progressive=True),
        "restarts": saved(small, "JPEG", quality=60, restart_marker_blocks=1),
        "inks": saved(small.convert("CMYK"), "JPEG"),
    }


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(specimens())), st.data())
def test_a_truncated_file_is_refused(name: str, data: st.DataObject) -> None:
    content = specimens()[name]
    length = data.draw(st.integers(0, len(content) - 1))
    # The last bytes of a JPEG are its end marker, of a PNG the checksum of its end: nothing can be left out.
    with pytest.raises(RefusedError):
        decode(content[:length])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(specimens())), st.data())
def test_flipped_bits_are_read_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    content = bytearray(specimens()[name])
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=6)):
        content[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(RefusedError):
        assert decode(bytes(content)).size > 0


@pytest.mark.parametrize(("target", "copies"), [("image", 3000), ("zlib", 300)])
def test_thousands_of_changed_files_end_neither_in_a_crash_nor_a_hang(target: str, copies: int, tmp_path: Path) -> None:
    for name, content in specimens().items():
        (tmp_path / name).write_bytes(content)
    outcome = run(fuzz_target(target), "-mutate", copies, *sorted(tmp_path.iterdir()))
    assert outcome.status == 0, outcome.error
    assert outcome.out == f"{len(specimens()) * (1 + copies)} inputs\n"


@pytest.mark.skipif(clang() is None, reason="libFuzzer comes with clang, which is not installed")
@pytest.mark.parametrize("target", ["image", "zlib", "arguments"])
def test_fuzz_targets_run_under_libfuzzer(target: str, tmp_path: Path) -> None:
    flags = ("-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-openmp")
    program = build(f"libfuzzer_{target}", (f"tests/fuzz_{target}.cpp",), flags, clang() or "")
    assert run(program, "-runs=2000", "-seed=1", tmp_path).status == 0


def png_with(kind: bytes, body: bytes) -> bytes:
    """A grey PNG of 4x4 with one chunk replaced."""
    content = png_file(known_samples((4, 4, 1), 8), colour_type=0, depth=8)
    at = content.index(kind) - 4
    length = int.from_bytes(content[at : at + 4], "big")
    return content[:at] + chunk(kind, body) + content[at + 12 + length :]


def png_header(width: int, height: int, depth: int = 8, colour_type: int = 0, interlace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)


def jpeg_with(old: bytes, new: bytes) -> bytes:
    content = saved(Image.fromarray(photo()[..., 0]), "JPEG")
    assert old in content
    return content.replace(old, new, 1)


REFUSALS = {
    "nothing": (b"", "is empty (0 bytes)"),
    "a GIF": (b"GIF89a...", "is neither PNG nor JPEG (it starts with 47 49 46 38)"),
    "one byte": (b"\x89", "is neither PNG nor JPEG (it starts with 89)"),
    "no pixels": (png_with(b"IHDR", png_header(0, 4)), "has no pixels (its header says 0 x 4)"),
    "too wide": (
        png_with(b"IHDR", png_header(40000, 1)),
        "is too large (40000 x 1); at most 32767 a side and 134217728 pixels are read",
    ),
    "a bomb": (png_with(b"IHDR", png_header(32767, 4000)), "holds too little data for its size of 32767 x 4000"),
    "too few rows": (png_with(b"IHDR", png_header(4, 5)), "holds 20 bytes of image data where its size needs 25"),
    "too many rows": (png_with(b"IHDR", png_header(4, 3)), "holds more image data than the 15 bytes its size needs"),
    "no such format": (
        png_with(b"IHDR", png_header(4, 4, 4, 2)),
        "is damaged (colour type 2 with 4 bits does not exist)",
    ),
    "no palette": (png_with(b"IHDR", png_header(4, 4, 8, 3)), "is damaged (its palette is missing)"),
    "a filter": (png_with(b"IDAT", zlib.compress(b"\x09" * 20)), "is damaged (row filter 9 does not exist)"),
    "no stream": (png_with(b"IDAT", b"zzzzzz"), "holds damaged compressed data (no zlib header)"),
    "a checksum": (
        png_with(b"IDAT", zlib.compress(bytes(20))[:-1] + b"?"),
        "holds damaged compressed data (checksum differs)",
    ),
    "no end": (png_with(b"IDAT", zlib.compress(bytes(20)))[:-12], "ends before its end chunk (truncated)"),
    "12 bits": (
        jpeg_with(b"\xff\xc0\x00\x0b\x08", b"\xff\xc0\x00\x0b\x0c"),
        "has 12 bits a sample; JPEG of 8 bits is read",
    ),
    "arithmetic": (
        jpeg_with(b"\xff\xc0", b"\xff\xc9"),
        "is a kind of JPEG that is not read (lossless, hierarchical or arithmetic); baseline and progressive are",
    ),
    "a JPEG bomb": (
        jpeg_with(b"\x00\x40\x00\x54\x01", b"\x7f\xff\x0f\xff\x01"),
        "holds too little data for its size of 4095 x 32767",
    ),
    "no end marker": (jpeg_with(b"\xff\xd9", b""), "ends before its end marker (truncated)"),
    "no picture": (b"\xff\xd8\xff\xd9", "holds no picture"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_gives_the_reason(name: str) -> None:
    content, reason = REFUSALS[name]
    with pytest.raises(RefusedError) as refusal:
        decode(content)
    assert str(refusal.value) == reason


def test_a_changed_chunk_is_named() -> None:
    content = bytearray(png_file(known_samples((4, 4, 1), 8), colour_type=0, depth=8))
    content[content.index(b"IDAT") + 6] ^= 1
    with pytest.raises(RefusedError, match=r"is damaged \(the checksum of its 'IDAT' chunk differs\)"):
        decode(bytes(content))


@pytest.mark.parametrize("name", ["a bomb", "a JPEG bomb"])
def test_a_small_file_that_claims_a_large_picture_takes_little_memory(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "bomb"
    picture.write_bytes(REFUSALS[name][0])
    # In KiB; either picture would take more than that.
    limited = 'ulimit -v 120000; exec "$@"'
    outcome = run(Path("/bin/sh"), "-c", limited, "sh", optimized_image_tool(), "decode", picture, tmp_path / "raw")
    assert outcome.status == 1
    assert REFUSALS[name][1] in outcome.error
