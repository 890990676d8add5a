"""The training loop. A step's result depends on the seed and the step, not on processes, parts of batches, or stops."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.images import write_png
from diffsynth.progress import Progress
from diffsynth.training import checkpoint
from diffsynth.training.checkpoint import TrainState
from diffsynth.training.data.loading import Batch, Troubles, batches
from diffsynth.training.data.stream import Stream
from diffsynth.training.draws import Draws, draws
from diffsynth.training.facts import FINAL, FOLDER, Facts, checkpoint_path, checkpoints, facts_of, forget_all_but
from diffsynth.training.journal import Journal
from diffsynth.training.network import Trained
from diffsynth.training.optimizer import Average, adamw, learning_rate
from diffsynth.training.pictures import grid, playing
from diffsynth.training.sampling import SamplePlan, draw
from diffsynth.training.settings import CourseSettings, TrainSettings
from diffsynth.training.stopping import stoppable
from diffsynth.training.video_model import VideoModel
from diffsynth.training.wishes import Wish
from diffsynth.video.options import VideoOptions
from diffsynth.video.write import write_video
from diffsynth.world import World

GRIDS = "grids"
GRID_FPS = 8
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
class Since:
    """What happened since the last entry of the journal."""

    loss: Tensor
    steps: int = 0
    started: float = field(default_factory=time.monotonic)


class Trainer:
    """Trains one model on one stream of examples, in a run's folder."""

    def __init__(
        self,
        model: VideoModel,
        stream: Stream,
        settings: TrainSettings,
        run: Path,
        world: World,
        *,
        workers: int,
    ) -> None:
        self.model, self.stream, self.settings, self.run, self.world = model, stream, settings, run, world
        self.workers = workers
        self.device = next(model.network.parameters()).device
        self.trained = Trained(model.network, settings, world, self.device)
        self.state = TrainState(model.network, Average(model.network), adamw(model.network, settings))
        self.scaler: Any = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.done = 0
        """Steps that are behind us."""

    def resume(self) -> None:
        """Go on from the run's last checkpoint, if it has one."""
        found = checkpoints(self.run)
        path = self.world.agreed(found[-1] if found else None)
        if path is not None:
            self.load(path)

    def load(self, path: Path) -> None:
        """Go on from this checkpoint."""
        facts = facts_of(path)
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
        """All steps that are left; checkpoints, the journal and grids on the way."""
        settings, troubles, notes = self.settings, Troubles(), list[str]()
        shares = Shares(settings, self.world, self.done)
        loaded = batches(self.stream, shares, self.workers)
        journal = Journal(self.run, self.done, board=settings.tensorboard) if self.world.leads else None
        since = Since(torch.zeros((), device=self.device))
        with progress.stage("train", settings.steps, self.done, unit="steps") as stage, stoppable() as stop:
            for step in range(self.done, settings.steps):
                parts = [next(loaded) for _ in shares.parts(step)]
                notes += troubles.new([each for part in parts for each in part.troubles])
                norm = self._step(step, parts, since)
                self.done = step + 1
                keeps = self.done % settings.checkpoint_every == 0 or self.done == settings.steps
                if self.done % settings.log_every == 0 or keeps:  # what came apart is never kept
                    since = self._log(journal, since, norm, heard)
                    for line in dict.fromkeys(self.world.all_of(notes)):
                        progress.note(line)
                    notes.clear()
                    self._stop_if(self.world.all_of(["asked"] * stop.asked))
                elif self.world.size == 1:
                    self._stop_if(stop.asked)
                if settings.sample_every and self.done % settings.sample_every == 0:
                    self._show(journal)
                if keeps:
                    self._keep()
                stage.advance()
        if journal is not None:
            journal.close()

    def finish(self) -> Path:
        """The averaged weights, for sampling."""
        path = self.run / FINAL
        checkpoint.save_final(path, self.state, self.facts(), leads=self.world.leads)
        return path

    def _step(self, step: int, parts: Sequence[Batch], since: Since) -> float:
        settings, optimizer = self.settings, self.state.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        self.model.network.train()
        for number, part in enumerate(parts):
            with self.trained.summing(last=number == len(parts) - 1):
                # A sum over the batch, whatever its parts; the processes' gradients come together as a mean.
                loss = self.losses(part).sum() / settings.global_batch
                self.scaler.scale(loss * self.world.size).backward()
            since.loss += loss.detach()
        self.scaler.unscale_(optimizer)
        norm = self._clip(step)
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad(set_to_none=True)
        self.state.average.follow(step, settings.ema, settings.ema_from, settings.ema_every)
        since.steps += 1
        return norm

    def losses(self, batch: Batch) -> Tensor:
        """(B): each example's own loss."""
        model, images = self.model, self.stream.images
        drawn = draws(batch.indices, self.settings.seed, model.space, images)
        clean = model.space.encode(batch.pixels, drawn.encoding)
        told, focus = self._told(batch, drawn.told), self.focused(drawn)
        return model.objective.loss(
            lambda x, t: self.trained(x, t, told, images, focus),
            clean,
            drawn.u.to(self.device),
            drawn.noise.to(self.device),
        )

    def focused(self, drawn: Draws) -> Tensor | None:
        """(B): of which clips each frame is learned by itself; None where that never happens."""
        share = self.settings.prob_focus_present
        return (drawn.focus < share).to(self.device) if share else None

    def _told(self, batch: Batch, chance: Tensor) -> Tensor | None:
        """What the network is told of each clip and picture, left out now and then."""
        told = self.model.conditioner.told(batch.labels, batch.captions)
        if told is None:
            return None
        told = told.to(self.device)
        count, things = told.shape[:2]
        nothing = self.model.network.null_condition(count * things).view_as(told)  # type: ignore[operator]
        without = (chance < self.model.conditioner.condition.dropout).to(self.device)
        told = torch.where(without.view(count, things, *(1,) * (told.ndim - 2)), nothing, told)
        return told if self.stream.images else told[:, 0]

    def _clip(self, step: int) -> float:
        limit = self.settings.clip
        if limit is None or step < self.settings.clip_from:
            limit = math.inf
        learning = [each for each in self.model.network.parameters() if each.requires_grad]
        norm: Any = torch.nn.utils.clip_grad_norm_(learning, limit)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[no-any-return]

    def _log(self, journal: Journal | None, since: Since, norm: Any, heard: Heard | None) -> Since:
        total = float(self.world.total(since.loss)) / since.steps
        if not math.isfinite(total):
            raise ModelError(
                f"The loss is {total} at step {self.done}: training has come apart. What was kept before is in "
                f"{self.run / FOLDER}. Try a lower lr, a longer warm_up, or another precision."
            )
        seconds = time.monotonic() - since.started
        if journal is not None:
            rate = learning_rate(self.settings, self.done - 1)
            speed = since.steps * self.settings.global_batch / max(seconds, 1e-9)
            entry = {"loss": total, "lr": rate, "grad_norm": float(norm), "clips_per_second": round(speed, 3)}
            journal.enter(self.done, **entry)
            if heard is not None:
                heard(self.done, entry)
        return Since(torch.zeros_like(since.loss))

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
        run = {"data": self.stream.clips.fingerprint, "scaler": self.scaler.state_dict()}
        return Facts(self.model.config.model_dump(mode="json", exclude_none=True), self.done, run)

    def _show(self, journal: Journal | None) -> None:
        """A grid of samples drawn with the averaged weights."""
        if not (self.world.leads or self.settings.sharding == "full"):
            return
        settings = self.settings
        plan = self.sample_plan()
        self.state.average.swap()
        try:
            videos = self.model.space.decode(draw(self.model, self.wishes(settings.sample_videos), plan)).numpy()
        finally:
            self.state.average.swap()
        if journal is not None:
            (self.run / GRIDS).mkdir(exist_ok=True)
            path = self.run / GRIDS / f"{self.done:08}.{settings.sample_format}"
            if settings.sample_format == "gif":
                frames = list(playing(list(videos)))
                write_video(path, frames, fps=Fraction(GRID_FPS), options=VideoOptions("gif", audio=False))
            else:
                picture = grid(list(videos))
                write_png(path, picture)
                journal.picture("samples", self.done, picture)

    def sample_plan(self) -> SamplePlan:
        """How the videos on a grid are drawn."""
        settings = self.settings
        plan = SamplePlan(settings.sample_steps, settings.seed, settings.sample_scale)
        return plan.for_space(self.model.config.space)

    def wishes(self, count: int) -> list[Wish]:
        """Classes in turn, or the captions of the first examples."""
        match self.model.conditioner.condition.kind:
            case "class":
                classes = self.model.conditioner.condition.num_classes
                return [Wish(index, index % classes) for index in range(count)]
            case "text":
                return [Wish(index, prompt=self.stream[index].captions[0]) for index in range(count)]
            case _:
                return [Wish(index) for index in range(count)]
