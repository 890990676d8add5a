"""The programs `ebsynth` and `ebsynth_nnf` from outside: what callers pass and what comes back."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from cli_pictures import GUIDE, SELF, STYLE, match, paint, photo, pixels_of, write_pictures
from PIL import Image
from programs import ENGINE, ebsynth, ebsynth_nnf, run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pictures(tmp_path)
    return tmp_path


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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ebsynth", "ebsynth_nnf"])
def test_one_plain_command_builds_a_program(name: str, tmp_path: Path) -> None:
    command = f"g++ -std=c++17 -O3 -DNDEBUG -fopenmp src/{name}.cpp src/ebsynth_cpu.cpp -I include -o {tmp_path / name}"
    built = subprocess.run(command.split(), cwd=ENGINE, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    assert run(tmp_path / name).out.startswith(f"usage: {name} -style ")
