"""Builds the engine's programs for the tests and runs them.

What was built is kept under `build/engine_tests`, named by a digest of sources and flags, so that a second run of the
tests, or another worker, compiles nothing.
"""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

ENGINE = Path(__file__).parents[2] / "ebsynth"
BUILT = ENGINE.parent / "build" / "engine_tests"
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
OPTIMIZED = ("-O3", "-DNDEBUG")


@functools.cache
def sources_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(ENGINE.rglob("*")):
        if path.suffix in {".h", ".cpp", ".inl"}:
            digest.update(f"{path.relative_to(ENGINE)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def build(name: str, sources: tuple[str, ...], flags: tuple[str, ...], compiler: str = "g++") -> Path:
    """Compiles `sources` (paths inside the engine's folder) to one program, and returns its path."""
    command = [compiler, "-std=c++17", *flags, "-fopenmp", *sources, "-I", "include"]
    digest = hashlib.sha256(f"{sources_digest()} {command}".encode()).hexdigest()[:16]
    program = BUILT / f"{name}-{digest}"
    if not program.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        for outdated in BUILT.glob(f"{name}-*"):
            outdated.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            fresh = Path(folder) / name
            built = subprocess.run(
                [*command, "-o", str(fresh)], cwd=ENGINE, capture_output=True, text=True, check=False
            )
            assert (built.returncode, built.stderr) == (0, ""), built.stderr
            fresh.replace(program)
    return program


def image_tool() -> Path:
    return build("image_tool", ("tests/image_tool.cpp",), SANITIZED)


def optimized_image_tool() -> Path:
    """Without the sanitizers, whose shadow memory defies a limit on the address space."""
    return build("optimized_image_tool", ("tests/image_tool.cpp",), OPTIMIZED)


def fuzz_target(name: str) -> Path:
    return build(f"fuzz_{name}", (f"tests/fuzz_{name}.cpp", "tests/fuzz_driver.cpp"), SANITIZED)


def ebsynth() -> Path:
    """By the plain command of the README, which needs neither CMake nor Python."""
    return build("ebsynth", ("src/ebsynth.cpp", "src/ebsynth_cpu.cpp"), OPTIMIZED)


def ebsynth_nnf() -> Path:
    return build("ebsynth_nnf", ("src/ebsynth_nnf.cpp", "src/ebsynth_cpu.cpp"), OPTIMIZED)


def sanitized_ebsynth() -> Path:
    return build("sanitized_ebsynth", ("src/ebsynth.cpp", "src/ebsynth_cpu.cpp"), SANITIZED)


def clang() -> str | None:
    return shutil.which("clang++")


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    error: str

    @property
    def clean(self) -> bool:
        """Ended on its own accord: success, or one line that says why not. A sanitizer's report is neither."""
        if self.status == 0:
            return self.error == ""
        return self.status == 1 and self.error.startswith("error: ") and self.error.count("\n") == 1


def run(
    program: Path, *arguments: object, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> Outcome:
    finished = subprocess.run(
        [program, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        check=False,
        timeout=300,
    )
    return Outcome(finished.returncode, finished.stdout.decode(), finished.stderr.decode(errors="replace"))
