"""Training of a video diffusion model: what its steps do, and samples on the way."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.images import write_png
from diffsynth.training import checkpoint
from diffsynth.training.checkpoint import TrainState
from diffsynth.training.course import Course, Sums
from diffsynth.training.data.loading import Batch
from diffsynth.training.data.stream import Stream
from diffsynth.training.draws import Draws, draws
from diffsynth.training.facts import FINAL, facts_of
from diffsynth.training.journal import Journal
from diffsynth.training.network import Trained
from diffsynth.training.optimizer import Average, adamw
from diffsynth.training.pictures import grid, playing
from diffsynth.training.sampling import SamplePlan, draw
from diffsynth.training.settings import TrainSettings
from diffsynth.training.video_model import VideoModel
from diffsynth.training.wishes import Wish
from diffsynth.video.options import VideoOptions
from diffsynth.video.write import write_video
from diffsynth.world import World

GRIDS = "grids"
GRID_FPS = 8
LOSS = "loss"


class Trainer(Course[TrainSettings]):
    """Trains one model on one stream of examples, in a run's folder."""

    example = "clips"
    advice = "Try a lower lr, a longer warm_up, or another precision."

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
        device = next(model.network.parameters()).device
        self.model = model
        self.trained = Trained(model.network, settings, world, device)
        state = TrainState(model.network, Average(model.network), adamw(model.network, settings))
        super().__init__(stream, settings, state, run, world, device, workers=workers)

    def load(self, path: Path) -> None:
        before, own = facts_of(path).model.get("vae_sha256"), self.model.config.vae_sha256
        if before is not None and own is not None and before != own:
            raise ModelError(
                f"{path}: learned from latents of another autoencoder ({before[:12]}…) than {self.model.config.vae} is "
                f"now ({own[:12]}…). Bring that one back, or use --fresh to begin anew."
            )
        super().load(path)

    def finish(self) -> Path:
        """The averaged weights, for sampling."""
        path = self.run / FINAL
        checkpoint.save_final(path, self.state, self.facts(), leads=self.world.leads)
        return path

    def learn(self, parts: Sequence[Batch], sums: Sums) -> None:
        for number, part in enumerate(parts):
            with self.trained.summing(last=number == len(parts) - 1):
                # A sum over the batch, whatever its parts; the processes' gradients come together as a mean.
                loss = self.losses(part).sum() / self.settings.global_batch
                self.scaler.scale(loss * self.world.size).backward()
            sums.add(LOSS, loss.detach())

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

    def clipped(self, limit: float) -> Tensor:
        learning = [each for each in self.model.network.parameters() if each.requires_grad]
        norm: Any = torch.nn.utils.clip_grad_norm_(learning, limit)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[no-any-return]

    def loss(self, means: Mapping[str, float]) -> dict[str, float]:
        return {LOSS: means[LOSS]}

    def described(self) -> dict[str, Any]:
        return self.model.config.model_dump(mode="json", exclude_none=True)

    @property
    def show_every(self) -> int:
        return self.settings.sample_every

    def show(self, journal: Journal | None) -> None:
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
            self.trained.forget_gathered()
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
