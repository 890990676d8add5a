import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.errors import MediaError, MissingFileError
from diffsynth.images import image_has_alpha, list_images, natural_key, read_image, write_png

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_png_round_trip_with_and_without_alpha(tmp_path):
    alpha = RGB[..., 0]
    write_png(tmp_path / "a.png", RGB)
    write_png(tmp_path / "b.png", RGB, alpha)
    rgb, none = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb, RGB)
    assert none is None
    rgb, kept = read_image(tmp_path / "b.png")
    np.testing.assert_array_equal(rgb, RGB)
    np.testing.assert_array_equal(kept, alpha)
    assert [image_has_alpha(tmp_path / name) for name in ("a.png", "b.png")] == [False, True]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    # What each value says of the stored picture, in NumPy's terms.
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], undo(RGB))


def test_grey_palette_and_sixteen_bits(tmp_path):
    grey = RGB[..., 0]
    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[0], np.dstack([grey] * 3))

    palette = PIL.Image.fromarray(grey % 4, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    palette.save(tmp_path / "palette.png", transparency=1)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    rgb, alpha = read_image(tmp_path / "palette.png")
    np.testing.assert_array_equal(rgb, colours[grey % 4])
    np.testing.assert_array_equal(alpha, np.where(grey % 4 == 1, 0, 255))

    wide = np.array([[0, 128, 129, 257], [32768, 65406, 65407, 65535]], np.uint16)
    PIL.Image.fromarray(wide).save(tmp_path / "wide.png")
    want = np.rint(wide / 65535 * 255).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "wide.png")[0][..., 1], want)


def test_cmyk_becomes_rgb(tmp_path):
    PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    red = read_image(tmp_path / "red.jpg")[0].astype(int)
    # JPEG rounds; the colour is full red.
    assert np.abs(red - [255, 0, 0]).max() <= 4


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that announces any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def test_hostile_files_are_named_with_the_reason(tmp_path):
    write_png(tmp_path / "whole.png", np.repeat(np.repeat(RGB, 20, 0), 20, 1))
    whole = (tmp_path / "whole.png").read_bytes()
    files = {
        "empty.png": (b"", "empty"),
        "text.png": (b"just some words\n", "no image in a known format.*just some"),
        "cut.png": (whole[: len(whole) // 2], "cannot be read.*truncated"),
        "bomb.png": (bomb(100_000, 100_000), "too large"),
        "large.png": (bomb(17_000, 17_000), "too large"),
    }
    for name, (content, reason) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=f"{name}: .*{reason}"):
            read_image(tmp_path / name)
    with pytest.raises(MissingFileError, match=r"none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(MediaError, match="is a folder"):
        read_image(tmp_path)


def test_an_animation_is_no_single_image(tmp_path):
    frames = [PIL.Image.fromarray(RGB), PIL.Image.fromarray(255 - RGB)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(MediaError, match=r"moving\.webp: is an animation"):
        read_image(tmp_path / "moving.webp")


def test_folders_and_globs_are_listed_in_natural_order(tmp_path):
    names = ["frame10.png", "frame2.png", "frame1.PNG", "other.jpg", "notes.txt", ".hidden.png"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [f.name for f in list_images(tmp_path)] == ["frame1.PNG", "frame2.png", "frame10.png", "other.jpg"]
    assert [f.name for f in list_images(tmp_path / "frame*.png")] == ["frame2.png", "frame10.png"]
    assert list_images(tmp_path / "other.jpg") == [tmp_path / "other.jpg"]
    with pytest.raises(MediaError, match="matches no image"):
        list_images(str(tmp_path / "*.bmp"))
    with pytest.raises(MissingFileError):
        list_images(tmp_path / "nowhere")


def test_a_file_named_like_a_glob_is_itself(tmp_path):
    write_png(tmp_path / "shot[1].png", RGB)
    assert list_images(tmp_path / "shot[1].png") == [tmp_path / "shot[1].png"]


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["{}.png", "shot {}.png", "a/{:03d}_v2.jpg"]))
def test_natural_order_is_the_order_of_numbers(numbers, form):
    assert sorted((form.format(n) for n in numbers), key=natural_key) == [form.format(n) for n in sorted(numbers)]


def test_writing_where_there_is_no_folder_is_a_media_error(tmp_path):
    with pytest.raises(MediaError, match="cannot be written"):
        write_png(tmp_path / "none" / "a.png", RGB)
