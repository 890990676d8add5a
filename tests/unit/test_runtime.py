"""Devices are never guessed, and seeds mean the same draw everywhere."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.errors import UnavailableError
from diffsynth.runtime import Runtime, available_cores, derive_seed, numpy_generator, torch_generator

CUDA = torch.cuda.is_available()


def test_auto_takes_what_is_there() -> None:
    assert Runtime().torch_device().type == ("cuda" if CUDA else "mps" if torch.backends.mps.is_available() else "cpu")
    assert Runtime("cpu").torch_dtype() == torch.float32
    assert Runtime("cpu", "bfloat16").torch_dtype() == torch.bfloat16


@pytest.mark.skipif(CUDA, reason="asks for a device that this machine has")
def test_a_missing_device_is_an_error() -> None:
    with pytest.raises(UnavailableError, match='"device" is "cuda"'):
        Runtime("cuda").torch_device()


def test_what_torch_keeps_for_later_is_free_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the second clip of a run would find a full device, and go in chunks of one frame."""
    told = {"is_available": True, "mem_get_info": (10, 100), "memory_reserved": 70, "memory_allocated": 20}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    assert Runtime("cuda").free_memory() == 60


def test_threads() -> None:
    assert Runtime(threads=3).thread_count() == 3
    assert Runtime().thread_count() == available_cores() >= 1


@given(st.integers(0, 2**63 - 1), st.lists(st.integers() | st.text(), max_size=3))
def test_seeds_fit_every_generator(seed: int, keys: list[int | str]) -> None:
    assert 0 <= derive_seed(seed, *keys) < 2**63


def test_draws_depend_on_the_key_alone() -> None:
    np.testing.assert_array_equal(numpy_generator(1, "a", 2).random(4), numpy_generator(1, "a", 2).random(4))
    assert not np.array_equal(numpy_generator(1, "a", 2).random(4), numpy_generator(1, "a", 3).random(4))
    first = torch.randn(4, generator=torch_generator(1, 2))
    assert torch.equal(first, torch.randn(4, generator=torch_generator(1, 2)))


@pytest.mark.parametrize("statement", ["import diffsynth", "import diffsynth.cli, diffsynth.tasks, diffsynth.commands"])
def test_nothing_heavy_is_imported_early(statement: str) -> None:
    code = (
        f"{statement}; import sys; print([each for each in ('torch', 'diffusers', 'cv2', 'av') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "[]"
