import subprocess
import sys
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from diffsynth.video.geometry import centre_crop, display_size, place, target_size
from diffsynth.video.options import Geometry, Selection, VideoOptions
from diffsynth.video.resize import resized

sides = st.integers(1, 5000)
aspects = st.sampled_from([Fraction(1), Fraction(16, 15), Fraction(8, 9), Fraction(64, 45), Fraction(10, 11)])


@given(sides, sides, sides, sides)
def test_the_crop_is_the_largest_centred_box_of_its_aspect(height, width, aspect_height, aspect_width):
    top, left, box_height, box_width = centre_crop(height, width, aspect_height, aspect_width)
    assert 0 <= top <= height - box_height
    assert 0 <= left <= width - box_width
    assert box_height == height or box_width == width
    # Centred: of an odd rest the larger half goes right or below.
    assert 0 <= (height - box_height) - 2 * top <= 1
    assert 0 <= (width - box_width) - 2 * left <= 1
    # Its aspect is the asked one, floored to whole pixels, never thinner than one.
    if box_height == height and box_width < width:
        exact = Fraction(height * aspect_width, aspect_height)
        assert exact - 1 < box_width <= max(exact, 1)
    elif box_height < height:
        exact = Fraction(width * aspect_height, aspect_width)
        assert exact - 1 < box_height <= max(exact, 1)
    else:
        assert (
            height * aspect_width == aspect_height * width
            or 1 in {height, width}
            or _floors_away(height, width, aspect_height, aspect_width)
        )


def _floors_away(height, width, aspect_height, aspect_width):
    return height - 1 < width * aspect_height / aspect_width <= height + 1 or (
        width - 1 < height * aspect_width / aspect_height <= width + 1
    )


@pytest.mark.parametrize(
    ("source", "target", "box"),
    [
        # Worked by hand: the wide source loses its sides, the high one its top and bottom.
        ((1080, 1920), (512, 512), (0, 420, 1080, 1080)),
        ((1920, 1080), (512, 512), (420, 0, 1080, 1080)),
        ((540, 960), (512, 512), (0, 210, 540, 540)),
        ((720, 1280), (512, 768), (0, 100, 720, 1080)),
        ((101, 100), (1, 1), (0, 0, 100, 100)),
        ((512, 512), (512, 512), (0, 0, 512, 512)),
    ],
)
def test_crops_worked_by_hand(source, target, box):
    p = place(*source, Geometry(*target))
    assert (p.top, p.left, p.crop_height, p.crop_width) == box
    assert (p.height, p.width) == target


@given(
    sides, sides, st.one_of(st.none(), sides), st.one_of(st.none(), sides), st.sampled_from(["crop", "fit", "stretch"])
)
def test_target_sizes(height, width, asked_height, asked_width, mode):
    out_height, out_width = target_size(height, width, Geometry(asked_height, asked_width, mode))
    assert out_height >= 1
    assert out_width >= 1
    if asked_height is None and asked_width is None:
        assert (out_height, out_width) == (height, width)
    elif asked_width is None:
        assert out_height == asked_height
        assert abs(out_width - asked_height * width / height) <= 0.5 or out_width == 1
    elif asked_height is None:
        assert out_width == asked_width
        assert abs(out_height - asked_width * height / width) <= 0.5 or out_height == 1
    elif mode == "fit":
        assert out_height <= asked_height
        assert out_width <= asked_width
        assert out_height == asked_height or out_width == asked_width
        scale = min(Fraction(asked_height, height), Fraction(asked_width, width))
        assert abs(out_height - height * scale) <= Fraction(1, 2) or out_height == 1
        assert abs(out_width - width * scale) <= Fraction(1, 2) or out_width == 1
    else:
        assert (out_height, out_width) == (asked_height, asked_width)


@given(sides, sides, st.sampled_from([2, 8, 64]))
def test_sizes_are_floored_to_the_multiple(height, width, multiple):
    assume(min(height, width) >= multiple)
    out = target_size(height, width, Geometry(multiple=multiple))
    assert all(
        side % multiple == 0 and asked - multiple < side <= asked
        for side, asked in zip(out, (height, width), strict=True)
    )


def test_sizes_under_the_multiple_are_refused():
    with pytest.raises(ValueError, match="smaller than 8"):
        target_size(100, 7, Geometry(multiple=8))


@given(sides, sides, sides, sides, aspects)
def test_the_box_of_wide_pixels_shows_the_asked_aspect(height, width, asked_height, asked_width, pixel_aspect):
    p = place(height, width, Geometry(asked_height, asked_width), pixel_aspect)
    assume(p.crop_height > 1 and p.crop_width > 1)
    shown = p.crop_width * pixel_aspect / p.crop_height
    asked = Fraction(asked_width, asked_height)
    # One pixel of the shorter cut side is all that flooring takes.
    assert abs(shown / asked - 1) <= Fraction(1, min(p.crop_height, p.crop_width))


def test_wide_pixels_widen_the_picture():
    assert display_size(576, 720, Fraction(64, 45)) == (576, 1024)


def test_cropping_and_scaling_equals_slicing_then_pillows_bicubic():
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    got = resized(image, place(40, 70, Geometry(24, 24)))
    want = PIL.Image.fromarray(image[:, 15:55]).resize((24, 24), PIL.Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(got, np.asarray(want))
    flat = np.full((40, 70), 77, np.uint8)
    assert (resized(flat, place(40, 70, Geometry(11, 13))) == 77).all()


def test_the_right_size_is_left_untouched():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(resized(image, place(16, 16, Geometry(multiple=8))), image)


@given(frames=st.integers(0, 500), interval=st.integers(1, 9), maximum=st.one_of(st.none(), st.integers(1, 50)))
def test_the_count_of_a_selection_is_that_of_a_slice(frames, interval, maximum):
    assert Selection(interval, maximum).count_of(frames) == len(range(frames)[::interval][:maximum])


@pytest.mark.parametrize(
    "arguments",
    [
        {"interval": 0},
        {"maximum_count": 0},
        {"start": -1},
        {"end": float("nan")},
        {"start": 5, "end": 5},
        {"start": 2.0, "end": 1.5},
    ],
)
def test_impossible_selections_are_refused(arguments):
    with pytest.raises(ValueError, match=r"must be|it must"):
        Selection(**arguments)


def test_options_cost_no_codec():
    script = (
        "import sys, diffsynth.video, diffsynth.video.options, diffsynth.timing\n"
        "print([m for m in ('av', 'cv2', 'PIL', 'torch', 'zstandard') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_impossible_sizes_and_codecs_are_refused():
    with pytest.raises(ValueError, match="height is 0"):
        Geometry(height=0)
    with pytest.raises(ValueError, match="mode is 'zoom'"):
        Geometry(mode="zoom")
    with pytest.raises(ValueError, match="codec is 'divx'"):
        VideoOptions(codec="divx")
