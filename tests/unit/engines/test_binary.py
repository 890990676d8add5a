"""A user's program is run as it is, and what it does wrong is said."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from diffsynth.engines.binary import EbsynthProgram, NnfProgram
from diffsynth.errors import EngineError
from diffsynth.frames import Image
from diffsynth.runtime import Runtime
from diffsynth.smoothers.base import Pictures
from diffsynth.smoothers.ebsynth_smoother import EbsynthSmootherConfig
from diffsynth.smoothers.video_patch_match import VideoPatchMatchSmootherConfig
from tests.flicker_scene import flickering, moving, surface


def program(path: Path, body: str) -> Path:
    """A real program: it reads its arguments and files as ebsynth does."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\nimport numpy as np\nfrom PIL import Image\n"
        "given = sys.argv[1:]\nvalue = lambda key, n=1: given[given.index(key) + n]\n" + body
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


COPY = "Image.open(value('-style')).save(value('-output'))\n"
SHIFT = """
height, width = np.array(Image.open(value('-guide', 2))).shape[:2]
with open(value('-output'), 'w') as file:
    for y in range(height):
        for x in range(width):
            file.write(f'{min(x + 2, width - 1)} {y} ')
"""


def test_ebsynth_gets_its_arguments_one_by_one(tmp_path: Path) -> None:
    path = program(
        tmp_path / "a program's name; $x", "open(sys.argv[0] + '.log', 'a').write(repr(given) + '\\n')\n" + COPY
    )
    guides = {0: surface(1, 20, 30), 1: surface(2, 20, 30)}
    (painted,) = EbsynthProgram(path, 21, 100.0, tmp_path / "work")([(0, 1)], guides, {0: surface(3, 20, 30)})
    np.testing.assert_array_equal(painted, surface(3, 20, 30))
    (said,) = Path(f"{path}.log").read_text().splitlines()
    assert "'-weight', '100', '-patchsize', '21'" in said
    assert not list((tmp_path / "work").iterdir()), "its folder is gone"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("sys.exit('out of memory')", "exit status 1. It said: out of memory"),
        ("", "reported success, but left no picture"),
        ("Image.new('RGB', (3, 3)).save(value('-output'))", r"made a picture of \(3, 3, 3\)"),
    ],
)
def test_what_ebsynth_does_wrong_is_said(tmp_path: Path, body: str, words: str) -> None:
    path = program(tmp_path / "ebsynth", body)
    image = surface(1, 20, 30)
    with pytest.raises(EngineError, match=words):
        EbsynthProgram(path, 21, 100.0)([(0, 1)], {0: image, 1: image}, {0: image})


HANG = "import time; open(sys.argv[0] + '.pid', 'w').write(str(__import__('os').getpid())); time.sleep(600)\n"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def by_ebsynth(path: Path, image: Image) -> None:
    EbsynthProgram(path, 21, 100.0, longest=5.0)([(0, 1)], {0: image, 1: image}, {0: image})


def by_ebsynth_nnf(path: Path, image: Image) -> None:
    NnfProgram(path, 21, 100.0, longest=5.0).estimate([(0, 1)], [image, image])


@pytest.mark.parametrize("use", [by_ebsynth, by_ebsynth_nnf])
def test_a_program_that_hangs_is_stopped_and_named(tmp_path: Path, use: Callable[[Path, Image], None]) -> None:
    path = program(tmp_path / "hangs", HANG)
    with pytest.raises(EngineError, match=r"hangs: was stopped, because it was not done after 5 seconds.*bin_timeout"):
        use(path, surface(1, 20, 30))
    assert not alive(int(Path(f"{path}.pid").read_text()))


def test_a_pair_that_fails_ends_the_others(tmp_path: Path) -> None:
    """The pair painted from frame 0 hangs; that from frame 2 fails once the other has begun."""
    body = f"""
if value('-style').endswith('style0.png'):
    {HANG}
else:
    import os, time
    while not os.path.exists(sys.argv[0] + '.pid') or not open(sys.argv[0] + '.pid').read(): time.sleep(0.01)
    sys.exit('no memory')
"""
    path = program(tmp_path / "ebsynth", body)
    image = surface(1, 20, 30)
    frames = dict.fromkeys(range(3), image)
    with pytest.raises(EngineError, match="It said: no memory"):
        EbsynthProgram(path, 21, 100.0, jobs=2)([(0, 1), (2, 1)], frames, frames)
    assert not alive(int(Path(f"{path}.pid").read_text()))


def test_a_program_has_nothing_to_read(tmp_path: Path) -> None:
    path = program(tmp_path / "ebsynth", "sys.exit('read ' + repr(sys.stdin.read()))")
    image = surface(1, 20, 30)
    with pytest.raises(EngineError, match="It said: read ''"):
        EbsynthProgram(path, 21, 100.0)([(0, 1)], {0: image, 1: image}, {0: image})


def test_a_program_that_can_t_be_started_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ebsynth"
    path.write_text("no program")
    image = surface(1, 20, 30)
    with pytest.raises(EngineError, match="can't be started"):
        EbsynthProgram(path, 21, 100.0)([(0, 1)], {0: image, 1: image}, {0: image})


def test_the_nnf_file_lists_x_before_y(tmp_path: Path) -> None:
    image = surface(1, 20, 30)
    engine = NnfProgram(program(tmp_path / "ebsynth_nnf", SHIFT), 21, 100.0)
    (nnf,) = engine.estimate([(0, 1)], [image, image]).nnf_yx
    rows, columns = np.mgrid[:20, :30]
    np.testing.assert_array_equal(nnf[..., 0], rows)
    np.testing.assert_array_equal(nnf[..., 1], np.minimum(columns + 2, 29))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("open(value('-output'), 'w').write('1 2 3')", "listed 3 numbers; a target of 20×30 pixels needs 1200"),
        ("open(value('-output'), 'w').write('99 0 ' * 600)", "outside of the source"),
        ("open(value('-output'), 'w').write('x')", "left no list of numbers"),
        ("open(value('-output'), 'w').write('9' * 30)", "left no list of numbers"),
        ("open(value('-output'), 'wb').write(bytes(range(256)))", "left no list of numbers"),
    ],
)
def test_what_ebsynth_nnf_does_wrong_is_said(tmp_path: Path, body: str, words: str) -> None:
    image = surface(1, 20, 30)
    with pytest.raises(EngineError, match=words):
        NnfProgram(program(tmp_path / "ebsynth_nnf", body), 21, 100.0).estimate([(0, 1)], [image, image])


def test_smoothers_run_the_program_that_bin_path_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    guide = moving(3, 24, 32)
    style = flickering(guide)
    copying = program(tmp_path / "ebsynth", COPY)
    smoother = EbsynthSmootherConfig(bin_path=copying, smooth_index=(-1, 1), n_jobs=2).build(Runtime())
    out = list(smoother.prepare(Pictures(guide)).smooth(Pictures(style), tmp_path))
    np.testing.assert_array_equal(out[1], np.rint(np.stack(style).astype(np.float32).mean(0)).astype(np.uint8))
    shifting = program(tmp_path / "ebsynth_nnf", SHIFT)
    made = []
    for config in (
        VideoPatchMatchSmootherConfig(engine_name="Ebsynth", bin_path=shifting),
        VideoPatchMatchSmootherConfig(bin_path=shifting),
    ):
        prepared = config.build(Runtime()).prepare(Pictures(guide))
        made.append(list(prepared.smooth(Pictures(style), tmp_path / f"work{len(made)}")))
    np.testing.assert_array_equal(*made)
    assert len(made[0]) == 3


@pytest.mark.parametrize("engine", ["native", "Pytorch"])
def test_a_binary_that_would_not_be_run_is_refused(tmp_path: Path, engine: str) -> None:
    with pytest.raises(ValidationError, match='must be "Ebsynth", or left out, where there is a "bin_path"'):
        VideoPatchMatchSmootherConfig.model_validate(
            {"engine_name": engine, "bin_path": str(program(tmp_path / "ebsynth_nnf", SHIFT))}
        )
