"""torchvision beside a torch that it was not made for, in processes of their own: an import can't be taken back."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FAKE = """
import torch
torch.ops.load_library  # the real one looks for its native part in the same way
from torch.library import register_fake

@register_fake("torchvision::nms")
def nms(boxes, scores, threshold):
    return boxes

ready = True
"""


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; {code}"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": ""},
    )


@pytest.fixture
def misfit(tmp_path: Path) -> Path:
    """A torchvision whose native part can't be loaded."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE)
    (package / "_C.so").write_bytes(b"built for another torch")
    return tmp_path


def test_without_it_the_import_fails(misfit: Path) -> None:
    """The trouble that the guard is there for, as torch reports it."""
    found = run("import torchvision", misfit)
    assert found.returncode != 0
    assert "torchvision::nms does not exist" in found.stderr


def test_with_it_the_import_works_and_warns_once(misfit: Path) -> None:
    code = "import diffsynth; import torchvision; assert torchvision.ready; del sys.modules['torchvision']"
    found = run(code, misfit)
    assert found.returncode == 0, found.stderr
    assert found.stderr.count("TorchvisionWarning") == 1
    assert "native part does not load" in found.stderr


def test_it_costs_nothing_until_then(misfit: Path) -> None:
    found = run("import diffsynth; assert 'torch' not in sys.modules and 'torchvision' not in sys.modules", misfit)
    assert found.returncode == 0, found.stderr
    assert not found.stderr


def test_no_torchvision_is_no_trouble(tmp_path: Path) -> None:
    code = (
        "import diffsynth\nfrom importlib.machinery import PathFinder\n"
        "PathFinder.find_spec = classmethod(lambda *_: None)\n"
        "from diffsynth.torchvision_guard import TorchvisionGuard\n"
        "assert TorchvisionGuard().find_spec('torchvision', None) is None\n"
        "assert 'torch' not in sys.modules"
    )
    found = run(f"exec({code!r})", tmp_path)
    assert found.returncode == 0, found.stderr


@pytest.mark.slow
def test_the_libraries_that_import_it_can_be_imported() -> None:
    """With whatever torchvision is installed here, or none."""
    found = run("import diffsynth, peft; from diffusers import ControlNetModel, UNet2DConditionModel", Path())
    assert found.returncode == 0, found.stderr
