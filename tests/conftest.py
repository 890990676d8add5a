"""Fixtures for all tests."""

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import os

import pytest
from hypothesis import settings
from media import Media

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if WORKER and hasattr(os, "sched_setaffinity"):
    # Each worker and what it starts on a core of its own: threads that wait for a busy core take many times as long.
    CORES = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {CORES[int(WORKER.removeprefix("gw")) % len(CORES)]})

# A gate answers for one change: it draws the same cases each time, and leaves new ones to those who develop.
settings.register_profile("gate", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("gate")


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Real clips, each made once a session."""
    return Media(tmp_path_factory.mktemp("media"))
