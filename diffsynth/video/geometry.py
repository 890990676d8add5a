"""The arithmetic of cropping and scaling: integers in, integers out, no picture touched."""

from dataclasses import dataclass
from fractions import Fraction

from diffsynth.video.options import Geometry


@dataclass(frozen=True)
class Placement:
    """Cut this box out of the source, then scale it to `height` x `width`."""

    top: int
    left: int
    crop_height: int
    crop_width: int
    height: int
    width: int


def display_size(height: int, width: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """The size in square pixels of a picture whose pixels are `pixel_aspect` wide for 1 high. Height is kept."""
    return height, max(1, round(width * pixel_aspect))


def target_size(height: int, width: int, geometry: Geometry) -> tuple[int, int]:
    """The output size for a source that shows `height` x `width` square pixels."""
    asked_height, asked_width = geometry.height, geometry.width
    if asked_height is None:
        out = (height, width) if asked_width is None else (_rounded(height * asked_width, width), asked_width)
    elif asked_width is None:
        out = asked_height, _rounded(width * asked_height, height)
    elif geometry.mode == "fit":
        # The side that is tighter decides; the other follows the source's aspect and cannot exceed what was asked.
        if asked_height * width <= asked_width * height:
            out = asked_height, min(asked_width, _rounded(width * asked_height, height))
        else:
            out = min(asked_height, _rounded(height * asked_width, width)), asked_width
    else:
        out = asked_height, asked_width
    multiple = geometry.multiple
    floored = out[0] // multiple * multiple, out[1] // multiple * multiple
    if 0 in floored:
        raise ValueError(
            f"frames of {out[0]}x{out[1]} (height x width) are smaller than {multiple}, the multiple that both sides "
            "are floored to; ask for a larger height or width"
        )
    return floored


def _rounded(numerator: int, denominator: int) -> int:
    return max(1, (2 * numerator + denominator) // (2 * denominator))


def centre_crop(height: int, width: int, aspect_height: int, aspect_width: int) -> tuple[int, int, int, int]:
    """The largest centred box (top, left, height, width) with the aspect `aspect_height` : `aspect_width`.

    One side is the source's; the other is floored, and of an odd rest the larger half is cut off below or right.
    """
    if height * aspect_width < aspect_height * width:
        crop_width = max(1, height * aspect_width // aspect_height)
        return 0, (width - crop_width) // 2, height, crop_width
    crop_height = max(1, width * aspect_height // aspect_width)
    return (height - crop_height) // 2, 0, crop_height, width


def cuts(geometry: Geometry) -> bool:
    """Whether the picture is cut to the target's aspect. Where that is the source's own up to rounding, a cut would
    only lose a row or column."""
    both_asked = geometry.height is not None and geometry.width is not None
    return geometry.mode == "crop" and (both_asked or geometry.multiple > 1)


def place(height: int, width: int, geometry: Geometry, pixel_aspect: Fraction = Fraction(1)) -> Placement:
    """Where a stored picture of `height` x `width` goes. The box is in stored pixels."""
    out_height, out_width = target_size(*display_size(height, width, pixel_aspect), geometry)
    return place_on(height, width, out_height, out_width, crop=cuts(geometry), pixel_aspect=pixel_aspect)


def place_on(
    height: int, width: int, out_height: int, out_width: int, *, crop: bool, pixel_aspect: Fraction = Fraction(1)
) -> Placement:
    """As `place`, on a size that is already known."""
    if not crop:
        return Placement(0, 0, height, width, out_height, out_width)
    # In stored pixels the wanted aspect is narrower by the pixels' own width.
    box = centre_crop(height, width, out_height * pixel_aspect.numerator, out_width * pixel_aspect.denominator)
    return Placement(*box, out_height, out_width)
