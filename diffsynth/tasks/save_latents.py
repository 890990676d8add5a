"""`save_latents`: what an autoencoder says of every frame of a data set, once and for all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from diffsynth import disk
from diffsynth.config import Contradiction, ModelRef
from diffsynth.config.fields import hub_id
from diffsynth.errors import MediaError
from diffsynth.hub import is_cached
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import Runtime
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.training.autoencoders import autoencoder
from diffsynth.training.data import DatasetConfig
from diffsynth.training.data.example import ClipSet, Unusable
from diffsynth.training.data.latents import FOLDER, INDEX, Entry, Index
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.data.whole import chance_taken, names, require_same, stretches, whole

if TYPE_CHECKING:
    from diffsynth.training.space import LatentSpace


class SaveLatentsConfig(Runnable):
    """Encode the frames of a data set once, so that training on latents needs neither frames nor encoder."""

    USES_DEVICE: ClassVar[bool] = True
    DISTRIBUTED: ClassVar[bool] = True
    INPUT_KEY: ClassVar[str | None] = None

    task: Literal["save_latents"] = "save_latents"
    """Encode the frames of a data set once, so that training on latents needs neither frames nor encoder."""
    dataset: DatasetConfig = MovingDigitsConfig()
    """The clips. All frames of each are encoded; `frames`, `interval` and `short` choose among them in training."""
    vae: ModelRef
    """A run of `train_vae`, or an autoencoder in diffusers' layout, a folder or an id of the hub."""
    precision: Literal["float32", "float16"] = "float32"
    """How latents are kept; `float16` takes half the disk."""

    def contradictions(self) -> Iterator[Contradiction]:
        yield from chance_taken(self.dataset)
        if self.dataset.latents is not None:
            yield Contradiction(("dataset",), '"dataset.latents" is for "train": this task makes them. Leave it out.')

    def inputs(self) -> dict[str, Path]:
        return {} if hub_id(self.vae) else {"vae": autoencoder(self.vae).files[-1]}

    def predict(self) -> Prediction:
        height, width = self.dataset.size
        hub = hub_id(self.vae)
        downloads = (hub,) if hub is not None and not is_cached(hub) else ()
        clips = self.dataset.build()
        remarks = (f"{len(clips)} clips, all frames of each.", *clips.remarks)
        return Prediction(None, height, width, None, downloads=downloads, remarks=remarks)

    def build(self, runtime: Runtime) -> Task:
        return SaveLatents(self, self.dataset.build(), runtime)


@dataclass(frozen=True)
class SaveLatents:
    """One file a clip; what is there is finished. The index comes last."""

    config: SaveLatentsConfig
    clips: ClipSet
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        from diffsynth.training.space import load_latent_space

        config, world = self.config, self.runtime.world
        require_same(run, self.clips)
        sha256 = autoencoder(config.vae).fingerprint
        size, channels = config.dataset.size, config.dataset.frame_channels
        space = load_latent_space(config.vae, 1, channels, *size, self.runtime)
        with disk.disk_errors(run.path):
            (run.path / FOLDER).mkdir(exist_ok=True)
        own = range(len(self.clips))[world.rank :: world.size]
        for remark in self.clips.remarks:
            progress.note(remark)
        done = sum(_place(run.path, number).is_file() for number in own)
        with run.timed("encode"), progress.stage("encode", len(own), done, unit="clips") as stage:
            for number in own:
                if not _place(run.path, number).is_file():
                    self._save(_place(run.path, number), number, space, sha256, progress)
                    stage.advance()
        world.wait()
        if not run.leads:
            return []
        entries = tuple(self._entries(run.path))
        if not entries:
            raise MediaError("No clip of the data set could be read. Each was told above.")
        index = Index(
            vae=config.vae,
            vae_sha256=sha256,
            size=size,
            frame_channels=channels,
            stretched=stretches(config.dataset),
            classes=self.clips.classes,
            clips=entries,
        )
        disk.write_json(run.path / INDEX, index.model_dump(mode="json", exclude_none=True))
        run.note(clips=len(entries), frames=sum(each.frames for each in entries), vae_sha256=sha256)
        return [run.path / FOLDER, run.path / INDEX]

    def _save(self, path: Path, number: int, space: "LatentSpace", sha256: str, progress: Progress) -> None:
        from diffsynth.training.saving_latents import save_moments

        each = whole(self.clips, number)
        words = {"name": each.name, "vae_sha256": sha256}
        if each.label is not None:
            words["label"] = str(each.label)
        if each.caption is not None:
            words["caption"] = each.caption
        try:
            with disk.disk_errors(path):
                save_moments(path, each.frames(), space, self.config.precision, words)
        except Unusable as problem:
            progress.note(f"{problem.trouble.path}: passed over: {problem.trouble.reason}.")

    def _entries(self, run: Path) -> Iterator[Entry]:
        from diffsynth.training.saving_latents import read_head

        for number, name in enumerate(names(self.clips)):
            path = _place(run, number)
            if not path.is_file():
                continue
            head = read_head(path)
            label = head.words.get("label")
            yield Entry(
                name=name,
                file=f"{FOLDER}/{path.name}",
                frames=head.frames,
                label=None if label is None else int(label),
                caption=head.words.get("caption"),
            )


def _place(run: Path, number: int) -> Path:
    return run / FOLDER / f"{number:06}.safetensors"
