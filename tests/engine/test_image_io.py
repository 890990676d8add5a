"""The engine's own PNG and JPEG codecs against Pillow, OpenCV and known samples."""

import io
import zlib

import cv2
import numpy as np
import pytest
import skimage.data
from codec import JPEG_MEAN, Pixels, assert_near, decode, encode, known_samples, photo, pillow_pixels, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from png_oracle import png_file

# --- PNG, reading

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
FORMATS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]


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
