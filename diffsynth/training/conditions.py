"""What a network is told beside the noisy video: nothing, a class, or a text."""

from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from pydantic import Field

from diffsynth.config import ConfigModel, ModelRef
from diffsynth.errors import ConfigError, MediaError
from diffsynth.models import Condition
from diffsynth.training.data.example import Labels, Texts

if TYPE_CHECKING:
    from torch import Tensor

    from diffsynth.runtime import Runtime

Dropout = Annotated[float, Field(ge=0, le=1, strict=False)]


class NoConditionConfig(ConfigModel):
    """The network is told nothing."""

    type: Literal["none"] = "none"

    def build(self, runtime: "Runtime") -> "Conditioner":
        return Nothing()


class ClassConditionConfig(ConfigModel):
    """The network is told the clip's class."""

    type: Literal["class"] = "class"
    num_classes: Annotated[int, Field(ge=1, le=1_000_000)]
    """How many classes there are."""
    dropout: Dropout = 0.1
    """How often training leaves the class out, so that samples can be guided."""

    def build(self, runtime: "Runtime") -> "Conditioner":
        return Classes(Condition("class", num_classes=self.num_classes, dropout=self.dropout))


class TextConditionConfig(ConfigModel):
    """The network is told the clip's caption, by way of a text encoder."""

    type: Literal["text"] = "text"
    encoder: ModelRef
    """The text encoder with its tokenizer: CLIP, T5 or BERT, as a folder or an id of the hub."""
    tokens: Annotated[int, Field(ge=2, le=1024)] = 77
    """Captions are cut to so many tokens."""
    dropout: Dropout = 0.1
    """How often training leaves the caption out, so that samples can be guided."""

    def build(self, runtime: "Runtime") -> "Conditioner":
        from diffsynth.training.captions import Captions

        return Captions.load(self.encoder, self.tokens, self.dropout, runtime)


ConditionConfig = Annotated[NoConditionConfig | ClassConditionConfig | TextConditionConfig, Field(discriminator="type")]


def encoder_of(condition: NoConditionConfig | ClassConditionConfig | TextConditionConfig) -> str | None:
    """The text encoder that a condition needs."""
    return condition.encoder if isinstance(condition, TextConditionConfig) else None


class Conditioner(Protocol):
    """From labels and captions to what the network is told."""

    @property
    def condition(self) -> Condition: ...

    def told(self, labels: Labels, captions: Texts) -> "Tensor | None":
        """(B, N, …) for N things to tell of each of B examples: of the clip, and of each picture beside it."""
        ...


class Nothing:
    """As `Conditioner`."""

    condition = Condition()

    def told(self, labels: Labels, captions: Texts) -> "Tensor | None":
        return None


class Classes:
    """As `Conditioner`."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition

    def told(self, labels: Labels, captions: Texts) -> "Tensor | None":
        import torch

        for label in (each for row in labels for each in row):
            if label is None:
                raise MediaError(
                    '"condition" is "class", but the data set has clips or pictures without a class. Choose one that '
                    'has classes ("class_folders", "ucf101"), or "condition": {"type": "none"}.'
                )
            if not 0 <= label < self.condition.num_classes:
                raise ConfigError([wrong_label(label, self.condition.num_classes)])
        return torch.tensor([list(row) for row in labels])


def wrong_label(label: int, count: int) -> str:
    return f"There is no class {label}: the network knows the classes 0 to {count - 1}. Choose one of them."
