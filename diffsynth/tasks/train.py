"""`train`: a video diffusion model from clips."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from diffsynth.config import Contradiction, ModelRef, OptionalPath
from diffsynth.diffusion.objective import DiffusionConfig
from diffsynth.errors import ConfigError, MediaError
from diffsynth.hub import missing
from diffsynth.models import BackboneConfig, LatteConfig, Unet3DConfig, VideoShape
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime, available_cores
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.training.autoencoders import autoencoder
from diffsynth.training.conditions import (
    ClassConditionConfig,
    ConditionConfig,
    NoConditionConfig,
    TextConditionConfig,
    encoder_of,
)
from diffsynth.training.data import ClipSet, DatasetConfig
from diffsynth.training.data.files import FileClips, FilesConfig, known_classes
from diffsynth.training.data.latents import require_made_by, require_size, saved_clips
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.data.whole import chance_taken, stretches
from diffsynth.training.data.window import Window
from diffsynth.training.facts import checkpoints, weights_file
from diffsynth.training.settings import TrainSettings
from diffsynth.training.video_model import SpaceName, VideoModelConfig

if TYPE_CHECKING:
    from torch import nn

MOST_READERS = 4


class TrainConfig(Runnable):
    """Train a video diffusion model on clips."""

    USES_DEVICE: ClassVar[bool] = True
    DISTRIBUTED: ClassVar[bool] = True
    INPUT_KEY: ClassVar[str | None] = None

    INERT: ClassVar[frozenset[str]] = frozenset(
        {"output_path", *(f"train.{key}" for key in ("workers", "keep", "checkpoint_every", "tensorboard"))}
    )

    task: Literal["train"] = "train"
    """Train a video diffusion model on clips."""
    dataset: DatasetConfig = MovingDigitsConfig()
    """The clips to learn from; `"type"` names the set or its layout."""
    space: SpaceName = "pixel"
    """`pixel`: the network works on frames; `latent`: on what `vae` makes of them."""
    vae: ModelRef | None = None
    """For `latent`: a run of `train_vae`, or an autoencoder in diffusers' layout, a folder or an id of the hub."""
    backbone: BackboneConfig = LatteConfig()
    """The network."""
    condition: ConditionConfig = NoConditionConfig()
    """What the network is told beside the noisy video."""
    diffusion: DiffusionConfig = DiffusionConfig()
    """The noise, and what the network answers."""
    train: TrainSettings = TrainSettings()
    """Batches, steps, the optimizer, and what is kept and shown on the way."""
    pretrained: OptionalPath = None
    """Weights to start from: the folder of a training run, a safetensors file, or an official Latte `.pt`. What fits by
    name and shape is taken, the rest is told."""

    def contradictions(self) -> Iterator[Contradiction]:
        if (self.space == "latent") != (self.vae is not None):
            yield Contradiction(
                ("space", "vae"),
                '"space": "latent" needs "vae", a folder or an id of the hub.'
                if self.vae is None
                else '"vae" is given, but "space" is "pixel". Set "space": "latent", or leave "vae" out.',
            )
        if self.train.precision == "fp16" and self.train.sharding == "full":
            yield Contradiction(
                ("train",), '"train.precision" is "fp16", whose loss scale is not spread by "sharding": use "bf16".'
            )
        if self.dataset.latents is not None:
            yield from self._latents_contradict()
        if self.train.prob_focus_present and not isinstance(self.backbone, Unet3DConfig):
            yield Contradiction(
                ("train", "backbone"),
                f'"train.prob_focus_present" is for "unet3d", but "backbone" is "{self.backbone.type}". Leave it out; '
                'pictures beside clips are "dataset.images".',
            )
        if isinstance(self.condition, TextConditionConfig) and not getattr(self.dataset, "captions", False):
            yield Contradiction(
                ("condition", "dataset"),
                '"condition" is "text", but the data set says no captions. Use one of files, each with a text beside '
                'it (clip.mp4 and clip.txt), and set "dataset.captions": true.',
            )
        shown, known = self.train.sample_steps, self.diffusion.train_steps
        if self.train.sample_every and shown > known and self.diffusion.objective != "flow":
            yield Contradiction(
                ("train", "diffusion"),
                f'"train.sample_steps" is {shown}, but "diffusion.train_steps" is {known}. Use at most {known}.',
            )
        if isinstance(self.dataset, FilesConfig):
            if self.dataset.random_crop and not self.dataset.centre_square_crop:
                yield Contradiction(
                    ("dataset",),
                    '"dataset.random_crop" cuts frames, but "centre_square_crop" is false: they are stretched, uncut.',
                )
            if self.dataset.image_list is not None and not self.dataset.images:
                yield Contradiction(
                    ("dataset",),
                    '"dataset.image_list" is given, but "dataset.images" is 0: say how many beside a clip.',
                )

    def _latents_contradict(self) -> Iterator[Contradiction]:
        if self.space != "latent":
            yield Contradiction(
                ("space", "dataset"), '"dataset.latents" is given, but "space" is "pixel". Set "space": "latent".'
            )
        yield from chance_taken(self.dataset)
        if isinstance(self.dataset, FilesConfig) and self.dataset.image_list is not None:
            yield Contradiction(
                ("dataset",), '"dataset.image_list" names pictures, but saved latents are of clips only. Leave it out.'
            )

    def inputs(self) -> dict[str, Path]:
        return {} if self.pretrained is None else {"pretrained": weights_file(self.pretrained)}

    def prepare(self, runtime: Runtime) -> None:
        """Nothing is made where saved latents turn out to be of other clips, or another autoencoder's."""
        if self.dataset.latents is not None:
            self.clips()

    def predict(self) -> Prediction:
        clips = self.clips()
        height, width = self.dataset.size
        if self.space == "pixel":
            self.backbone.require_fit(VideoShape(self.dataset.frames, self.dataset.frame_channels, height, width))
        settings = self.train
        epochs = settings.steps * settings.global_batch / len(clips)
        remarks = [
            f"{len(clips)} clips; {settings.steps} steps of {settings.global_batch} see each {epochs:.3g} times."
        ]
        if clips.classes:
            remarks.append(f"{len(clips.classes)} classes.")
        remarks += clips.remarks
        downloads = missing([self.vae, encoder_of(self.condition)])
        return Prediction(self.dataset.frames, height, width, None, None, downloads, tuple(remarks))

    def clips(self) -> ClipSet:
        """The data set, checked against what the network is told."""
        clips = self._saved() if self.dataset.latents is not None else self.dataset.build()
        if isinstance(self.condition, ClassConditionConfig):
            problem = _misfit(self.dataset.type, clips.classes, self.condition.num_classes)
            if problem is not None:
                raise ConfigError([problem])
            odd = clips.unclassed() if isinstance(clips, FileClips) else None
            if odd is not None:
                found = "no class" if odd.kind is None else f'the class "{odd.kind}", which no clip has'
                raise MediaError(
                    f'{odd.path}: "condition" is "class", but this picture has {found}. Put pictures into folders '
                    f'named after their classes, or list them as "path class". {known_classes(clips)}'
                )
        return clips

    def _saved(self) -> ClipSet:
        """The clips, from the latents that were saved of them by the very autoencoder that is named here."""
        dataset, folder = self.dataset, self.dataset.latents
        assert folder is not None
        assert self.vae is not None
        found = autoencoder(self.vae)
        require_size(folder, dataset.size, dataset.frame_channels, stretched=stretches(dataset))
        require_made_by(folder, self.vae, found.fingerprint)
        window = Window(dataset.frames)
        if isinstance(dataset, FilesConfig):
            window = Window(dataset.frames, dataset.interval, dataset.short, dataset.from_start)
        told = isinstance(self.condition, TextConditionConfig)
        height, width = (side // found.factor for side in dataset.size)
        return saved_clips(folder, dataset.build(), window, (2 * found.channels, height, width), captions=told)

    def model(self, clips: ClipSet) -> VideoModelConfig:
        return VideoModelConfig(
            size=self.dataset.size,
            frames=self.dataset.frames,
            frame_channels=self.dataset.frame_channels,
            space=self.space,
            vae=self.vae,
            vae_sha256=None if self.vae is None else autoencoder(self.vae).fingerprint,
            backbone=self.backbone,
            condition=self.condition,
            diffusion=self.diffusion,
            classes=clips.classes if isinstance(self.condition, ClassConditionConfig) else (),
        )

    def build(self, runtime: Runtime) -> Task:
        if runtime.world.size > self.train.global_batch:
            raise ConfigError(
                [f'"train.global_batch" is {self.train.global_batch}, but there are {runtime.world.size} processes.']
            )
        return Train(self, self.clips(), runtime)

    def readers(self) -> int:
        """Processes that read clips ahead."""
        if self.train.workers is not None:
            return self.train.workers
        return min(MOST_READERS, available_cores()) if isinstance(self.dataset, FilesConfig) else 0


def _misfit(name: str, classes: tuple[str, ...], known: int) -> str | None:
    """What keeps a network that knows so many classes from learning these."""
    if not classes:
        return (
            f'"condition" is "class", but the data set "{name}" has no classes. Use a set that has them '
            '("class_folders", "ucf101", "moving_digits"), or "condition": {"type": "none"}.'
        )
    if len(classes) > known:
        return (
            f'"condition.num_classes" is {known}, but the clips have {len(classes)} classes, among them '
            f'"{classes[known]}". Set it to {len(classes)} or more.'
        )
    return None


@dataclass(frozen=True)
class Train:
    """The model, the loop, and in the end the averaged weights."""

    config: TrainConfig
    clips: ClipSet
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        from diffsynth.training.data.stream import Stream
        from diffsynth.training.journal import METRICS
        from diffsynth.training.loop import Trainer
        from diffsynth.training.video_model import from_saved_latents

        config, settings = self.config, self.config.train
        with run.timed("train"):
            model = config.model(self.clips).build(self.runtime, settings.seed)
            if config.dataset.latents is not None:
                model = from_saved_latents(model)
            weights = sum(each.numel() for each in model.network.parameters())
            progress.note(f"{weights / 1e6:.3f} million weights, {len(self.clips)} clips.")
            for remark in self.clips.remarks:
                progress.note(remark)
            stream = Stream(self.clips, settings.seed, config.dataset.images)
            if config.pretrained is not None and not checkpoints(run.path):
                for line in self._pretrain(model.network, inputs):
                    progress.note(line)
            trainer = Trainer(model, stream, settings, run.path, self.runtime.world, workers=config.readers())
            trainer.resume()
            if trainer.done:
                progress.note(f"Goes on after step {trainer.done}.")
            trainer.train(progress)
            run.note(steps=trainer.done, parameters=weights, clips=len(self.clips))
            return [trainer.finish(), run.path / METRICS]

    def _pretrain(self, network: "nn.Module", inputs: Mapping[str, Path]) -> list[str]:
        from diffsynth.training.loading_model import averaged, start_from

        return start_from(network, averaged(inputs["pretrained"])).words()
