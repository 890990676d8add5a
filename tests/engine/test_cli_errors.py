"""Every error of `ebsynth` and `ebsynth_nnf`, and that nothing else can happen."""

from pathlib import Path

import pytest
from cli_pictures import GUIDE, SELF, STYLE, paint, pixels_of, write_pictures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import Outcome, ebsynth, ebsynth_nnf, run, sanitized_ebsynth


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path)
    return tmp_path


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


def assert_clean(arguments: list[str], folder: Path) -> None:
    outcome = run(sanitized_ebsynth(), *arguments, cwd=folder)
    usage = outcome.status == 1 and arguments == []
    assert usage or outcome.clean, outcome


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(words, max_size=12))
def test_any_words_are_run_or_refused(arguments: list[str], folder: Path) -> None:
    assert_clean([word for word in arguments if "/" not in word], folder)


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
    assert_clean(["-style", style, "-guide", source, target, *more, "-output", "o.png"], folder)
