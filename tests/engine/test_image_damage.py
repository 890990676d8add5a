"""Damaged, truncated, lying and foreign picture files: each is refused with a reason, and nothing worse happens."""

import contextlib
import functools
import struct
import zlib
from pathlib import Path

import pytest
from codec import RefusedError, decode, known_samples, photo, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from png_oracle import chunk, png_file
from programs import build, fuzz_target, libfuzzer, optimized_image_tool, run


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


@pytest.mark.parametrize(("target", "copies"), [("image", 3000), ("zlib", 300), ("arguments", 3000)])
def test_thousands_of_changed_files_end_neither_in_a_crash_nor_a_hang(target: str, copies: int, tmp_path: Path) -> None:
    for name, content in specimens().items():
        (tmp_path / name).write_bytes(content)
    outcome = run(fuzz_target(target), "-mutate", copies, *sorted(tmp_path.iterdir()))
    assert outcome.status == 0, outcome.error
    assert outcome.out == f"{len(specimens()) * (1 + copies)} inputs\n"


@pytest.mark.skipif(libfuzzer() is None, reason="libFuzzer comes with clang, which is not installed")
@pytest.mark.parametrize("target", ["image", "zlib", "arguments"])
def test_fuzz_targets_run_under_libfuzzer(target: str, tmp_path: Path) -> None:
    flags = ("-O1", "-g", "-fsanitize=fuzzer,address,undefined")
    program = build(f"libfuzzer_{target}", (f"tests/fuzz_{target}.cpp",), flags, compiler=libfuzzer() or "")
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
