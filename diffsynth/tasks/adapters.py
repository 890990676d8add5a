"""What users bring beside a checkpoint: LoRAs, learned words, pictures as prompts."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field, WithJsonSchema

from diffsynth.config import ConfigModel, Contradiction, ModelRef, OptionalPath
from diffsynth.config.fields import ExistingPath
from diffsynth.config.keyed import Keyed, values
from diffsynth.sd.tensor_files import PICKLED, SAFE
from diffsynth.tracks import Track, number_at

LORA_NAMES = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")
"""What diffusers calls a LoRA in a folder."""
EMBEDDING_NAMES = ("learned_embeds.safetensors", "learned_embeds.bin")
"""And a textual inversion."""
IP_NAMES = ("ip-adapter_sd15.safetensors", "ip-adapter_sd15.bin")
ENCODER = "image_encoder"
"""The folder of an IP-Adapter's image encoder, beside its file."""


class Brought(Protocol):
    """Anything that is a file of weights."""

    @property
    def path(self) -> str: ...
    @property
    def weight_name(self) -> str | None: ...


class LoraConfig(ConfigModel):
    """One LoRA, how strong it is, and when."""

    path: ModelRef
    """A file (.safetensors, .pt, .bin) in diffusers' or kohya's layout, a folder with one, or an id on the hub."""
    weight_name: Annotated[str, Field(min_length=1)] | None = None
    """The name of the file in a folder or on the hub; left out, `pytorch_lora_weights.safetensors`, or the only one."""
    scale: Keyed[Annotated[float, Field(ge=-10, le=10)]] = 1.0
    """Its strength in the denoiser."""
    text_encoder_scale: Annotated[float, Field(ge=-10, le=10)] | None = None
    """Its strength in the text encoders; left out, that of `scale` (the first, by frame)."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    """From which part of the steps on it acts in the denoiser."""
    end: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Until which part of the steps it acts in the denoiser."""

    @property
    def text_scale(self) -> float:
        first = number_at(Track.of(self.scale), 0)
        return first if self.text_encoder_scale is None else self.text_encoder_scale

    @property
    def counts(self) -> bool:
        return any(values(self.scale)) or self.text_scale != 0

    def contradictions(self, name: str) -> Iterator[Contradiction]:
        if self.start >= self.end:
            yield Contradiction(("lora",), f'{name}: "end" ({self.end}) must come after "start" ({self.start}).')
        yield from weight_name_contradiction("lora", name, self.path, self.weight_name)


class TextualInversionConfig(ConfigModel):
    """A learned word for the prompts."""

    path: ModelRef
    """A file (.safetensors, .pt, .bin) in diffusers', the web UI's or XL's layout, a folder with one, or an id on the
    hub."""
    weight_name: Annotated[str, Field(min_length=1)] | None = None
    """The name of the file in a folder or on the hub; left out, `learned_embeds.safetensors`, or the only one."""
    token: Annotated[str, Field(min_length=1)] | None = None
    """What stands for it in the prompts; left out, what the file says, else the file's name."""

    def contradictions(self, name: str) -> Iterator[Contradiction]:
        yield from weight_name_contradiction("textual_inversion", name, self.path, self.weight_name)


_PATH = {"type": "string", "format": "path", "minLength": 1}


def _one_is_a_list(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


class IpAdapterConfig(ConfigModel):
    """Pictures as a prompt."""

    path: ModelRef
    """An IP-Adapter's file (.safetensors, .bin), a folder with one, or an id on the hub."""
    weight_name: Annotated[str, Field(min_length=1)] | None = None
    """The name of the file in a folder or on the hub, with its folders, as `models/ip-adapter_sd15.bin`."""
    image: Annotated[
        tuple[ExistingPath, ...],
        Field(strict=False, min_length=1),
        BeforeValidator(_one_is_a_list),
        WithJsonSchema({"anyOf": [_PATH, {"type": "array", "items": _PATH, "minItems": 1}]}),
    ]
    """The picture, or a list of pictures."""
    image_encoder: ModelRef | None = None
    """The folder of the CLIP vision model that it was published with; left out, `image_encoder` beside the file."""
    scale: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """Its strength."""
    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    """From which part of the steps on it acts."""
    end: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Until which part of the steps it acts."""
    mask: OptionalPath = None
    """A picture that is white where it acts; it is stretched over the frames."""

    def contradictions(self, name: str) -> Iterator[Contradiction]:
        if self.start >= self.end:
            yield Contradiction(("ip_adapter",), f'{name}: "end" ({self.end}) must come after "start" ({self.start}).')
        yield from weight_name_contradiction("ip_adapter", name, self.path, self.weight_name)


def weight_name_contradiction(key: str, name: str, path: str, weight_name: str | None) -> Iterator[Contradiction]:
    local = Path(path)
    if weight_name is not None and local.is_absolute() and local.is_file():
        yield Contradiction((key,), f'{name}: "path" is a file already; leave "weight_name" out.')
    if local.is_absolute() and local.is_file() and local.suffix not in (SAFE, *PICKLED):
        yield Contradiction((key,), f"{name}: {local.name} is no file of weights ({SAFE}, {', '.join(PICKLED)}).")


def brought_models(files: Iterable[Brought], pictures: Sequence[IpAdapterConfig]) -> list[str]:
    """The paths and hub ids of all that is brought."""
    encoders = [each.image_encoder for each in pictures if each.image_encoder]
    return [*(each.path for each in files), *(each.path for each in pictures), *encoders]


def shown(pictures: Sequence[IpAdapterConfig]) -> dict[str, Path]:
    """The pictures and masks that a result depends on, by their keys."""
    images = {
        f"ip_adapter[{i}].image[{k}]": path for i, each in enumerate(pictures) for k, path in enumerate(each.image)
    }
    return images | {f"ip_adapter[{i}].mask": each.mask for i, each in enumerate(pictures) if each.mask}
