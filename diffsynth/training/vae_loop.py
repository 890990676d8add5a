"""Training of an autoencoder: what its steps do, and rebuilt frames on the way."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.images import write_png
from diffsynth.models.patch_critic import PatchCritic
from diffsynth.models.weights import differing
from diffsynth.runtime import derive_seed, torch_generator
from diffsynth.training import checkpoint
from diffsynth.training.autoencoders import CODER, AutoencoderFacts, autoencoder
from diffsynth.training.checkpoint import TrainState, averaged_weights
from diffsynth.training.course import Course, Sums
from diffsynth.training.data.loading import Batch, collate
from diffsynth.training.data.stream import Stream
from diffsynth.training.facts import AUTOENCODER, FINAL, facts_of
from diffsynth.training.facts import CRITIC as CRITIC_FILE
from diffsynth.training.journal import Journal
from diffsynth.training.loading_model import start_from
from diffsynth.training.network import PRECISIONS
from diffsynth.training.optimizer import Average, adamw
from diffsynth.training.pictures import grid
from diffsynth.training.space import levels
from diffsynth.training.vae_loss import Rebuilding, Rebuilt, coder_terms, critic_loss
from diffsynth.training.vae_settings import VaeTrainSettings
from diffsynth.world import World

CRITIC = "critic"
PICTURES = "reconstructions"
AT_ONCE = 64


class VaeTrainer(Course[VaeTrainSettings]):
    """Trains one autoencoder on one stream of frames, in a run's folder."""

    kind = AUTOENCODER
    example = "frames"
    advice = "Try a lower lr, a longer warm_up, a later disc_start, or another precision."

    def __init__(
        self,
        wanted: AutoencoderFacts,
        stream: Stream,
        settings: VaeTrainSettings,
        perceptual: nn.Module | None,
        run: Path,
        world: World,
        device: torch.device,
        *,
        workers: int,
    ) -> None:
        self.wanted = wanted
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(settings.seed, "weights"))
            self.network: nn.Module = wanted.autoencoder.build(wanted.frame_channels)
            self.critic = (
                PatchCritic(wanted.frame_channels, settings.disc_channels, settled=settings.disc_pretrained is not None)
                if settings.disc_start is not None
                else None
            )
        networks = nn.ModuleDict({CODER: self.network})
        if self.critic is not None:
            networks[CRITIC] = self.critic
        networks.to(device)
        self.rebuilding = Rebuilding(self.network)
        self.perceptual = None if perceptual is None else perceptual.to(device)
        if settings.compile:
            self.rebuilding.compile()
        state = TrainState(networks, Average(self.network), adamw(networks, settings))
        super().__init__(stream, settings, state, run, world, device, workers=workers)

    def start_from(self, place: Path) -> list[str]:
        """Take what fits of other weights; says what did."""
        weights: Any = autoencoder(str(place)).load()
        told = start_from(self.network, weights.state_dict()).words()
        self.state = replace(self.state, average=Average(self.network))
        return told

    def start_critic_from(self, path: Path) -> None:
        """Take the weights of a critic that was trained elsewhere."""
        facts_of(path, CRITIC_FILE)
        critic = self.critic
        assert critic is not None
        weights = averaged_weights(path)
        if differences := differing(critic.state_dict(), weights):
            raise ModelError(
                f'{path}: doesn\'t fit "disc_channels" {list(self.settings.disc_channels)} and "frame_channels" '
                f"{self.wanted.frame_channels}: {'; '.join(differences)}."
            )
        critic.load_state_dict(weights)

    def finish(self, scale: float) -> Path:
        """The averaged weights, with the scale of their latents."""
        path = self.run / FINAL
        state = TrainState(self.network, self.state.average, self.state.optimizer)
        facts = replace(self.facts(), model=self.described() | {"scale": scale})
        checkpoint.save_final(path, state, facts, leads=self.world.leads)
        return path

    def finished(self) -> nn.Module:
        """The network, with its averaged weights for good."""
        self.state.average.swap()
        return self.network

    def learn(self, parts: Sequence[Batch], sums: Sums) -> None:
        settings = self.settings
        critic = self.critic if settings.disc_start is not None and self.done >= settings.disc_start else None
        for part in parts:
            with self._autocast():
                found = self.rebuilding(self._frames(part), self._drawn(part))
            if critic is not None:
                critic.requires_grad_(False)  # noqa: FBT003  torch's own name for it
            with self._autocast():
                terms = coder_terms(found, settings, self.perceptual, critic)
            for name, each in terms.items():
                sums.add(name, each.detach().sum() / settings.global_batch)
            self._backward(torch.stack(list(terms.values())))
            if critic is not None:
                critic.requires_grad_(True)  # noqa: FBT003
                with self._autocast():
                    loss = critic_loss(found, critic)
                sums.add(CRITIC, loss.detach().sum() / settings.global_batch)
                self._backward(loss)
        self._gather()

    def _backward(self, losses: Tensor) -> None:
        """A sum over the batch, whatever its parts."""
        self.scaler.scale(losses.sum() / self.settings.global_batch).backward()

    def _gather(self) -> None:
        """Sum the gradients up over the processes."""
        if self.world.size == 1:
            return
        gradients = [each.grad for each in self.state.network.parameters() if each.grad is not None]
        flat: Any = self.world.total(torch.cat([each.flatten() for each in gradients]))
        for place, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
            place.copy_(part.view_as(place))

    def clipped(self, limit: float) -> Tensor:
        """Of the autoencoder. The critic's are held to it by themselves: its start must not slow the other down."""
        norms = [nn.utils.clip_grad_norm_(each.parameters(), limit) for each in self.state.network.children()]
        return norms[0]

    def loss(self, means: Mapping[str, float]) -> dict[str, float]:
        return {"loss": sum(each for name, each in means.items() if name != CRITIC), **means}

    def described(self) -> dict[str, Any]:
        return self.wanted.model_dump(mode="json", exclude_none=True)

    def _drawn(self, part: Batch) -> Tensor:
        """Normal numbers that pick latents."""
        height, width = (side // self.wanted.autoencoder.factor for side in part.pixels.shape[2:4])
        size = (self.wanted.autoencoder.z_channels, height, width)
        drawn = [
            torch.randn(size, generator=torch_generator(self.settings.seed, "latent", each)) for each in part.indices
        ]
        return torch.stack(drawn).to(self.device)

    def _frames(self, part: Batch) -> Tensor:
        return part.pixels[:, 0].to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.settings.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    @property
    def show_every(self) -> int:
        return self.settings.show_every

    def show(self, journal: Journal | None) -> None:
        """The first frames of the stream above what the averaged weights make of them."""
        if not self.world.leads:
            return
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
            return self.rebuilding.forward(frames, None)  # uncompiled: frames come in any number
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


@dataclass(frozen=True)
class Measured:
    psnr: float
    """In decibels, of the mean squared error over all frames."""
    spread: float
    """Root of the mean square of latents."""
