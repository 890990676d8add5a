"""Builds the engine's programs for the tests and runs them.

What was built is kept under `build/engine_tests`, named by a digest of its sources and flags, so that a second run of
the tests, or another worker, compiles nothing.
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


def included_digest(compiler: str, sources: tuple[str, ...]) -> str:
    """Of the contents of the sources and of all headers of ours that they include."""
    command = [compiler, "-std=c++17", "-MM", *sources, "-I", "include"]
    rules = subprocess.run(command, cwd=ENGINE, capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256()
    for word in sorted(set(rules.replace("\\\n", " ").split())):
        if not word.endswith(":"):
            digest.update(ENGINE.joinpath(word).read_bytes())
    return digest.hexdigest()


@functools.cache
def build(
    name: str, sources: tuple[str, ...], flags: tuple[str, ...], *, core: Path | None = None, compiler: str = "g++"
) -> Path:
    """Compiles `sources` (paths inside the engine's folder), links `core` if given, returns the result's path."""
    linked = () if core is None else (str(core),)
    command = [compiler, "-std=c++17", *flags, "-pthread", *sources, *linked, "-I", "include"]
    digest = hashlib.sha256(f"{included_digest(compiler, sources)} {command}".encode()).hexdigest()[:16]
    result = BUILT / f"{name}-{digest}{'.o' if '-c' in flags else ''}"
    if not result.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        for outdated in BUILT.glob(f"{name}-*"):
            outdated.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            fresh = Path(folder) / result.name
            built = subprocess.run([*command, "-o", fresh], cwd=ENGINE, capture_output=True, text=True, check=False)
            assert (built.returncode, built.stderr) == (0, ""), built.stderr
            fresh.replace(result)
    return result


def core(name: str, flags: tuple[str, ...]) -> Path:
    return build(name, ("src/ebsynth_cpu.cpp",), (*flags, "-c"))


def ebsynth() -> Path:
    return build("ebsynth", ("src/ebsynth.cpp",), OPTIMIZED, core=core("core", OPTIMIZED))


def ebsynth_nnf() -> Path:
    return build("ebsynth_nnf", ("src/ebsynth_nnf.cpp",), OPTIMIZED, core=core("core", OPTIMIZED))


def sanitized_ebsynth() -> Path:
    return build("sanitized_ebsynth", ("src/ebsynth.cpp",), SANITIZED, core=core("sanitized_core", SANITIZED))


def image_tool() -> Path:
    return build("image_tool", ("tests/image_tool.cpp",), SANITIZED)


def optimized_image_tool() -> Path:
    """Without the sanitizers, whose shadow memory defies a limit on the address space."""
    return build("optimized_image_tool", ("tests/image_tool.cpp",), OPTIMIZED)


def fuzz_target(name: str) -> Path:
    return build(f"fuzz_{name}", (f"tests/fuzz_{name}.cpp", "tests/fuzz_driver.cpp"), SANITIZED)


@functools.cache
def libfuzzer() -> str | None:
    """The compiler that brings libFuzzer, where there is one: clang with its runtime, which is a package of its own."""
    compiler = shutil.which("clang++")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "empty.cpp")
        source.write_text('extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }')
        command = [compiler, "-fsanitize=fuzzer", source, "-o", Path(folder, "empty")]
        return compiler if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


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
