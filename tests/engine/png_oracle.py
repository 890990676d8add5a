"""Writes PNG files of every colour type, bit depth, row filter and interlace method from known samples."""

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.integer]

# x, y of the first pixel and the steps, of each pass of the standard's interlacing
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def packed_row(row: Samples, depth: int) -> bytes:
    """One row of samples, most significant bit first, filled up to whole bytes."""
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def predicted(kind: int, left: int, above: int, corner: int) -> int:
    estimate = left + above - corner
    nearest = min((left, above, corner), key=lambda value: abs(estimate - value))
    return (0, left, above, (left + above) // 2, nearest)[kind]


def filtered(rows: list[bytes], pixel_bytes: int, kinds: Iterator[int]) -> bytes:
    out = bytearray()
    above = bytes(len(rows[0])) if rows else b""
    for row, kind in zip(rows, kinds, strict=False):
        out.append(kind)
        for i, value in enumerate(row):
            left, corner = (row[i - pixel_bytes], above[i - pixel_bytes]) if i >= pixel_bytes else (0, 0)
            out.append((value - predicted(kind, left, above[i], corner)) % 256)
        above = row
    return bytes(out)


def png_file(
    samples: Samples,
    *,
    colour_type: int,
    depth: int,
    interlaced: bool = False,
    palette: bytes = b"",
    transparency: bytes = b"",
    level: int = 6,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
) -> bytes:
    """`samples`: height x width x channels at the file's own depth. Rows take the five filters in turn."""
    height, width, channels = samples.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour_type, 0, 0, int(interlaced)])
    kinds = itertools.cycle([4, 3, 2, 1, 0])
    data = b""
    for x, y, step_x, step_y in PASSES if interlaced else [(0, 0, 1, 1)]:
        part = samples[y::step_y, x::step_x]
        if part.size:
            data += filtered([packed_row(row, depth) for row in part], max(1, channels * depth // 8), kinds)
    deflate = zlib.compressobj(level, zlib.DEFLATED, 15, 9, strategy)
    body = deflate.compress(data) + deflate.flush()
    half = len(body) // 2
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"gAMA", (45455).to_bytes(4, "big"))
        + (chunk(b"PLTE", palette) if palette else b"")
        + (chunk(b"tRNS", transparency) if transparency else b"")
        + chunk(b"IDAT", body[:half])
        + chunk(b"IDAT", body[half:])
        + chunk(b"IEND", b"")
    )
