"""`sample`: videos drawn from a trained model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth.config import ConfigModel, Contradiction, ModelRef, OptionalPath
from diffsynth.config.fields import hub_id
from diffsynth.diffusion.targets import SolverName
from diffsynth.errors import ConfigError
from diffsynth.hub import missing
from diffsynth.models import TextScheduler
from diffsynth.progress import Progress
from diffsynth.run_dir import RunFolder
from diffsynth.runtime import PrecisionName, Runtime
from diffsynth.tasks.base import Prediction, Runnable, Task
from diffsynth.training.conditions import ClassConditionConfig, NoConditionConfig, TextConditionConfig, encoder_of
from diffsynth.training.data.example import Size
from diffsynth.training.facts import facts_of, is_ours, weights_file
from diffsynth.training.video_model import VideoModelConfig, described
from diffsynth.training.wishes import Wish, label_of

if TYPE_CHECKING:
    from diffsynth.training.drawing import Drawer

Format = Literal["mp4", "gif", "png"]
_CLASS = [{"type": "integer", "minimum": 0}, {"type": "string"}]
DTYPES: Mapping[str, PrecisionName] = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}
PIPELINE_SCALE = 7.5
PIPELINE = "model_index.json"
"""What tells the folder of a pipeline of diffusers."""


def _classes(value: Any) -> Any:
    if value is None or value == "all":
        return value
    classes = [value] if isinstance(value, int | str) else value
    if not isinstance(classes, list | tuple) or not classes or not all(map(_is_class, classes)):
        raise PydanticCustomError("path", 'must be "all", a class by its number or name, or a list of them', {})
    return tuple(classes)


def _is_class(value: Any) -> bool:
    return isinstance(value, str) or (type(value) is int and value >= 0)


def _texts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class PipelineSettings(ConfigModel):
    """What a `LattePipeline` of diffusers is asked for."""

    frames: Annotated[int, Field(ge=1, le=4096)] = 16
    """Frames of a video; 1 draws pictures."""
    size: Size = (512, 512)
    """Side of the frames in pixels, or `[height, width]`."""
    scheduler: TextScheduler = "checkpoint"
    """The scheduler; `checkpoint` is the one in the folder."""
    temporal_decoder: bool = False
    """Whether the decoder sees neighbouring frames, which flickers less."""
    negative_prompt: str = ""
    """What videos are led away from."""


class SampleConfig(Runnable):
    """Draw videos from a trained model."""

    USES_DEVICE: ClassVar[bool] = True
    DISTRIBUTED: ClassVar[bool] = True
    INPUT_KEY: ClassVar[str | None] = None

    task: Literal["sample"] = "sample"
    """Draw videos from a trained model."""
    checkpoint: ModelRef
    """The folder of a training run, one of its safetensors files, an official Latte `.pt`, or a `LattePipeline` of
    diffusers: its folder, or an id of the hub."""
    num_videos: Annotated[int, Field(ge=1, le=1_000_000)] = 16
    """How many videos. Video i is the same whatever their number."""
    labels: Annotated[
        Literal["all"] | tuple[int | str, ...] | None,
        BeforeValidator(_classes),
        WithJsonSchema({"anyOf": [*_CLASS, {"type": "array", "items": {"anyOf": _CLASS}}, {"type": "null"}]}),
    ] = None
    """Classes of the videos: `"all"` in turn, one, or a list that is gone through again and again; by number or name.
    Left out: all, where the model knows classes."""
    prompts: Annotated[tuple[str, ...], BeforeValidator(_texts), Field(strict=False)] = ()
    """Texts of the videos, one or a list that is gone through again and again; for models told by text."""
    captions: OptionalPath = None
    """Prompts from files: a text file with one a line, or the folder of a data set with a text beside each clip."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 50
    """Steps from noise to video."""
    cfg_scale: Annotated[float, Field(ge=0, strict=False)] | None = None
    """Guidance by class or text; 1: none. Left out: 1, and 7.5 for a `LattePipeline`."""
    solver: SolverName | None = None
    """Left out: `euler` for flow matching, else `ddim`."""
    dynamic_threshold: Annotated[float, Field(gt=0, le=1, strict=False)] | None = None
    """For pixels: what each step aims at is held within the size that this share of its values don't exceed, and scaled
    back to it; 0.9 is usual. Strong guidance then doesn't saturate. Left out: values are cut."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """What networks compute in."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Video i is drawn from the seed and i alone."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Videos drawn together."""
    formats: Annotated[tuple[Format, ...], Field(strict=False)] = ("mp4",)
    """`mp4` and `gif`: each video in `videos/`; `png`: a grid of the first. `strips/` holds all of them lossless."""
    fps: Annotated[float, Field(gt=0, le=1000, strict=False)] = 8.0
    """Frames a second of mp4 and gif."""
    enlarge: Annotated[int, Field(ge=1, le=64)] = 1
    """How many times larger mp4 and gif show each pixel."""
    save_trajectory: bool = False
    """Also write what each video looked like after each step, as videos in `trajectories/`."""
    vae: ModelRef | None = None
    """The autoencoder, where the checkpoint doesn't name it or it was moved."""
    pipeline: PipelineSettings | None = None
    """Settings of a `LattePipeline`."""

    @cached_property
    def is_pipeline(self) -> bool:
        return hub_id(self.checkpoint) is not None or (Path(self.checkpoint) / PIPELINE).is_file()

    def contradictions(self) -> Iterator[Contradiction]:
        if self.is_pipeline:
            if not self.prompts and self.captions is None:
                hub = hub_id(self.checkpoint)
                kind = f'an id of the hub, since there is no folder "{hub}" here: ' if hub is not None else ""
                yield Contradiction(
                    ("checkpoint", "prompts"),
                    f'"checkpoint" is {kind}a LattePipeline, which needs "prompts". If a training run is meant, name '
                    "its folder, and train it first.",
                )
            for key in ("solver", "vae", "save_trajectory"):
                if getattr(self, key):
                    yield Contradiction(("checkpoint", key), f'"{key}" is not for a LattePipeline. Leave it out.')
        elif self.pipeline is not None:
            yield Contradiction(
                ("checkpoint", "pipeline"), '"pipeline" is for a LattePipeline of diffusers only. Leave it out.'
            )
        if self.captions is not None and self.prompts:
            yield Contradiction(("captions", "prompts"), '"captions" and "prompts" are both given. Leave one out.')
        if self.labels is not None and self.prompts:
            yield Contradiction(
                ("labels", "prompts"), '"labels" and "prompts" are both given; a model takes one of them.'
            )

    def inputs(self) -> dict[str, Path]:
        return {} if self.is_pipeline else {"checkpoint": weights_file(Path(self.checkpoint))}

    def predict(self) -> Prediction:
        if self.is_pipeline:
            settings = self.pipeline or PipelineSettings()
            height, width = settings.size
            return Prediction(self.num_videos * settings.frames, height, width, None, None, missing([self.checkpoint]))
        path = weights_file(Path(self.checkpoint))
        if not is_ours(path):
            known = ("The size is in the checkpoint's weights.",)
            return Prediction(None, 0, 0, None, downloads=missing([self.vae]), remarks=known)
        facts = facts_of(path)
        model = described(facts.model, str(path))
        self.wishes(model)
        height, width = model.size
        frames = self.num_videos * model.frames
        return Prediction(
            frames,
            height,
            width,
            frames * height * width * 3 * (1 + self.enlarge),
            downloads=missing([self.vae or model.vae, encoder_of(model.condition)]),
            remarks=(f"The checkpoint is of step {facts.step}.",),
        )

    def wishes(self, model: VideoModelConfig | None) -> list[Wish]:
        """What each video is told. `ConfigError` where the model takes no such thing; None: a `LattePipeline`."""
        if model is not None:
            _require_sense(self, model)
        told = _told(self, model)
        return [Wish(index, **told[index % len(told)]) for index in range(self.num_videos)]

    def build(self, runtime: Runtime) -> Task:
        from diffsynth.training.drawing import ModelDrawer
        from diffsynth.training.sampling import SamplePlan

        if self.is_pipeline:
            return Sample(self, self._pipeline_drawer(runtime), self.wishes(None), runtime)
        scale = 1.0 if self.cfg_scale is None else self.cfg_scale
        plan = SamplePlan(
            self.steps, self.seed, scale, self.solver, precision=self.precision, threshold=self.dynamic_threshold
        )
        drawer = ModelDrawer.load(Path(self.checkpoint), self.vae, plan, runtime)
        return Sample(self, drawer, self.wishes(drawer.model.config), runtime)

    def _pipeline_drawer(self, runtime: Runtime) -> "Drawer":
        from diffsynth.models.latte_pipeline import Making, TextToVideo
        from diffsynth.training.drawing import PipelineDrawer

        settings = self.pipeline or PipelineSettings()
        maker = TextToVideo.of(
            self.checkpoint,
            replace(runtime, dtype=DTYPES[self.precision]),
            settings.scheduler,
            temporal_decoder=settings.temporal_decoder,
        )
        scale = PIPELINE_SCALE if self.cfg_scale is None else self.cfg_scale
        making = Making(settings.frames, *settings.size, self.steps, scale)
        return PipelineDrawer(maker, making, settings.negative_prompt, self.seed)


def _require_sense(config: SampleConfig, model: VideoModelConfig) -> None:
    """`ConfigError` for steps that the model hasn't, and for guidance that would do nothing, or lead nowhere."""
    known = model.diffusion.train_steps
    if model.diffusion.objective != "flow" and config.steps > known:
        raise ConfigError([f'"steps" is {config.steps}, but the network was trained on {known}. Use at most {known}.'])
    if config.cfg_scale in (None, 1.0):
        return
    if isinstance(model.condition, NoConditionConfig):
        raise ConfigError([f'"cfg_scale" is {config.cfg_scale:g}, but the model is told nothing. Leave it out.'])
    if model.condition.dropout == 0:
        why = 'the model was trained with "condition.dropout" 0: it knows no answer without its condition'
        raise ConfigError([f'"cfg_scale" is {config.cfg_scale:g}, but {why}, to lead away from. Leave it out.'])


def _told(config: SampleConfig, model: VideoModelConfig | None) -> list[dict[str, Any]]:
    """What videos are told, in the order that is gone through again and again."""
    condition = model.condition if model is not None else None
    prompts = config.prompts or _captions(config.captions)
    if isinstance(condition, ClassConditionConfig) and model is not None:
        if prompts:
            raise ConfigError(['"prompts" are given, but the model is told classes. Use "labels".'])
        names, count = model.classes, condition.num_classes
        if config.labels in (None, "all"):
            return [{"label": label} for label in range(count)]
        return [{"label": label_of(each, names, count)} for each in config.labels or ()]
    if config.labels is not None:
        raise ConfigError(['"labels" is given, but the model knows no classes. Leave it out.'])
    if model is None or isinstance(condition, TextConditionConfig):
        if not prompts:
            raise ConfigError(['The model is told by text: give "prompts" or "captions".'])
        return [{"prompt": each} for each in prompts]
    if prompts:
        raise ConfigError(['"prompts" are given, but the model is told nothing. Leave them out.'])
    return [{}]


def _captions(source: Path | None) -> tuple[str, ...]:
    """One prompt a line of a file, or one a file of a folder."""
    if source is None:
        return ()
    files = sorted(source.rglob("*.txt")) if source.is_dir() else [source]
    try:
        texts = [each.read_text(encoding="utf-8") for each in files]
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError([f'"captions": {source} can\'t be read as text ({problem}).']) from None
    lines = [" ".join(each.split()) for each in texts] if source.is_dir() else texts[0].splitlines()
    found = tuple(each.strip() for each in lines if each.strip())
    if not found:
        raise ConfigError(
            [f'"captions": {source} holds no text. Give a file with one a line, or a folder of .txt files.']
        )
    return found


@dataclass(frozen=True)
class Sample:
    """The model, and what to draw from it."""

    config: SampleConfig
    drawer: "Drawer"
    wishes: list[Wish]
    runtime: Runtime

    def run(self, inputs: Mapping[str, Path], run: RunFolder, progress: Progress) -> list[Path]:
        from diffsynth.training.gallery import Gallery

        config, world = self.config, self.runtime.world
        gallery = Gallery(run.path, config.formats, config.fps, config.enlarge)
        chunks = [self.wishes[start : start + config.batch] for start in range(0, len(self.wishes), config.batch)]
        own = chunks[world.rank :: world.size]
        left = [chunk for chunk in own if not all(gallery.holds(each.index) for each in chunk)]
        done, total = sum(map(len, own)) - sum(map(len, left)), sum(map(len, own))
        with run.timed("sample"), progress.stage("sample", total, done, unit="videos") as stage:
            # All of a chunk even where some of it is there: a video's last bit may hang on its neighbours.
            for wish, video in self.drawer.videos(left, gallery.watch if config.save_trajectory else None):
                gallery.keep(wish.index, video)
                stage.advance()
        world.wait()
        return gallery.finish(self.wishes, self.drawer.classes, self.drawer.frames) if run.leads else []
