"""The loop over a clip with plain functions in the place of networks: order, edits, interruptions, memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffsynth.arrays import ArrayWriter
from diffsynth.diffusion.chunks import ChunkPlan
from diffsynth.diffusion.denoise import FIRST, Clean, Read, denoise
from diffsynth.diffusion.schedule import Schedule, Step, seed_schedule
from diffsynth.diffusion.solvers import DpmPlusPlus, Exact, Solver, UniPc
from diffsynth.diffusion.solvers import begin as begin_states
from diffsynth.errors import ModelError, UnavailableError
from diffsynth.progress import Progress

SHAPE = (2, 3, 4)
SOLVERS = {"exact": Exact(), "two steps": DpmPlusPlus(), "predicts and corrects": UniPc()}


class Stopped(Exception):  # noqa: N818  stands for a kill
    """The process ends here."""


@dataclass
class Neighbours:
    """An answer that hangs on the frames around, like attention's, and may be interrupted."""

    count: int
    stop_after: int | None = None
    asked: list[range] = field(default_factory=list)

    def __call__(self, read: Read, chunk: range, step: Step) -> Tensor:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise Stopped
        self.asked.append(chunk)
        around = [read([max(frame - 1, 0), frame, min(frame + 1, self.count - 1)]).mean(0) for frame in chunk]
        return torch.stack(around) * 0.5 + step.timestep / 1000


@dataclass
class Halving:
    """An edit: half of each clean latent, minus the clip's mean."""

    interval: int
    stop: bool = False

    def due(self, step: Step, steps: int) -> bool:
        return step.index % self.interval == 0

    def edited(self, clean: Clean, folder: Path) -> Read:
        folder.mkdir(parents=True, exist_ok=True)
        found = torch.cat([latents for _, latents in clean(0)])
        if self.stop:
            raise Stopped
        mean = found.mean(0)

        def read(positions: Sequence[int]) -> Tensor:
            return found[list(positions)] * 0.5 - mean

        return read


def begin(folder: Path, count: int, solver: Solver) -> None:
    with ArrayWriter(folder / FIRST, (solver.slots, *SHAPE)) as writer:
        writer.append(begin_states(solver, first(count)).numpy())


def first(count: int) -> Tensor:
    return torch.randn((count, *SHAPE), generator=torch.Generator().manual_seed(3))


def plan(count: int, size: int, record: list[list[int]] | None = None) -> ChunkPlan:
    kept = [] if record is None else record
    return ChunkPlan.even(count, size, lambda bounds: kept.append(list(bounds)))


def walked(schedule: Schedule, solver: Solver, count: int, interval: int | None = None) -> Tensor:
    """The same in memory, all frames at once."""
    state = begin_states(solver, first(count))
    for step in schedule.steps:
        x = state[:, 0]
        clean = schedule.clean(x, Neighbours(count)(lambda at, x=x: x[list(at)], range(count), step), step)
        if interval is not None and step.index % interval == 0:
            clean = clean * 0.5 - clean.mean(0)
        state = solver.advance(state, clean, schedule.steps, step.index)
    return state[:, 0]


@pytest.mark.parametrize(("count", "size"), [(1, 1), (7, 3), (8, 4), (5, 64)])
@pytest.mark.parametrize("interval", [None, 1, 2])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_chunks_on_disk_are_the_whole_clip_in_memory(
    tmp_path: Path, solver: Solver, count: int, size: int, interval: int | None
) -> None:
    schedule = seed_schedule({}, 5)
    begin(tmp_path, count, solver)
    edit = None if interval is None else Halving(interval)
    found = denoise(tmp_path, schedule, solver, Neighbours(count), plan(count, size), Progress(), edit)
    np.testing.assert_allclose(
        found.read(range(count))[:, 0], walked(schedule, solver, count, interval), rtol=1e-5, atol=1e-5
    )
    assert [each.name for each in tmp_path.iterdir()] == ["005"], "what a finished step needed is gone"


@settings(max_examples=25, deadline=None)
@given(
    stops=st.lists(st.integers(0, 6), max_size=6),
    interval=st.sampled_from([None, 2]),
    solver=st.sampled_from(list(SOLVERS.values())),
)
def test_stopped_anywhere_it_ends_in_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, stops: list[int], interval: int | None, solver: Solver
) -> None:
    count, schedule = 7, seed_schedule({}, 4)
    results = []
    for interruptions in ([], stops):
        folder = tmp_path_factory.mktemp("run")
        begin(folder, count, solver)
        for stop in interruptions:
            edit = None if interval is None else Halving(interval, stop=stop % 2 == 1)
            try:
                denoise(folder, schedule, solver, Neighbours(count, stop), plan(count, 3), Progress(), edit)
            except Stopped:
                continue
        edit = None if interval is None else Halving(interval)
        store = denoise(folder, schedule, solver, Neighbours(count), plan(count, 3), Progress(), edit)
        results.append(store.read(range(count)))
    np.testing.assert_array_equal(*results)


def test_a_finished_chunk_is_not_asked_again(tmp_path: Path) -> None:
    solver = Exact()
    count, schedule = 6, seed_schedule({}, 2)
    begin(tmp_path, count, solver)
    with pytest.raises(Stopped):
        denoise(tmp_path, schedule, solver, Neighbours(count, 3), plan(count, 2), Progress())
    again = Neighbours(count)
    denoise(tmp_path, schedule, solver, again, plan(count, 2), Progress())
    assert again.asked == [range(2), range(2, 4), range(4, 6)]


@dataclass
class Narrow:
    """A device that holds no more than so many frames."""

    room: int
    inner: Neighbours

    def __call__(self, read: Read, chunk: range, step: Step) -> Tensor:
        if len(chunk) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(read, chunk, step)


def test_a_chunk_that_does_not_fit_is_halved_for_good(tmp_path: Path) -> None:
    solver = Exact()
    count, schedule = 7, seed_schedule({}, 3)
    begin(tmp_path, count, solver)
    record: list[list[int]] = []
    narrow = Narrow(2, Neighbours(count))
    found = denoise(tmp_path, schedule, solver, narrow, plan(count, 5, record), Progress())
    np.testing.assert_allclose(found.read(range(count))[:, 0], walked(schedule, solver, count), rtol=1e-5, atol=1e-5)
    assert record == [[0, 3, 7], [0, 2, 3, 7], [0, 2, 3, 5, 7]]


def test_a_frame_that_does_not_fit_ends_it_in_words(tmp_path: Path) -> None:
    solver = Exact()
    begin(tmp_path, 3, solver)
    with pytest.raises(UnavailableError, match="not even one frame"):
        denoise(tmp_path, seed_schedule({}, 2), solver, Narrow(0, Neighbours(3)), plan(3, 2), Progress())


def test_numbers_that_overflow_are_said(tmp_path: Path) -> None:
    solver = Exact()
    begin(tmp_path, 2, solver)

    def broken(read: Read, chunk: range, step: Step) -> Tensor:
        return read(chunk) / 0

    with pytest.raises(ModelError, match="overflowed in step 1/2"):
        denoise(tmp_path, seed_schedule({}, 2), solver, broken, plan(2, 2), Progress())


def test_no_steps_leave_the_latents_as_they_are(tmp_path: Path) -> None:
    solver = Exact()
    begin(tmp_path, 3, solver)
    found = denoise(tmp_path, seed_schedule({}, 4).cut(0), solver, Neighbours(3), plan(3, 2), Progress())
    np.testing.assert_array_equal(found.read(range(3))[:, 0], first(3))


def test_memory_that_ran_out_is_told_from_other_faults(tmp_path: Path) -> None:
    solver = Exact()
    begin(tmp_path, 2, solver)

    def faulty(read: Read, chunk: range, step: Step) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        denoise(tmp_path, seed_schedule({}, 2), solver, faulty, plan(2, 2), Progress())


def chunks_of(made: ChunkPlan) -> Iterator[range]:
    done = 0
    while done < made.count:
        chunk = made.starting(done)
        yield chunk
        done = chunk.stop


@given(count=st.integers(1, 50), size=st.integers(1, 60))
def test_chunks_tile_the_clip(count: int, size: int) -> None:
    chunks = list(chunks_of(plan(count, size)))
    assert [frame for chunk in chunks for frame in chunk] == list(range(count))
    assert all(len(chunk) <= size for chunk in chunks)
