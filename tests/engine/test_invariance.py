"""What must not change a byte: instruction set, threads, batch, the bound. And what no sweep may do: lose ground."""

import gc
import itertools
import json
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from typing import Any

import isa_answers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from numpy_engine import Image, next_frame, noise, photo

from diffsynth.engines.base import Matches
from diffsynth.engines.native import Frame, Masks, Preset, Settings, Trace, estimate, vote
from diffsynth.errors import DiffSynthError, EngineError, UnavailableError


def same(one: Matches, other: Matches) -> bool:
    voted = one.voted is None if other.voted is None else np.array_equal(one.voted, other.voted)
    return bool(voted and np.array_equal(one.nnf_yx, other.nnf_yx) and np.array_equal(one.error, other.error))


# --- Instruction sets


def run_under(isa: str) -> dict[str, Any] | None:
    """What `isa_answers` says when forced onto this instruction set; None if the machine lacks it."""
    finished = subprocess.run(
        [sys.executable, isa_answers.__file__],
        env={**os.environ, "EBSYNTH_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if finished.returncode != 0 and f'EBSYNTH_ISA is "{isa}", which this machine lacks' in finished.stderr:
        return None
    assert finished.returncode == 0, finished.stderr
    answers: dict[str, Any] = json.loads(finished.stdout)
    return answers


@pytest.fixture(scope="module")
def portable() -> dict[str, str]:
    told = run_under("portable")
    assert told is not None
    assert told["isa"] == "portable"
    answers: dict[str, str] = told["answers"]
    return answers


@pytest.mark.parametrize("isa", ["avx2", "avxvnni", "avx512"])
def test_an_instruction_set_finds_what_the_portable_path_finds(isa: str, portable: dict[str, str]) -> None:
    told = run_under(isa)
    if told is None:
        pytest.skip(f"this machine has no {isa}")
    assert told["isa"] == isa
    different = [name for name, answer in told["answers"].items() if answer != portable[name]]
    assert told["answers"].keys() == portable.keys()
    assert different == []


def test_answers_differ_where_they_should(portable: dict[str, str]) -> None:
    """The digests above can tell results apart."""
    assert len(set(portable.values())) > 0.95 * len(portable)


def test_an_unknown_instruction_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBSYNTH_ISA", "mmx")
    frame = Frame(noise((9, 9, 3)))
    known = 'EBSYNTH_ISA is "mmx", which is unknown. Known: avx512, avxvnni, avx2, portable.'
    with pytest.raises(DiffSynthError, match=known) as refusal:
        estimate([(0, 0)], [frame])
    assert isinstance(refusal.value, (EngineError, UnavailableError))


# --- The bound


@pytest.mark.parametrize("patch", [5, 11, 13, 21, 33])
@pytest.mark.parametrize("preset", ["video", "generic"])
def test_the_bound_changes_nothing(preset: Preset, patch: int) -> None:
    source, target, style = photo(80, 90), next_frame(photo(80, 90), 70, 84), photo(80, 90, "coffee")
    frames = [Frame(source), Frame(target)]
    for styles in (None, [style]):
        settings = Settings(preset=preset, patch=patch, threads=1)
        bounded = estimate([(0, 1)], frames, styles, settings=settings)
        assert same(bounded, estimate([(0, 1)], frames, styles, settings=replace(settings, bound=False)))


# --- Threads and batches


@pytest.mark.parametrize("preset", ["video", "generic"])
@pytest.mark.parametrize(("patch", "styled"), [(5, True), (5, False), (11, True)])
def test_threads_change_nothing(preset: Preset, patch: int, styled: bool) -> None:
    """High enough for several bands, at two sizes that no band divides."""
    height, width = 151, 67
    source, target = photo(height, width), next_frame(photo(height, width), height - 13, width + 5)
    frames, styles = [Frame(source), Frame(target)], [photo(height, width, "coffee")] if styled else None
    settings = Settings(preset=preset, patch=patch, seed=7, error_weighted=styled)
    found = [
        estimate([(0, 1)], frames, styles, settings=replace(settings, threads=threads)) for threads in (1, 2, 8, 3)
    ]
    assert all(same(found[0], other) for other in found[1:])
    votes = [
        vote(found[0].nnf_yx[0], source, patch=patch, error=found[0].error[0], threads=threads) for threads in (1, 2, 8)
    ]
    assert all(np.array_equal(votes[0], other) for other in votes[1:])


def test_masks_and_starts_don_t_depend_on_threads() -> None:
    source, target = photo(100, 61), next_frame(photo(100, 61), 100, 61)
    masks = Masks(
        source=(noise((100, 61)) > 99).astype(np.uint8),
        target=(noise((100, 61), seed=1) > 40).astype(np.uint8),
        modulation=[noise((100, 61), seed=2)],
    )
    frames = [Frame(source), Frame(target)]
    found = [
        estimate([(0, 1)], frames, [source], init="random", settings=Settings(threads=threads), masks=masks)
        for threads in (1, 2, 8)
    ]
    assert same(found[0], found[1])
    assert same(found[0], found[2])


@pytest.mark.parametrize("preset", ["video", "generic"])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_batch_finds_what_single_calls_find(preset: Preset, threads: int) -> None:
    """Five pairs for up to four threads: some run side by side, the last shares all threads."""
    clip = [next_frame(photo(60, 54), 45, 53, seed=number) for number in range(3)]
    styles = [photo(45, 53, name) for name in ("coffee", "astronaut", "chelsea")]
    frames = [Frame(image) for image in clip]
    pairs = [(0, 1), (2, 1), (1, 0), (0, 2), (1, 1)]
    settings = Settings(preset=preset, threads=threads, seed=3)
    batch = estimate(pairs, frames, styles, settings=settings)
    for number, pair in enumerate(pairs):
        alone = estimate([pair], frames, styles, settings=settings)
        assert np.array_equal(batch.nnf_yx[number], alone.nnf_yx[0])
        assert np.array_equal(batch.error[number], alone.error[0])
        assert batch.voted is not None
        assert alone.voted is not None
        assert np.array_equal(batch.voted[number], alone.voted[0])


def test_seeds_matter_and_repeat() -> None:
    frames = [Frame(photo(40, 40)), Frame(photo(40, 40, "coffee"))]
    settings = Settings(preset="generic", uniformity=0)
    first, again, other = (estimate([(0, 1)], frames, settings=settings, seed=seed) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


def test_a_stored_frame_is_not_changed_by_use_nor_by_its_image() -> None:
    image = photo(40, 44).copy()
    frames = [Frame(image), Frame(photo(40, 44, "coffee"))]
    first = estimate([(0, 1), (1, 0)], frames)
    image[:] = 0
    assert same(first, estimate([(0, 1), (1, 0)], frames))


@pytest.mark.parametrize("layout", ["crop", "mirrored", "transposed", "channel", "row repeated", "column repeated"])
def test_the_layout_in_memory_changes_nothing(layout: str) -> None:
    """Views with strides of every kind, also of 0, give what their dense copies give."""
    whole = photo(60, 70)
    views: dict[str, Image] = {
        "crop": whole[7:47, 11:55],
        "mirrored": whole[::-1, ::-1],
        "transposed": whole.transpose(1, 0, 2),
        "channel": whole[..., 1],
        "row repeated": np.broadcast_to(whole[3:4], (40, 70, 3)),
        "column repeated": np.broadcast_to(whole[:, 5:6], (60, 40, 3)),
    }
    view = views[layout]
    dense = np.ascontiguousarray(view)
    target = Frame(next_frame(photo(60, 70, "coffee"), 33, 36)[..., : 3 if view.ndim == 3 else 1])
    settings = Settings(threads=1)
    found = estimate(
        [(0, 1)], [Frame(dense), target], [dense[..., None] if dense.ndim == 2 else dense], settings=settings
    )
    assert same(found, estimate([(0, 1)], [Frame(view), target], [view], settings=settings))
    nnf = found.nnf_yx[0]
    assert np.array_equal(vote(nnf, view, patch=5), vote(nnf, dense, patch=5))


# --- The trace


class Log:
    """What the search reports, by pair, level and round, in the order of its sweeps."""

    def __init__(self) -> None:
        self.energies: dict[tuple[int, int, int], list[float]] = defaultdict(list)
        self.note: Trace = self._note

    def _note(self, pair: int, level: int, round_: int, sweep: int, energy: float) -> None:
        assert sweep == len(self.energies[pair, level, round_])
        self.energies[pair, level, round_].append(energy)


def falls(energies: list[float]) -> bool:
    """Sums of many pixels' integers in floats: equal up to their last digits."""
    return all(after <= before * (1 + 1e-12) for before, after in itertools.pairwise(energies))


@budget(max_examples=12, deadline=None)
@given(
    st.sampled_from(["video", "generic"]), st.sampled_from([3, 5, 11, 21]), st.integers(0, 99), st.sampled_from([1, 3])
)
def test_no_sweep_raises_the_energy(preset: Preset, patch: int, seed: int, threads: int) -> None:
    """Within a round the painted style stands still, and without uniformity pixels have no quarrel."""
    source, target = photo(70, 64), next_frame(photo(70, 64), 66, 59, seed)
    frames = [Frame(source), Frame(target)]
    settings = Settings(preset=preset, patch=patch, uniformity=0, rounds=3, sweeps=4, seed=seed, threads=threads)
    for styles in (None, [photo(70, 64, "coffee")]):
        log = Log()
        found = estimate([(0, 1)], frames, styles, settings=settings, trace=log.note)
        assert len({round_ for _, _, round_ in log.energies}) == 3
        assert all(len(energies) == 4 for energies in log.energies.values())
        assert all(falls(energies) for energies in log.energies.values())
        if styles is None:
            # Nothing is painted: all rounds of a level are one.
            for level in {level for _, level, _ in log.energies}:
                assert falls([energy for round_ in range(3) for energy in log.energies[0, level, round_]])
            last = log.energies[0, 0, 2][-1]
            np.testing.assert_allclose(last, found.error.sum(dtype=np.float64), rtol=1e-6)


def test_a_trace_changes_nothing_and_its_error_ends_the_search() -> None:
    frames = [Frame(photo(64, 64)), Frame(photo(64, 64, "coffee"))]
    log = Log()
    assert same(estimate([(0, 1), (1, 0)], frames), estimate([(0, 1), (1, 0)], frames, trace=log.note))
    assert {pair for pair, _, _ in log.energies} == {0, 1}
    calls = []

    def refuse(*state: float) -> None:
        calls.append(state)
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        estimate([(0, 1)], frames, trace=refuse)
    assert len(calls) == 1


def test_results_outlive_their_frames() -> None:
    frames = [Frame(noise((30, 30, 3), 0)), Frame(noise((30, 30, 3), 1))]
    found = estimate([(0, 1)], frames)
    copy = found.nnf_yx.copy()
    del frames
    gc.collect()
    np.testing.assert_array_equal(found.nnf_yx, copy)
