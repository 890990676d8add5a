"""The files that say what gets installed agree with one another."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHON = SpecifierSet(PROJECT["project"]["requires-python"])

UNTESTED = {"xformers"}
"""An extra for CUDA machines, whose version follows torch's."""


def pinned() -> dict[str, list[Requirement]]:
    """The lines of the constraints by name; a package may have one for each kind of machine."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    found: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, filter(None, lines)):
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def asked() -> list[str]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    lists = [PROJECT["project"]["dependencies"], *extras, PROJECT["build-system"]["requires"]]
    own = PROJECT["project"]["name"]
    return sorted({line for each in lists for line in each if Requirement(line).name != own} - UNTESTED)


@pytest.mark.parametrize("line", asked())
def test_every_range_holds_the_version_that_was_tested(line: str) -> None:
    requirement = Requirement(line)
    lines = pinned().get(canonicalize_name(requirement.name), [])
    assert lines, f"constraints.txt has no {requirement.name}"
    for each in lines:
        (version,) = each.specifier
        assert version.operator == "=="
        assert requirement.specifier.contains(version.version), f"{each} is outside {line}"


def test_the_constraints_pin_each_package_once_for_a_machine() -> None:
    for name, lines in pinned().items():
        markers = [str(each.marker) for each in lines]
        assert len(set(markers)) == len(markers), name


def test_the_conda_environment_agrees() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "DiffSynth"
    (pip,) = (each["pip"] for each in environment["dependencies"] if isinstance(each, dict))
    conda = {Requirement(each).name: Requirement(each) for each in environment["dependencies"] if isinstance(each, str)}
    assert conda["python"].specifier == PYTHON
    assert {"pip", "cxx-compiler"} <= conda.keys()
    options = [each for each in pip if each.startswith("-")]
    assert options == ["-c constraints.txt", "-e .[dev]"]
    (torch,) = (Requirement(each) for each in pip if not each.startswith("-"))
    (tested,) = pinned()["torch"]
    assert (torch.name, torch.specifier) == ("torch", tested.specifier)
    assert f"torch{tested.specifier}" in (ROOT / "Makefile").read_text()
    # The README's hint for machines without CUDA names the same.
    assert set(re.findall(r"torch==[\d.]+", (ROOT / "README.md").read_text())) == {f"torch{tested.specifier}"}
