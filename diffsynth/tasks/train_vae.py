"""`train_vae`: an autoencoder for frames."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from diffsynth.config import Contradiction, OptionalPath
from diffsynth.errors import ConfigError
from diffsynth.models.video_vae_config import AutoencoderConfig, KlVaeConfig, VideoVaeConfig
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime, available_cores
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.tasks.train import MOST_READERS
from diffsynth.training.autoencoders import AutoencoderFacts, autoencoder
from diffsynth.training.data.files import FilesConfig
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.data.pictures import Frames, FrameSource, PicturesConfig
from diffsynth.training.facts import checkpoints
from diffsynth.training.vae_settings import SMALLEST_SIDE, VaeTrainSettings

FOLDER = "diffusers"
"""Where a run leaves an AutoencoderKL for other programs."""


class TrainVaeConfig(Runnable):
    """Train an autoencoder on frames."""

    USES_DEVICE: ClassVar[bool] = True
    DISTRIBUTED: ClassVar[bool] = True
    INPUT_KEY: ClassVar[str | None] = None

    task: Literal["train_vae"] = "train_vae"
    """Train an autoencoder on frames."""
    dataset: FrameSource = MovingDigitsConfig()
    """The frames to learn from: pictures, or single frames of a set of clips."""
    test: FrameSource | None = None
    """Frames that it doesn't learn from, to measure what it learned; left out, those that it learned from."""
    test_frames: Annotated[int, Field(ge=1, le=100_000)] = 512
    """How many frames are measured, and how many tell the scale of latents."""
    autoencoder: AutoencoderConfig = VideoVaeConfig()
    """The network."""
    train: VaeTrainSettings = VaeTrainSettings()
    """Batches, steps, the optimizer, what is asked of rebuilt frames, and what is kept and shown on the way."""
    pretrained: OptionalPath = None
    """Weights to start from: a run of this task, its weights, or a folder of an AutoencoderKL. What fits by name and
    shape is taken, the rest is told."""

    def contradictions(self) -> Iterator[Contradiction]:
        factor = self.autoencoder.factor
        sets = [("dataset", self.dataset), *([("test", self.test)] if self.test is not None else [])]
        for name, each in sets:
            height, width = each.size
            if height % factor or width % factor:
                yield Contradiction(
                    (name, "autoencoder"),
                    f'"{name}.size" is {height}×{width}, but the autoencoder makes frames smaller by {factor}: use '
                    "multiples of it.",
                )
            if not isinstance(each, PicturesConfig) and each.latents is not None:
                yield Contradiction((name,), f'"{name}.latents" is for "train": frames are needed here. Leave it out.')
        settings, side = self.train, min(self.dataset.size)
        needs = "disc_start" if settings.disc_start is not None else "lpips" if settings.lpips else None
        if needs is not None and side < SMALLEST_SIDE:
            yield Contradiction(
                ("train", "dataset"),
                f'"train.{needs}" looks at patches of {SMALLEST_SIDE} pixels, but "dataset.size" is {side}. Leave it '
                "out, or use larger frames.",
            )
        if settings.disc_pretrained is not None and settings.disc_start is None:
            yield Contradiction(
                ("train",), '"train.disc_pretrained" names a critic, but "disc_start" doesn\'t say when it comes in.'
            )
        if self.test is not None and (self.test.size, self.test.frame_channels) != (
            self.dataset.size,
            self.dataset.frame_channels,
        ):
            yield Contradiction(("test", "dataset"), '"test" and "dataset" differ in "size" or "frame_channels".')

    def inputs(self) -> dict[str, Path]:
        found = {} if self.pretrained is None else {"pretrained": autoencoder(str(self.pretrained)).files[-1]}
        if self.train.disc_pretrained is not None:
            found["disc_pretrained"] = self.train.disc_pretrained
        return {**found, **{f"lpips.{number}": each for number, each in enumerate(self.train.lpips)}}

    def prepare(self, runtime: Runtime) -> None:
        """Nothing is made where a folder turns out to hold no frames."""
        self.dataset.build()

    def predict(self) -> Prediction:
        frames, settings = Frames(self.dataset.build()), self.train
        height, width = self.dataset.size
        epochs = settings.steps * settings.global_batch / len(frames)
        side = self.autoencoder.factor
        told = (
            f"{len(frames)} pictures or clips; {settings.steps} steps of {settings.global_batch} see each {epochs:.3g} "
            f"times. A latent is {height // side}×{width // side} of {self.autoencoder.z_channels} channels."
        )
        return Prediction(None, height, width, None, remarks=(told, *frames.remarks))

    def facts(self) -> AutoencoderFacts:
        return AutoencoderFacts(autoencoder=self.autoencoder, frame_channels=self.dataset.frame_channels)

    def build(self, runtime: Runtime) -> Task:
        if runtime.world.size > self.train.global_batch:
            raise ConfigError(
                [f'"train.global_batch" is {self.train.global_batch}, but there are {runtime.world.size} processes.']
            )
        return TrainVae(self, runtime)

    def readers(self) -> int:
        """Processes that read frames ahead."""
        if self.train.workers is not None:
            return self.train.workers
        reads = isinstance(self.dataset, FilesConfig | PicturesConfig)
        return min(MOST_READERS, available_cores()) if reads else 0


@dataclass(frozen=True)
class TrainVae:
    """The network, the loop, and in the end the averaged weights and what they can do."""

    config: TrainVaeConfig
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        from diffsynth.models.kl_vae import KlVae
        from diffsynth.training.data.stream import Stream
        from diffsynth.training.journal import METRICS
        from diffsynth.training.perceptual import load_perceptual
        from diffsynth.training.vae_loop import VaeTrainer

        config, settings, world = self.config, self.config.train, self.runtime.world
        frames = Frames(config.dataset.build())
        stream = Stream(frames, settings.seed)
        with run.timed("train"):
            trainer = VaeTrainer(
                config.facts(),
                stream,
                settings,
                load_perceptual(settings.lpips) if settings.lpips else None,
                run.path,
                world,
                self.runtime.torch_device(),
                workers=config.readers(),
            )
            weights = sum(each.numel() for each in trainer.network.parameters())
            progress.note(f"{weights / 1e6:.3f} million weights, {len(frames)} pictures or clips.")
            for remark in frames.remarks:
                progress.note(remark)
            if config.pretrained is not None and not checkpoints(run.path):
                for line in trainer.start_from(config.pretrained):
                    progress.note(line)
            if settings.disc_pretrained is not None and not checkpoints(run.path):
                trainer.start_critic_from(settings.disc_pretrained)
            trainer.resume()
            if trainer.done:
                progress.note(f"Goes on after step {trainer.done}.")
            trainer.train(progress)
        if not world.leads:
            world.wait()
            return []
        with run.timed("measure"):
            spread = trainer.measure(stream, config.test_frames).spread
            test = stream if config.test is None else Stream(Frames(config.test.build()), settings.seed)
            psnr = trainer.measure(test, config.test_frames).psnr
        of = "frames that it learned from" if config.test is None else "frames that it did not learn from"
        progress.note(f"Rebuilt frames have a PSNR of {psnr:.2f} dB ({config.test_frames} {of}).")
        run.note(steps=trainer.done, parameters=weights, psnr=round(psnr, 3), latent_spread=round(spread, 5))
        made = [trainer.finish(1 / spread), run.path / METRICS]
        if isinstance(config.autoencoder, KlVaeConfig):
            made.append(run.path / FOLDER)
            network = trainer.finished()
            assert isinstance(network, KlVae)
            network.write(run.path / FOLDER, 1 / spread)
        world.wait()
        return made
