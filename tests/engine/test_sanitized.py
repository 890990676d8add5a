"""The library's corners under AddressSanitizer and UndefinedBehaviorSanitizer, on every path this machine has."""

import functools
from pathlib import Path

import pytest
from programs import SANITIZED, build, core, run

# Not part of `undefined`: a float that its integer can't hold.
STRICT = (*SANITIZED, "-fsanitize=float-cast-overflow", "-ffp-contract=off")


@functools.cache
def corners() -> Path:
    return build("library_corners", ("tests/library_corners.cpp",), STRICT, core=core("strict_core", STRICT))


@pytest.mark.parametrize("isa", ["portable", "avx2", "avxvnni", "avx512"])
def test_the_corners_of_the_library_are_sound(isa: str) -> None:
    outcome = run(corners(), environment={"EBSYNTH_ISA": isa})
    if outcome.error.startswith(f'error: no instruction set (EBSYNTH_ISA is "{isa}", which this machine lacks.'):
        pytest.skip(f"this machine has no {isa}")
    assert (outcome.status, outcome.error) == (0, "")
    runs, word = outcome.out.split()
    assert word == "runs"
    assert int(runs) > 300
