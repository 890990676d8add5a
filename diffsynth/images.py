"""Single images in and out: whatever a file holds, RGB uint8 comes out of it, or an error that names the file."""

import io
import re
import warnings
from glob import glob
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from diffsynth.errors import MediaError, MissingFileError
from diffsynth.frames import Image, write_aside

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
# 16384 × 16384. A compressed file of a few bytes can announce any size, and its pixels would fill the memory.
MAXIMUM_PIXELS = 1 << 28

_ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}


def read_image(path: Path | str) -> tuple[Image, Image | None]:
    """The upright (H, W, 3) RGB of an image file, and its (H, W) alpha if it has one.

    Palettes, grey, CMYK and 16 bit are converted; 16 bit is rounded to the nearest of 256 levels.
    """
    path = Path(path)
    with _opened(path) as image:
        turned = PIL.ImageOps.exif_transpose(image)
        alpha = _alpha(turned)
        return _rgb(turned), alpha


def image_has_alpha(path: Path | str) -> bool:
    """Whether an image file stores transparency, from its header."""
    path = Path(path)
    with _opened(path, load=False) as image:
        return image.mode in _ALPHA_MODES or "transparency" in image.info


def write_png(path: Path | str, rgb: Image, alpha: Image | None = None) -> None:
    """Write a PNG so that a crash leaves the whole file or none."""
    pixels = rgb if alpha is None else np.dstack([rgb, alpha])
    buffer = io.BytesIO()
    # Level 1: a third of the time of the default for files a tenth larger.
    PIL.Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    try:
        write_aside(Path(path), buffer.getvalue())
    except OSError as problem:
        raise MediaError(f"{path}: cannot be written: {problem.strerror}.") from problem


def natural_key(path: Path | str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that compares runs of digits as numbers: frame2.png comes before frame10.png."""
    parts = re.split(r"([0-9]+)", str(path))
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part)


def is_image_name(path: Path | str) -> bool:
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def is_pattern(source: Path | str) -> bool:
    """Whether `source` is a glob; a file whose name really holds such characters is itself."""
    return any(character in str(source) for character in "*?[") and not Path(source).exists()


def list_images(source: Path | str) -> list[Path]:
    """The images of a folder, of a glob, or the one file, in natural order. Hidden files are left out."""
    path = Path(source)
    if is_pattern(source):
        found = [Path(name) for name in glob(str(source), recursive=True)]
        what = "matches no image"
    elif path.is_dir():
        found = list(path.iterdir())
        what = "holds no image"
    elif path.is_file():
        return [path]
    else:
        raise MissingFileError(f"{source}: there is no such file or folder.")
    images = [file for file in found if is_image_name(file) and not file.name.startswith(".") and file.is_file()]
    if not images:
        raise MediaError(f"{source}: {what} (known are {', '.join(sorted(IMAGE_SUFFIXES))}).")
    return sorted(images, key=natural_key)


class _opened:  # noqa: N801  reads as a statement
    """A PIL image whose every failure becomes a `MediaError` with the file's name."""

    def __init__(self, path: Path, *, load: bool = True) -> None:
        self._path, self._load = path, load
        self._image: PIL.Image.Image | None = None

    def __enter__(self) -> PIL.Image.Image:
        path = self._path
        if not path.exists():
            raise MissingFileError(f"{path}: there is no such file.")
        if path.is_dir():
            raise MediaError(f"{path}: is a folder, not an image.")
        if path.stat().st_size == 0:
            raise MediaError(f"{path}: the file is empty (0 bytes).")
        try:
            return self._read(path)
        except BaseException:
            self._close()
            raise

    def _read(self, path: Path) -> PIL.Image.Image:
        try:
            with warnings.catch_warnings():
                # Our own limit on the size speaks; what a decoder warns of either raises below or does no harm.
                warnings.simplefilter("ignore")
                self._image = image = PIL.Image.open(path)
                self._check_size(image)
                if self._load:
                    image.load()
        except PIL.UnidentifiedImageError as problem:
            raise MediaError(f"{path}: is no image in a known format; its first bytes are {_head(path)}.") from problem
        except PIL.Image.DecompressionBombError as problem:
            raise MediaError(f"{path}: is too large: {problem}.") from problem
        except MediaError:
            raise
        except Exception as problem:  # Each of PIL's decoders raises kinds of its own on broken data.
            raise MediaError(f"{path}: cannot be read: {problem or type(problem).__name__}.") from problem
        return image

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._image is not None:
            self._image.close()

    def _check_size(self, image: PIL.Image.Image) -> None:
        width, height = image.size
        if width * height > MAXIMUM_PIXELS:
            raise MediaError(f"{self._path}: is too large: {width}×{height} pixels, {MAXIMUM_PIXELS} are allowed.")


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return repr(file.read(12))[1:]


def _rgb(image: PIL.Image.Image) -> Image:
    if image.mode.startswith("I") or image.mode == "F":
        grey = _to_eight_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _to_eight_bits(values: NDArray[np.generic]) -> Image:
    """Grey of 16 or 32 bits, or float, as 256 levels. What the file's type does not bound is taken as 16 bit, float
    as 0 to 1."""
    if values.dtype.kind == "f":
        return np.rint(np.clip(np.nan_to_num(values.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    wide = np.clip(values.astype(np.int64), 0, 65535)
    return ((wide * 255 + 32767) // 65535).astype(np.uint8)


def _alpha(image: PIL.Image.Image) -> Image | None:
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        return np.array(image.convert("RGBA").getchannel("A"))
    return None
