"""The loop of diffusion over a whole clip: step by step, and within a step chunk by chunk, all of it on disk."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from diffsynth.arrays import ArrayStore, ArrayWriter, committed
from diffsynth.diffusion.chunks import ChunkPlan
from diffsynth.diffusion.hold import Hold
from diffsynth.diffusion.schedule import Schedule, Step
from diffsynth.diffusion.solvers import Solver
from diffsynth.errors import ModelError
from diffsynth.progress import Progress
from diffsynth.runtime import is_out_of_memory

Read = Callable[[Sequence[int]], Tensor]
"""The latents of frames by position: (n, C, h, w), float32 on the CPU."""

Answer = Callable[[Read, range, Step], Tensor]
"""What the networks say to a chunk at a step: (n, C, h, w), float32 on the CPU."""

Clean = Callable[[int], Iterator[tuple[range, Tensor]]]
"""Chunk by chunk, the clean latents that the networks' answers imply, from the chunk on that holds the given frame."""


FIRST = "000"
"""Where in the loop's folder the first latents lie."""


class Edit(Protocol):
    """Changes the picture that a step aims at, with the whole clip in view."""

    def due(self, step: Step, steps: int) -> bool:
        """Whether this step is edited."""
        ...

    def edited(self, clean: Clean, folder: Path) -> Read:
        """The edited clean latents. `folder` is the edit's own during the step; it continues what it finds there."""
        ...


def denoise(
    folder: Path,
    schedule: Schedule,
    solver: Solver,
    answer: Answer,
    plan: ChunkPlan,
    progress: Progress,
    edit: Edit | None = None,
    hold: Hold | None = None,
) -> ArrayStore:
    """Walk the states in `folder` along the schedule; returns those after the last step.

    `folder/000` holds the first latents. Each step's lie in a store of their own until the next is complete. Killed at
    any moment, the same call goes on after the last finished chunk.
    """
    walk = Walk(folder, schedule, solver, answer, plan, progress, hold)
    walk.discard_older()
    steps = len(schedule.steps)
    for step in schedule.steps[walk.finished() :]:
        edited = edit.edited(walk.clean(step), walk.edits(step.index)) if edit and edit.due(step, steps) else None
        walk.take(step, edited)
        walk.discard_older()
    return ArrayStore(walk.store(steps))


def has_begun(folder: Path, count: int) -> bool:
    """Whether the loop's folder holds the latents of all `count` frames at some step."""
    return any(committed(each) == count for each in folder.glob("[0-9]*"))


@dataclass(frozen=True)
class Walk:
    """Where the latents of each step lie, and how the next ones come from them."""

    folder: Path
    schedule: Schedule
    solver: Solver
    answer: Answer
    plan: ChunkPlan
    progress: Progress
    hold: Hold | None = None

    def store(self, index: int) -> Path:
        return self.folder / f"{index:03}"

    def edits(self, index: int) -> Path:
        return self.folder / f"edit-{index:03}"

    def finished(self) -> int:
        """How many steps are whole."""
        indices = range(len(self.schedule.steps) + 1)
        return max(index for index in indices if committed(self.store(index)) == self.plan.count)

    def discard_older(self) -> None:
        for index in range(self.finished()):
            for folder in (self.store(index), self.edits(index)):
                shutil.rmtree(folder, ignore_errors=True)

    def take(self, step: Step, edited: Read | None) -> None:
        """One step over the clip."""
        states = ArrayStore(self.store(step.index))
        with ArrayWriter(self.store(step.index + 1), states.shape) as writer:
            aims = self.clean(step)(writer.count) if edited is None else self._edited(edited, step, writer.count)
            for chunk, clean in aims:
                state = torch.from_numpy(states.read(chunk))
                writer.append(self.solver.advance(state, clean, self.schedule.steps, step.index).numpy())
        states.close()

    def _edited(self, edited: Read, step: Step, start: int) -> Iterator[tuple[range, Tensor]]:
        while start < self.plan.count:
            chunk = self.plan.starting(start)
            yield chunk, self._held(edited(chunk), chunk, step)
            start = chunk.stop

    def clean(self, step: Step) -> Clean:
        def chunks(start: int) -> Iterator[tuple[range, Tensor]]:
            latents = ArrayStore(self.store(step.index))
            read = reader(latents)
            for chunk, answer in self._answers(step, read, start):
                clean = self.schedule.clean(read(chunk), answer, step)
                yield chunk, self._held(clean, chunk, step)
            latents.close()

        return chunks

    def _held(self, clean: Tensor, chunk: range, step: Step) -> Tensor:
        return clean if self.hold is None else self.hold.held(clean, chunk, step.index)

    def _answers(self, step: Step, read: Read, start: int) -> Iterator[tuple[range, Tensor]]:
        """The networks' answers from frame `start` on; a chunk that doesn't fit the memory is halved."""
        name = f"step {step.index + 1}/{len(self.schedule.steps)}"
        with self.progress.stage(name, self.plan.count, start) as stage:
            while start < self.plan.count:
                chunk = self.plan.starting(start)
                try:
                    answer = self.answer(read, chunk, step)
                except (RuntimeError, MemoryError) as problem:
                    if not is_out_of_memory(problem):
                        raise
                    self.plan.halve(chunk)
                    continue
                require_finite(answer, f"in {name}")
                yield chunk, answer
                stage.advance(chunk.stop - start)
                start = chunk.stop


def reader(states: ArrayStore) -> Read:
    """The latents in the first slot of stored states."""

    def read(positions: Sequence[int]) -> Tensor:
        return torch.from_numpy(states.read(positions)[:, 0])

    return read


def require_finite(values: Tensor, where: str) -> None:
    """A network that left the range of its numbers says so, instead of painting black frames."""
    if not torch.isfinite(values).all():
        raise ModelError(
            f"The networks' numbers overflowed {where} (NaN or infinite). With float16 that happens to some "
            'checkpoints: set "dtype" to "float32" or "bfloat16", or "vae" to an autoencoder mended for it, '
            "and run with --fresh."
        )
