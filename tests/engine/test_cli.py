"""The programs `ebsynth` and `ebsynth_nnf` from outside: what callers pass, what comes back, and every error."""

import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from programs import Outcome, ebsynth, ebsynth_nnf, run, sanitized_ebsynth

Pixels = NDArray[np.uint8]


@functools.cache
def photo() -> Pixels:
    """56 wide, 40 high: the two must not be mixed up."""
    return cv2.resize(skimage.data.astronaut()[20:340, 60:508], (56, 40), interpolation=cv2.INTER_AREA)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures that fit each other: a style, its source guide, and a target guide of another size."""
    source = photo()
    target = np.ascontiguousarray(np.roll(source, (3, 5), (0, 1))[:36, :52])
    grey = source.mean(-1).astype(np.uint8)
    pictures = {
        "style.png": 255 - source,
        "source.png": source,
        "target.png": target,
        "grey.png": grey,
        "grey_as_rgb.png": np.dstack([grey] * 3),
        "opaque.png": np.dstack([255 - source, np.full_like(grey, 255)]),
        "alpha.png": np.dstack([255 - source, grey]),
        "grey_target.png": target.mean(-1).astype(np.uint8),
        "tiny.png": source[:4, :4],
        "pixel.png": source[:1, :1],
    }
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "source.png").read_bytes()[:500])
    (tmp_path / "film.gif").write_bytes(b"GIF89a")
    return tmp_path


def paint(folder: Path, *arguments: object) -> Pixels:
    """The painted picture, of a command that must succeed."""
    outcome = run(ebsynth(), *arguments, "-output", "painted.png", cwd=folder)
    assert outcome.status == 0, outcome
    assert outcome.error == ""
    return pixels_of(folder / "painted.png")


def match(folder: Path, *arguments: object) -> NDArray[np.int64]:
    """height x width x (x, y), of a command that must succeed. The file has a line for each row."""
    outcome = run(ebsynth_nnf(), *arguments, "-output", "field.txt", cwd=folder)
    assert outcome.status == 0, outcome
    lines = (folder / "field.txt").read_text().splitlines()
    return np.array([line.split() for line in lines], np.int64).reshape(len(lines), -1, 2)


def pixels_of(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


STYLE = ("-style", "style.png")
GUIDE = ("-guide", "source.png", "target.png")
SELF = ("-guide", "source.png", "source.png")


# --- What callers rely on


def test_no_arguments_print_the_usage_and_fail() -> None:
    for program in (ebsynth(), ebsynth_nnf()):
        outcome = run(program)
        assert outcome.status == 1
        assert outcome.out.startswith("usage: ebsynth")
        options = ["style", "guide", "weight", "output", "uniformity", "patchsize", "pyramidlevels", "searchvoteiters"]
        options += ["patchmatchiters", "stopthreshold", "extrapass3x3", "backend", "preset", "threads", "seed"]
        for option in options:
            assert f"\n  -{option} " in outcome.out


@pytest.mark.parametrize("word", ["-help", "--help", "-h"])
def test_help_is_no_error(word: str) -> None:
    outcome = run(ebsynth(), word)
    assert (outcome.status, outcome.error) == (0, "")
    assert outcome.out.startswith("usage: ebsynth")


def test_every_option_of_the_published_program_is_taken(folder: Path) -> None:
    outcome = run(
        ebsynth(),
        *("-style", "style.png", "-weight", "0.8", *GUIDE, "-weight", "1.5", "-guide", "grey.png", "grey_target.png"),
        *(
            "-output",
            "out.png",
            "-uniformity",
            "1500",
            "-patchsize",
            "3",
            "-pyramidlevels",
            "2",
            "-searchvoteiters",
            "3",
        ),
        *("-patchmatchiters", "2", "-stopthreshold", "4", "-extrapass3x3", "-backend", "cpu"),
        cwd=folder,
    )
    assert outcome.status == 0, outcome
    assert outcome.out.splitlines() == [
        "uniformity: 1500",
        "patchsize: 3",
        "pyramidlevels: 2",
        "searchvoteiters: 3",
        "patchmatchiters: 2",
        "stopthreshold: 4",
        "extrapass3x3: yes",
        "backend: cpu",
        "result was written to out.png",
    ]
    assert pixels_of(folder / "out.png").shape == (36, 52, 3)


def test_automatic_backend_says_once_that_it_is_the_processor(folder: Path) -> None:
    if run(ebsynth(), *STYLE, *GUIDE, "-backend", "cuda", cwd=folder).status == 0:
        pytest.skip("this machine has a CUDA device, and the program the backend for it")
    outcome = run(ebsynth(), *STYLE, *GUIDE, cwd=folder)
    assert outcome.out.count("no CUDA device was found") == 1
    assert "backend: cpu (no CUDA device was found)\n" in outcome.out
    assert (folder / "output.png").exists()  # the published program's name for it


def test_maximal_levels_end_where_the_smaller_side_is_twice_the_patch(folder: Path) -> None:
    # Of source 56x40 and target 52x36 the smaller side is 36, 18, 9.
    for patch, levels in [(3, 3), (5, 2), (7, 2), (9, 1), (17, 1), (33, 1)]:
        for wanted in [(), ("-pyramidlevels", "max"), ("-pyramidlevels", "99")]:
            outcome = run(ebsynth(), *STYLE, *GUIDE, "-patchsize", patch, *wanted, cwd=folder)
            assert f"pyramidlevels: {levels}\n" in outcome.out


def test_default_weights_are_one_for_the_style_and_one_shared_by_the_guides(folder: Path) -> None:
    grey = ("-guide", "grey.png", "grey_target.png")
    plain = paint(folder, *STYLE, *GUIDE, *grey)
    explicit = paint(folder, *STYLE, "-weight", 1, *GUIDE, "-weight", 0.5, *grey, "-weight", "5e-1")
    np.testing.assert_array_equal(plain, explicit)
    assert (plain != paint(folder, *STYLE, "-weight", 30, *GUIDE, *grey)).any()
    assert (plain != paint(folder, *STYLE, *GUIDE, "-weight", 30, *grey)).any()


def test_a_weight_binds_to_what_stands_before_it(folder: Path) -> None:
    # A guide without weight has no say, wherever it stands: only the true pair leads to the identity.
    false = ("-guide", "grey.png", "style.png", "-weight", 0)
    identity = np.stack(np.meshgrid(np.arange(56), np.arange(40)), -1)
    video = ("-preset", "video")
    np.testing.assert_array_equal(match(folder, *SELF, "-weight", 2, *false, *video), identity)
    np.testing.assert_array_equal(match(folder, *false, *SELF, "-weight", 2, *video), identity)
    np.testing.assert_array_equal(match(folder, *false, *SELF, *STYLE, "-weight", 0, *video), identity)


def test_nnf_pairs_are_x_then_y_in_scanline_order(folder: Path) -> None:
    source = skimage.data.coffee()[100:196, 100:228]
    Image.fromarray(source).save(folder / "a.png")
    Image.fromarray(source[8:80, 5:125]).save(folder / "b.png")
    field = match(folder, "-guide", "a.png", "b.png", "-uniformity", 0)
    assert field.shape == (72, 120, 2)
    expected = np.stack(np.meshgrid(np.arange(120) + 5, np.arange(72) + 8), -1)
    inside = (field == expected)[4:-4, 4:-4].all(-1)
    assert inside.mean() > 0.97  # a random search may miss a few


def test_identical_frames_give_an_exact_copy(folder: Path) -> None:
    np.testing.assert_array_equal(paint(folder, *STYLE, *SELF, "-preset", "video"), 255 - photo())


def test_threads_do_not_change_the_result_and_the_seed_does(folder: Path) -> None:
    plain = paint(folder, *STYLE, *GUIDE, "-threads", 1)
    for threads in (2, 8):
        np.testing.assert_array_equal(plain, paint(folder, *STYLE, *GUIDE, "-threads", threads))
    assert (plain != paint(folder, *STYLE, *GUIDE, "-seed", 4294967295)).any()


# --- Pictures


def test_grey_and_opaque_pictures_cost_no_channels(folder: Path) -> None:
    grey = paint(folder, "-style", "grey.png", *GUIDE)
    assert grey.ndim == 2
    np.testing.assert_array_equal(grey, paint(folder, "-style", "grey_as_rgb.png", *GUIDE))
    np.testing.assert_array_equal(paint(folder, *STYLE, *GUIDE), paint(folder, "-style", "opaque.png", *GUIDE))
    assert paint(folder, "-style", "alpha.png", *GUIDE).shape == (36, 52, 4)
    # A guide is grey where both of its pictures are.
    paint(folder, *STYLE, "-guide", "grey.png", "target.png")
    np.testing.assert_array_equal(
        match(folder, "-guide", "grey.png", "grey.png"), match(folder, "-guide", "grey.png", "grey_as_rgb.png")
    )


def test_up_to_24_guide_channels(folder: Path) -> None:
    paint(folder, *STYLE, *(8 * GUIDE))
    outcome = run(ebsynth(), *STYLE, *(8 * GUIDE), "-guide", "grey.png", "grey_target.png", cwd=folder)
    assert outcome.error == ("error: the guides have more than 24 channels in all (grey.png brings them to 25)\n")


@pytest.mark.parametrize(
    ("name", "kind"), [("o.png", "PNG"), ("o.jpg", "JPEG"), ("o.JPEG", "JPEG"), ("a.b.jpeg", "JPEG")]
)
def test_output_type_follows_the_suffix(name: str, kind: str, folder: Path) -> None:
    outcome = run(ebsynth(), *STYLE, *GUIDE, "-output", name, cwd=folder)
    assert outcome.out.endswith(f"result was written to {name}\n")
    with Image.open(folder / name) as image:
        assert image.format == kind
        assert image.size == (52, 36)


def test_input_type_follows_the_content(folder: Path) -> None:
    Image.open(folder / "source.png").save(folder / "source.jpg", progressive=True)
    (folder / "source.jpg").rename(folder / "wrong.png")
    paint(folder, *STYLE, "-guide", "wrong.png", "target.png")


def test_one_row_and_one_pixel_with_the_video_preset(folder: Path) -> None:
    Image.fromarray(photo()[:1]).save(folder / "row.png")
    for name, size in [("pixel.png", (1, 1)), ("row.png", (1, 56))]:
        painted = paint(folder, "-style", name, "-guide", name, name, "-preset", "video")
        np.testing.assert_array_equal(painted.reshape(*size, -1)[..., :3], photo()[: size[0], : size[1]])
        assert match(folder, "-guide", name, name, "-preset", "video").shape == (*size, 2)


# --- Errors

FULL = (*STYLE, *GUIDE)
ERRORS: dict[str, tuple[tuple[object, ...], str]] = {
    "unknown option": (("-sytle", "style.png"), "unknown option '-sytle'; did you mean -style?"),
    "unknown word": (("picture.png",), "unknown option 'picture.png'"),
    "no style": (GUIDE, "no style is given; add -style FILE"),
    "no guide": (STYLE, "no guide is given; add -guide SOURCE TARGET"),
    "two styles": ((*STYLE, *STYLE), "-style is given twice; one picture is painted from"),
    "weight of nothing": (("-weight", "1", *FULL), "-weight must follow the -style or -guide that it belongs to"),
    "value missing": (("-patchsize",), "-patchsize needs a value after it"),
    "value left out": (("-style", "-guide", "a", "b"), "-style needs a value after it"),
    "half a guide": (("-guide", "source.png"), "-guide needs two files: source and target"),
    "no file name": (("-style", ""), "-style has an empty file name"),
    "not a number": ((*FULL, "-weight", "1,5"), "-weight is '1,5'; it must be a number of 0 or more"),
    "infinite": ((*FULL, "-weight", "inf"), "-weight is 'inf'; it must be a number of 0 or more"),
    "too large for a float": ((*FULL, "-weight", "1e99"), "-weight is '1e99'; it must be a number of 0 or more"),
    "negative": (("-uniformity", "-1"), "-uniformity is '-1'; it must be a number of 0 or more"),
    "rest": (("-patchsize", "5x"), "-patchsize is '5x'; it must be a whole number from 3 to 33"),
    "fraction": (("-searchvoteiters", "2.5"), "-searchvoteiters is '2.5'; it must be a whole number from 1 to 1000"),
    "zero": (("-patchmatchiters", "0"), "-patchmatchiters is '0'; it must be a whole number from 1 to 1000"),
    "huge": (("-seed", "9" * 40), f"-seed is '{'9' * 40}'; it must be a whole number from 0 to 4294967295"),
    "even patch": (("-patchsize", "4"), "-patchsize is '4'; it must be an odd number from 3 to 33"),
    "levels": (("-pyramidlevels", "most"), "-pyramidlevels is 'most'; it must be a whole number from 1 to 1000"),
    "threads": (("-threads", "-2"), "-threads is '-2'; it must be a whole number from 0 to 4096"),
    "backend": (("-backend", "gpu"), "-backend is 'gpu'; it must be one of auto, cpu, cuda"),
    "preset": (("-preset", "film"), "-preset is 'film'; it must be one of generic, video"),
    "line break": (("-style\nb",), "unknown option '-style?b'; did you mean -style?"),
    "missing file": (("-style", "no.png", *GUIDE), "no.png can't be opened: No such file or directory"),
    "folder": (("-style", ".", *GUIDE), ". can't be read: Is a directory"),
    "empty file": (("-style", "empty.png", *GUIDE), "empty.png is empty (0 bytes)"),
    "cut file": ((*STYLE, "-guide", "source.png", "cut.png"), "cut.png ends inside its 'IDAT' chunk (truncated)"),
    "other file": (("-style", "film.gif", *GUIDE), "film.gif is neither PNG nor JPEG (it starts with 47 49 46 38)"),
    "endless device": (
        ("-style", "/dev/zero", *GUIDE),
        "/dev/zero is neither PNG nor JPEG (it starts with 00 00 00 00)",
    ),
    "source of another size": (
        (*STYLE, "-guide", "target.png", "target.png"),
        "target.png is 52x36, but style.png is 56x40; they must have the same size",
    ),
    "target of another size": (
        (*FULL, *SELF),
        "source.png is 56x40, but target.png is 52x36; they must have the same size",
    ),
    "smaller than the patch": (
        ("-style", "tiny.png", "-guide", "tiny.png", "target.png"),
        "tiny.png is 4x4, smaller than the patch of 5x5; use larger pictures or a smaller -patchsize",
    ),
    "target smaller than the patch": (
        (*STYLE, "-guide", "source.png", "pixel.png"),
        "pixel.png is 1x1, smaller than the patch of 5x5; use larger pictures or a smaller -patchsize",
    ),
    "all weights zero": (
        (*STYLE, "-weight", "0", *GUIDE, "-weight", "0"),
        "all weights are 0; give at least one guide or the style a weight above 0.",
    ),
    "unknown suffix": ((*FULL, "-output", "o.webp"), "o.webp can't be written: its suffix must be .png, .jpg or .jpeg"),
    "no suffix": ((*FULL, "-output", "o"), "o can't be written: its suffix must be .png, .jpg or .jpeg"),
    "alpha in a JPEG": (
        ("-style", "alpha.png", *GUIDE, "-output", "o.jpg"),
        "o.jpg can't hold the style's alpha, because it is a JPEG; write a .png",
    ),
    "no such folder": ((*FULL, "-output", "no/o.png"), "no/o.png can't be written: No such file or directory"),
    "file as folder": ((*FULL, "-output", "style.png/o.png"), "style.png/o.png can't be written: Not a directory"),
    "folder as output": ((*FULL, "-output", "."), ". can't be written: it is a folder"),
}


def assert_error(outcome: Outcome, message: str) -> None:
    assert outcome.status == 1
    assert outcome.error == f"error: {message}\n"
    assert "written" not in outcome.out


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_line_and_leaves_no_file(case: str, folder: Path) -> None:
    before = sorted(folder.iterdir())
    arguments, message = ERRORS[case]
    assert_error(run(ebsynth(), *arguments, cwd=folder), message)
    assert sorted(folder.iterdir()) == before


def test_nnf_needs_an_output_name(folder: Path) -> None:
    assert_error(run(ebsynth_nnf(), *GUIDE, cwd=folder), "no output is given; add -output FILE")


def test_an_unwritable_output_is_told_before_anything_is_read(folder: Path) -> None:
    outcome = run(ebsynth(), "-style", "no.png", *GUIDE, "-output", "no/o.png", cwd=folder)
    assert_error(outcome, "no/o.png can't be written: No such file or directory")


def test_a_full_disk_is_no_success(folder: Path) -> None:
    outcome = run(ebsynth_nnf(), *GUIDE, "-output", "/dev/full", cwd=folder)
    assert_error(outcome, "/dev/full can't be written: No space left on device")


def test_nnf_goes_down_a_pipe(folder: Path) -> None:
    outcome = run(ebsynth_nnf(), *GUIDE, "-output", "/dev/stderr", cwd=folder)
    assert outcome.status == 0
    assert len(outcome.error.split()) == 36 * 52 * 2


def test_a_failed_run_keeps_the_output_of_an_earlier_one(folder: Path) -> None:
    paint(folder, *FULL)
    earlier = (folder / "painted.png").read_bytes()
    outcome = run(ebsynth(), *STYLE, "-guide", "source.png", "cut.png", "-output", "painted.png", cwd=folder)
    assert outcome.status == 1
    assert (folder / "painted.png").read_bytes() == earlier


def test_output_through_a_link_replaces_what_it_leads_to(folder: Path) -> None:
    (folder / "real.png").write_bytes(b"old")
    (folder / "link.png").symlink_to("real.png")
    outcome = run(ebsynth(), *FULL, "-output", "link.png", cwd=folder)
    assert outcome.status == 0
    assert (folder / "link.png").is_symlink()
    assert pixels_of(folder / "real.png").shape == (36, 52, 3)


def test_cuda_without_a_device_is_an_error(folder: Path) -> None:
    outcome = run(ebsynth(), *FULL, "-backend", "cuda", cwd=folder, environment={"CUDA_VISIBLE_DEVICES": ""})
    message = "-backend is cuda, but this program was built without CUDA or sees no device; use cpu or auto"
    assert_error(outcome, message)


def test_an_unknown_instruction_set_is_an_error(folder: Path) -> None:
    outcome = run(ebsynth(), *FULL, cwd=folder, environment={"EBSYNTH_ISA": "mmx"})
    assert outcome.status == 1
    assert outcome.clean
    assert "mmx" in outcome.error


# --- Anything at all

FILES = [
    "style.png",
    "source.png",
    "target.png",
    "tiny.png",
    "pixel.png",
    "alpha.png",
    "empty.png",
    "cut.png",
    "film.gif",
]
FILES += ["no.png", ".", "out.png", "out.jpg", "out"]
OPTIONS = ["-style", "-guide", "-weight", "-output", "-uniformity", "-patchsize", "-pyramidlevels", "-searchvoteiters"]
OPTIONS += ["-patchmatchiters", "-stopthreshold", "-extrapass3x3", "-backend", "-preset", "-threads", "-seed", "-stile"]
VALUES = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "7",
    "33",
    "-1",
    "1e9",
    "0.5",
    "nan",
    "max",
    "auto",
    "cpu",
    "cuda",
    "video",
    "generic",
    "",
]

words = st.one_of(
    st.sampled_from(OPTIONS),
    st.sampled_from(VALUES),
    st.sampled_from(FILES),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6),
)
settings_words = st.lists(
    st.tuples(st.sampled_from(OPTIONS), st.sampled_from([v for v in VALUES if v not in {"1e9", ""}])), max_size=4
).map(lambda pairs: [word for pair in pairs for word in pair])


def assert_clean(program: Callable[[], Path], arguments: list[str], folder: Path) -> None:
    outcome = run(program(), *arguments, cwd=folder)
    usage = outcome.status == 1 and arguments == []
    assert usage or outcome.clean, outcome


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(words, max_size=12))
def test_any_words_are_run_or_refused(arguments: list[str], folder: Path) -> None:
    assert_clean(sanitized_ebsynth, [word for word in arguments if "/" not in word], folder)


FITTING = [
    ("style.png", "source.png", "target.png"),
    ("alpha.png", "source.png", "target.png"),
    ("tiny.png", "tiny.png", "target.png"),
    ("pixel.png", "pixel.png", "target.png"),
    ("target.png", "target.png", "pixel.png"),
]
pictures = st.one_of(st.sampled_from(FITTING), st.tuples(*[st.sampled_from(FILES)] * 3))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(three=pictures, more=settings_words)
def test_any_pictures_and_settings_are_run_or_refused(
    three: tuple[str, str, str], more: list[str], folder: Path
) -> None:
    style, source, target = three
    assert_clean(sanitized_ebsynth, ["-style", style, "-guide", source, target, *more, "-output", "o.png"], folder)
