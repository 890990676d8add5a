"""The course of every training: steps, checkpoints, the journal, stops. What a step does is its trainer's.

A step's result depends on the seed and the step, not on processes, parts of batches, or stops.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.progress import Progress
from diffsynth.training import checkpoint
from diffsynth.training.checkpoint import TrainState
from diffsynth.training.data.loading import Batch, Troubles, batches
from diffsynth.training.data.stream import Stream
from diffsynth.training.facts import FOLDER, FORMAT, Facts, checkpoint_path, checkpoints, facts_of, forget_all_but
from diffsynth.training.journal import Journal
from diffsynth.training.optimizer import learning_rate
from diffsynth.training.settings import CourseSettings
from diffsynth.training.stopping import stoppable
from diffsynth.world import World

Heard = Callable[[int, Mapping[str, float]], None]
"""Told of each entry of the journal: the step, and its numbers."""


@dataclass(frozen=True)
class Shares:
    """Which places of the sequence of examples this process learns from, part by part, from a step on."""

    settings: CourseSettings
    world: World
    first_step: int

    def parts(self, step: int) -> list[list[int]]:
        batch, size = self.settings.global_batch, self.world.size
        first, beyond = self.world.rank * batch // size, (self.world.rank + 1) * batch // size
        at_once = self.settings.micro_batch or beyond - first
        own = range(step * batch + first, step * batch + beyond)
        return [list(own[start : start + at_once]) for start in range(0, len(own), at_once)]

    def __iter__(self) -> Iterator[Sequence[int]]:
        for step in range(self.first_step, self.settings.steps):
            yield from self.parts(step)


@dataclass
class Sums:
    """What happened since the last entry of the journal: the terms of the loss, each summed up over the steps."""

    terms: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, name: str, value: Tensor) -> None:
        self.terms[name] = self.terms.get(name, torch.zeros_like(value)) + value


Settings = TypeVar("Settings", bound=CourseSettings)


class Course(ABC, Generic[Settings]):
    """Trains on one stream of examples, in a run's folder."""

    kind: ClassVar[str] = FORMAT
    """The format of its checkpoints."""
    example: ClassVar[str]
    """What one example is, in the plural: for the journal's speed."""
    advice: ClassVar[str]
    """What may help where the loss is no number any more."""

    def __init__(
        self,
        stream: Stream,
        settings: Settings,
        state: TrainState,
        run: Path,
        world: World,
        device: torch.device,
        *,
        workers: int,
    ) -> None:
        self.stream, self.settings, self.state = stream, settings, state
        self.run, self.world, self.device, self.workers = run, world, device, workers
        self.scaler: Any = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        self.done = 0
        """Steps that are behind us."""

    @abstractmethod
    def learn(self, parts: Sequence[Batch], sums: Sums) -> None:
        """Leave the gradients of one step, scaled, in the network; and the terms of its loss in `sums`."""

    @abstractmethod
    def clipped(self, limit: float) -> Tensor:
        """Hold the gradients to `limit`; their norm before that."""

    @abstractmethod
    def loss(self, means: Mapping[str, float]) -> dict[str, float]:
        """What the journal says of the means of the terms, the whole "loss" first."""

    @abstractmethod
    def show(self, journal: Journal | None) -> None:
        """Pictures of how far it is; only the leading process has a journal."""

    @property
    @abstractmethod
    def show_every(self) -> int:
        """Steps between these; 0: none."""

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What a checkpoint says of its network."""

    def resume(self) -> None:
        """Go on from the run's last checkpoint, if it has one."""
        found = checkpoints(self.run)
        path = self.world.agreed(found[-1] if found else None)
        if path is not None:
            self.load(path)

    def load(self, path: Path) -> None:
        """Go on from this checkpoint."""
        facts = facts_of(path, self.kind)
        if facts.run.get("data") != self.stream.clips.fingerprint:
            raise ModelError(
                f"{path}: was trained on other data: files were added, removed or changed since. "
                "Bring them back, or use --fresh to begin anew."
            )
        self.state.load(path)
        if scale := facts.run.get("scaler"):
            self.scaler.load_state_dict(scale)
        self.done = facts.step

    def train(self, progress: Progress, heard: Heard | None = None) -> None:
        """All steps that are left; checkpoints, the journal and pictures on the way."""
        settings, troubles, notes = self.settings, Troubles(), list[str]()
        shares = Shares(settings, self.world, self.done)
        loaded = batches(self.stream, shares, self.workers)
        journal = Journal(self.run, self.done, board=settings.tensorboard) if self.world.leads else None
        sums = Sums()
        with progress.stage("train", settings.steps, self.done, unit="steps") as stage, stoppable() as stop:
            for step in range(self.done, settings.steps):
                parts = [next(loaded) for _ in shares.parts(step)]
                notes += troubles.new([each for part in parts for each in part.troubles])
                norm = self._step(step, parts, sums)
                self.done = step + 1
                keeps = self.done % settings.checkpoint_every == 0 or self.done == settings.steps
                if self.done % settings.log_every == 0 or keeps:  # what came apart is never kept
                    sums = self._log(journal, sums, norm, heard)
                    for line in dict.fromkeys(self.world.all_of(notes)):
                        progress.note(line)
                    notes.clear()
                    self._stop_if(self.world.all_of(["asked"] * stop.asked))
                elif self.world.size == 1 and stop.asked:
                    self._means(sums)
                    self._stop_if(stop.asked)
                if self.show_every and self.done % self.show_every == 0:
                    self.show(journal)
                if keeps:
                    self._keep()
                stage.advance()
        if journal is not None:
            journal.close()

    def _step(self, step: int, parts: Sequence[Batch], sums: Sums) -> Tensor:
        settings, optimizer = self.settings, self.state.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        self.state.network.train()
        self.learn(parts, sums)
        self.scaler.unscale_(optimizer)
        limit = settings.clip if settings.clip is not None and step >= settings.clip_from else math.inf
        norm = self.clipped(limit)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)
        self.state.average.follow(step, settings.ema, settings.ema_from, settings.ema_every)
        sums.steps += 1
        return norm

    def _log(self, journal: Journal | None, sums: Sums, norm: Tensor, heard: Heard | None) -> Sums:
        told = self._means(sums)
        if journal is not None:
            rate = learning_rate(self.settings, self.done - 1)
            speed = sums.steps * self.settings.global_batch / max(time.monotonic() - sums.started, 1e-9)
            entry = {**told, "lr": rate, "grad_norm": float(norm), f"{self.example}_per_second": round(speed, 3)}
            journal.enter(self.done, **entry)
            if heard is not None:
                heard(self.done, entry)
        return Sums()

    def _means(self, sums: Sums) -> dict[str, float]:
        told = self.loss({name: float(self.world.total(each)) / sums.steps for name, each in sums.terms.items()})
        if not math.isfinite(told["loss"]):
            raise ModelError(
                f"The loss is {told['loss']} at step {self.done}: training has come apart. What was kept before is in "
                f"{self.run / FOLDER}. {self.advice}"
            )
        return told

    def _stop_if(self, asked: object) -> None:
        """Keep what there is and stop, where somebody asked for it: in any process, and all of them stop together."""
        if asked:
            self._keep()
            raise KeyboardInterrupt

    def _keep(self) -> None:
        path = checkpoint_path(self.run, self.done)
        checkpoint.save(path, self.state, self.facts(), leads=self.world.leads)
        if self.world.leads:
            forget_all_but(self.run, self.settings.keep)

    def facts(self) -> Facts:
        """What a checkpoint says now."""
        run = {"data": self.stream.clips.fingerprint, "scaler": self.scaler.state_dict()}
        return Facts(self.described(), self.done, run, self.kind)
