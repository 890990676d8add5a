"""A clip that a trained model draws, where a task reads one: `"input_video": {"sample": "runs/digits", "seed": 3}`."""

import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from diffsynth.cache import ContentCache, digest
from diffsynth.config import ConfigModel, ExistingPath
from diffsynth.config.fields import existing_clip
from diffsynth.config.problems import explain
from diffsynth.errors import ConfigError
from diffsynth.identity import glance
from diffsynth.runtime import Runtime
from diffsynth.tasks.prompts import CAPTION_FILE
from diffsynth.training.conditions import ClassConditionConfig, TextConditionConfig
from diffsynth.training.facts import facts_of, weights_file
from diffsynth.training.video_model import VideoModelConfig, described
from diffsynth.training.wishes import Wish, label_of

FRAMES = "frames"


class SampledClip(ConfigModel):
    """A clip that a model of the task `train` draws. It is kept in the user's cache."""

    sample: ExistingPath
    """The folder of a training run, or one of its safetensors files."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed is another clip."""
    label: Annotated[int, Field(ge=0)] | str | None = None
    """The clip's class by number or name, for a model that is told classes; left out, one goes by the seed."""
    prompt: str | None = None
    """The clip's text, for a model that is told texts."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 50
    """Steps from noise to video."""
    cfg_scale: Annotated[float, Field(ge=0, strict=False)] = 1.5
    """Guidance by class or text; 1: none."""

    def model(self) -> VideoModelConfig:
        path = weights_file(self.sample)
        return described(facts_of(path).model, str(path))

    def wish(self) -> Wish:
        """What the model is told. `ConfigError` where it takes no such thing."""
        model = self.model()
        condition = model.condition
        if self.prompt is not None and not isinstance(condition, TextConditionConfig):
            raise ConfigError(['"input_video.prompt" is given, but the model is not told texts. Leave it out.'])
        if self.label is not None and not isinstance(condition, ClassConditionConfig):
            raise ConfigError(['"input_video.label" is given, but the model is not told classes. Leave it out.'])
        if isinstance(condition, TextConditionConfig):
            if self.prompt is None:
                raise ConfigError(['"input_video.prompt" is missing: the model is told texts.'])
            return Wish(0, prompt=self.prompt)
        if isinstance(condition, ClassConditionConfig):
            # Where training left rows for more classes than the clips have, nothing was ever drawn by these.
            count = len(model.classes) or condition.num_classes
            wanted = self.seed % count if self.label is None else self.label
            return Wish(0, label_of(wanted, model.classes, condition.num_classes))
        return Wish(0)

    def caption(self) -> str | None:
        """What the clip shows: its text, or its class by name."""
        wish, names = self.wish(), self.model().classes
        return names[wish.label] if wish.label is not None and wish.label < len(names) else wish.prompt

    def place(self) -> Path:
        """Where the frames lie, or will."""
        return self._cache().folder / digest(self._key()) / FRAMES

    def make(self, runtime: Runtime) -> None:
        """Draw the clip unless it is there."""
        self._cache().get(self._key(), lambda entry: self._drawn(entry, runtime))

    def _key(self) -> dict[str, Any]:
        settings = self.model_dump(mode="json", exclude={"sample"})
        return {"kind": "sampled clip", "weights": glance([weights_file(self.sample)]), **settings}

    @staticmethod
    def _cache() -> ContentCache:
        return ContentCache.of_user()

    def _drawn(self, entry: Path, runtime: Runtime) -> None:
        if (entry / FRAMES).is_dir():
            return
        from diffsynth.images import write_png
        from diffsynth.training.drawing import ModelDrawer
        from diffsynth.training.pictures import rgb
        from diffsynth.training.sampling import SamplePlan

        plan = SamplePlan(self.steps, self.seed, self.cfg_scale)
        wish = self.wish()
        drawer = ModelDrawer.load(self.sample, None, plan, runtime)
        [(_, video)] = drawer.videos([[wish]], None)
        aside = entry / f".{FRAMES}.partial"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for number, frame in enumerate(rgb(video)):
            write_png(aside / f"{number:05}.png", frame)
        if caption := self.caption():
            (aside / CAPTION_FILE).write_text(caption, encoding="utf-8")
        aside.rename(entry / FRAMES)


def _clip(value: Any) -> Path | SampledClip:
    if not isinstance(value, dict | SampledClip):
        return existing_clip(value)
    try:
        return SampledClip.model_validate(value)
    except ValidationError as problem:
        sentences = explain(problem, SampledClip, {})
        raise PydanticCustomError(
            "problem", "{sentence}", {"sentence": "is no clip to draw: " + " ".join(sentences.values()).rstrip(".")}
        ) from None


ClipSource = Annotated[
    Path | SampledClip,
    BeforeValidator(_clip),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "path", "minLength": 1},
                {"type": "object", "properties": {"sample": {"type": "string"}}, "required": ["sample"]},
            ]
        }
    ),
]
"""A clip that must be there, or that a trained model draws."""
