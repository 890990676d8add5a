"""The CUDA backend. Its kernel bodies also compile for the host, so that all but the launch is tested anywhere."""

import shutil
import subprocess
from pathlib import Path

import pytest

ENGINE = Path(__file__).parents[2] / "ebsynth"
CXX = shutil.which("g++") or shutil.which("c++")
NVCC = shutil.which("nvcc")
NO_DEVICE = 77

needs_compiler = pytest.mark.skipif(CXX is None, reason="no C++ compiler")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc")


def compile_with(compiler: str | None, output: Path, *arguments: str) -> Path:
    assert compiler
    command = [compiler, "-std=c++17", "-O2", "-I", "include", "-I", "tests", *arguments, "-o", str(output)]
    done = subprocess.run(command, cwd=ENGINE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output


def checks_of(program: Path) -> list[str]:
    """The lines of a program that says "ok NAME" or "FAILED NAME: why"; skips with its reason if it finds no device."""
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    if done.returncode == NO_DEVICE:
        pytest.skip(done.stdout.strip())
    failed = [line for line in done.stdout.splitlines() if not line.startswith(("ok ", "  ("))]
    assert not failed, "\n".join(failed)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("ok ")]


@needs_compiler
def test_every_kernel_equals_its_restatement(tmp_path: Path) -> None:
    program = compile_with(CXX, tmp_path / "kernels_test", "-Wall", "-Wextra", "-Werror", "tests/kernels_test.cpp")
    assert len(checks_of(program)) == 51


@needs_compiler
@pytest.mark.slow
def test_kernels_touch_no_memory_that_is_not_theirs(tmp_path: Path) -> None:
    sanitize = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    checks_of(compile_with(CXX, tmp_path / "kernels_test", *sanitize, "tests/kernels_test.cpp"))


@needs_compiler
@pytest.mark.slow
def test_the_search_of_the_device_ends_as_low_as_the_search_of_the_cpu(tmp_path: Path) -> None:
    sources = ("tests/backend_test.cpp", "tests/cuda_on_host.cpp", "src/ebsynth_cpu.cpp")
    checks_of(compile_with(CXX, tmp_path / "backend_test", "-w", *sources, "-ldl", "-pthread"))


@needs_compiler
def test_a_full_device_leaves_the_search_to_the_cpu(tmp_path: Path) -> None:
    sources = ("tests/full_device.cpp", "src/ebsynth_cpu.cpp")
    assert len(checks_of(compile_with(CXX, tmp_path / "full_device", "-O1", *sources, "-ldl", "-pthread"))) == 4


@pytest.fixture(scope="module")
def device_test(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # On a machine with a device the driver compiles for it what this embeds; one architecture keeps the test short.
    output = tmp_path_factory.mktemp("device") / "device_test"
    return compile_with(
        NVCC, output, "-arch=sm_75", "-Wno-deprecated-gpu-targets", "tests/device_test.cpp", "src/ebsynth_cuda.cu"
    )


@needs_nvcc
def test_device_finds_the_bytes_of_the_host(device_test: Path) -> None:
    assert len(checks_of(device_test)) == 18


def obstacle(device_test: Path) -> str:
    """Why no device can be used; empty if one can."""
    return subprocess.run([device_test, "obstacle"], capture_output=True, text=True, check=True).stdout.strip()


@needs_nvcc
def test_without_a_device_the_backend_says_why(device_test: Path) -> None:
    why = obstacle(device_test)
    if not why:
        pytest.skip("a device is there")
    assert why.startswith("CUDA: ")
    assert "\n" not in why


@needs_nvcc
@pytest.mark.slow
def test_the_search_on_a_device_ends_as_low_as_the_search_of_the_cpu(device_test: Path, tmp_path: Path) -> None:
    why = obstacle(device_test)
    if why:
        pytest.skip(why)
    sources = ("tests/backend_test.cpp", "src/ebsynth_cuda.cu", "src/ebsynth_cpu.cpp")
    checks_of(
        compile_with(NVCC, tmp_path / "backend_test", "-arch=sm_75", "-w", *sources, "-Xcompiler", "-pthread", "-ldl")
    )
