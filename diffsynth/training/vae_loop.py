"""Training of an autoencoder: steps, checkpoints and pictures, keyed and continued as the video models' are."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.images import write_png
from diffsynth.models.patch_critic import PatchCritic
from diffsynth.models.video_vae_config import Coder
from diffsynth.progress import Progress
from diffsynth.runtime import derive_seed, torch_generator
from diffsynth.training import checkpoint
from diffsynth.training.autoencoders import AutoencoderFacts
from diffsynth.training.checkpoint import TrainState
from diffsynth.training.data.loading import Batch, Troubles, batches, collate
from diffsynth.training.data.stream import Stream
from diffsynth.training.facts import (
    AUTOENCODER,
    FINAL,
    FOLDER,
    Facts,
    checkpoint_path,
    checkpoints,
    facts_of,
    forget_all_but,
)
from diffsynth.training.journal import Journal
from diffsynth.training.loading_model import start_from
from diffsynth.training.loop import Shares
from diffsynth.training.optimizer import Average, adamw, learning_rate
from diffsynth.training.pictures import grid
from diffsynth.training.space import levels
from diffsynth.training.stopping import stoppable
from diffsynth.training.vae_loss import Rebuilt, coder_terms, critic_loss, rebuilt
from diffsynth.training.vae_settings import VaeTrainSettings
from diffsynth.training.vae_weights import CODER, averaged
from diffsynth.world import World

CRITIC = "critic"
PICTURES = "reconstructions"


@dataclass
class Sums:
    """What happened since the last entry of the journal."""

    terms: dict[str, Tensor] = field(default_factory=dict)
    steps: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, name: str, value: Tensor) -> None:
        self.terms[name] = self.terms.get(name, torch.zeros_like(value)) + value


class VaeTrainer:
    """Trains one autoencoder on one stream of frames, in a run's folder."""

    def __init__(
        self,
        facts: AutoencoderFacts,
        stream: Stream,
        settings: VaeTrainSettings,
        perceptual: nn.Module | None,
        run: Path,
        world: World,
        device: torch.device,
        *,
        workers: int,
    ) -> None:
        self.facts, self.stream, self.settings = facts, stream, settings
        self.run, self.world, self.device, self.workers = run, world, device, workers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(settings.seed, "weights"))
            network: nn.Module = facts.autoencoder.build(facts.frame_channels)
            networks = nn.ModuleDict({CODER: network})
            if settings.disc_start is not None:
                networks[CRITIC] = PatchCritic(facts.frame_channels, settings.disc_channels)
        networks.to(device)
        self.network = network
        self.coder: Coder = network  # type: ignore[assignment]  # every autoencoder's config builds one
        self.critic = networks[CRITIC] if settings.disc_start is not None else None
        self.perceptual = None if perceptual is None else perceptual.to(device)
        self.state = TrainState(networks, Average(network), adamw(networks, settings))
        self.done = 0
        """Steps that are behind us."""

    def resume(self) -> None:
        """Go on from the run's last checkpoint, if it has one."""
        found = checkpoints(self.run)
        path = self.world.agreed(found[-1] if found else None)
        if path is None:
            return
        facts = facts_of(path, AUTOENCODER)
        if facts.run["data"] != self.stream.clips.fingerprint:
            raise ModelError(
                f"{path}: was trained on other data: files were added, removed or changed since. "
                "Bring them back, or use --fresh to begin anew."
            )
        self.state.load(path)
        self.done = facts.step

    def start_from(self, place: Path) -> list[str]:
        """Take what fits of other weights; says what did."""
        from diffsynth.models.kl_vae import KlVae

        weights = KlVae.read(place).state_dict() if place.is_dir() else averaged(place)
        told = start_from(self.network, weights).words()
        self.state = replace(self.state, average=Average(self.network))
        return told

    def train(self, progress: Progress) -> None:
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
                if self.done % settings.log_every == 0 or self.done == settings.steps:
                    sums = self._log(journal, sums, norm)
                    for line in dict.fromkeys(self.world.all_of(notes)):
                        progress.note(line)
                    notes.clear()
                    self._stop_if(self.world.all_of(["asked"] * stop.asked))
                elif self.world.size == 1:
                    self._stop_if(stop.asked)
                if settings.show_every and self.done % settings.show_every == 0 and self.world.leads:
                    self._show(journal)
                if self.done % settings.checkpoint_every == 0 or self.done == settings.steps:
                    self._keep()
                stage.advance()
        if journal is not None:
            journal.close()

    def finish(self, scale: float) -> Path:
        """The averaged weights, with the scale of their latents."""
        path = self.run / FINAL
        state = TrainState(self.network, self.state.average, self.state.optimizer)
        checkpoint.save_final(path, state, self._facts(scale), leads=self.world.leads)
        return path

    def finished(self) -> nn.Module:
        """The network, with its averaged weights for good."""
        self.state.average.swap()
        return self.network

    def _step(self, step: int, parts: Sequence[Batch], sums: Sums) -> float:
        settings, optimizer = self.settings, self.state.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step)
        self.state.network.train()
        critic = self.critic if settings.disc_start is not None and step >= settings.disc_start else None
        for part in parts:
            found = self._rebuilt(part)
            if critic is not None:
                critic.requires_grad_(False)  # noqa: FBT003  torch's own name for it
            with self._autocast():
                terms = coder_terms(found, settings, self.perceptual, critic)
            total: Any = torch.stack(list(terms.values())).sum() / settings.global_batch
            total.backward()
            for name, each in terms.items():
                sums.add(name, each.detach().sum() / settings.global_batch)
            if critic is not None:
                critic.requires_grad_(True)  # noqa: FBT003
                with self._autocast():
                    loss: Any = critic_loss(found, critic).sum() / settings.global_batch
                loss.backward()
                sums.add(CRITIC, loss.detach())
        norm = self._gathered_norm()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.state.average.follow(step, settings.ema)
        sums.steps += 1
        return norm

    def _rebuilt(self, part: Batch) -> Rebuilt:
        frames = self._frames(part)
        side = self.facts.autoencoder.factor
        size = (self.facts.autoencoder.z_channels, frames.shape[2] // side, frames.shape[3] // side)
        drawn = [
            torch.randn(size, generator=torch_generator(self.settings.seed, "latent", each)) for each in part.indices
        ]
        with self._autocast():
            return rebuilt(self.coder, frames, torch.stack(drawn).to(self.device))

    def _frames(self, part: Batch) -> Tensor:
        return part.pixels[:, 0].to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.precision == "bf16")

    def _gathered_norm(self) -> float:
        """Sum gradients up over the processes and hold them to `clip`; the norm of the autoencoder's before that."""
        gradients = [each.grad for each in self.state.network.parameters() if each.grad is not None]
        if self.world.size > 1:
            flat: Any = self.world.total(torch.cat([each.flatten() for each in gradients]))
            for place, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
                place.copy_(part.view_as(place))
        limit = self.settings.clip
        if limit is None or self.done < self.settings.clip_from:
            limit = math.inf
        norms = [
            nn.utils.clip_grad_norm_(each.parameters(), limit) for each in self.state.network.children()
        ]  # each by itself: the critic's start must not slow the autoencoder down
        return float(norms[0])

    def _log(self, journal: Journal | None, sums: Sums, norm: float) -> Sums:
        means = {name: float(self.world.total(each)) / sums.steps for name, each in sums.terms.items()}
        total = sum(each for name, each in means.items() if name != CRITIC)
        if not math.isfinite(total):
            raise ModelError(
                f"The loss is {total} at step {self.done}: training has come apart. What was kept before is in "
                f"{self.run / FOLDER}. Try a lower lr, a longer warm_up, or a later disc_start."
            )
        if journal is not None:
            rate = learning_rate(self.settings, self.done - 1)
            speed = sums.steps * self.settings.global_batch / max(time.monotonic() - sums.started, 1e-9)
            journal.enter(self.done, loss=total, **means, lr=rate, grad_norm=norm, frames_per_second=round(speed, 3))
        return Sums()

    def _stop_if(self, asked: object) -> None:
        if asked:
            self._keep()
            raise KeyboardInterrupt

    def _keep(self) -> None:
        checkpoint.save(checkpoint_path(self.run, self.done), self.state, self._facts(1.0), leads=self.world.leads)
        if self.world.leads:
            forget_all_but(self.run, self.settings.keep)

    def _facts(self, scale: float) -> Facts:
        facts = self.facts.model_copy(update={"scale": scale})
        run = {"data": self.stream.clips.fingerprint}
        return Facts(facts.model_dump(mode="json", exclude_none=True), self.done, run, AUTOENCODER)

    def _show(self, journal: Journal | None) -> None:
        """The first frames of the stream above what the averaged weights make of them."""
        part = collate([self.stream[index] for index in range(self.settings.show_frames)])
        found = self.averaged(self._frames(part))
        rows = [levels(each[None])[0].numpy() for each in (found.frames, found.again)]
        picture = grid(rows)
        (self.run / PICTURES).mkdir(exist_ok=True)
        write_png(self.run / PICTURES / f"{self.done:08}.png", picture)
        if journal is not None:
            journal.picture(PICTURES, self.done, picture)

    @torch.no_grad()
    def averaged(self, frames: Tensor) -> Rebuilt:
        """Frames rebuilt from their means by the averaged weights."""
        self.network.eval()
        self.state.average.swap()
        try:
            return rebuilt(self.coder, frames, None)
        finally:
            self.state.average.swap()

    def measure(self, stream: Stream, count: int) -> "Measured":
        """How near the first `count` frames of a stream come back, and how far their latents spread."""
        error, squares, total = 0.0, 0.0, 0
        values = 0
        for start in range(0, count, AT_ONCE):
            part = collate([stream[index] for index in range(start, min(start + AT_ONCE, count))])
            found = self.averaged(self._frames(part))
            again = levels(found.again[:, None])[:, 0].double()
            error += float((again - part.pixels[:, 0].double()).square().sum())
            total += part.pixels.numel()
            mean, log_variance = found.moments.chunk(2, 1)
            squares += float((mean.square() + log_variance.exp()).sum())
            values += mean.numel()
        return Measured(10 * math.log10(255**2 / max(error / total, 1e-9)), math.sqrt(squares / values))


AT_ONCE = 64


@dataclass(frozen=True)
class Measured:
    psnr: float
    """In decibels, of the mean squared error over all frames."""
    spread: float
    """Root of the mean square of latents."""
