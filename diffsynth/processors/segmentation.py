"""`ControlnetImageProcesserSegmentation`: what each pixel belongs to, in the colours of ADE20K."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from diffsynth.config import ModelRef
from diffsynth.errors import ModelError
from diffsynth.frames import Image
from diffsynth.processors.base import Mapper, PerFrame, Processor
from diffsynth.processors.network import BatchedSettings
from diffsynth.processors.pretrained import folder_identity, image_processor, model_folder, prepared, pretrained
from diffsynth.processors.weights import annotator, require
from diffsynth.runtime import Runtime

if TYPE_CHECKING:
    import torch


class ControlnetImageProcessorSegmentationConfig(BatchedSettings):
    """What each pixel belongs to, in the colours of ADE20K."""

    type: Literal["ControlnetImageProcesserSegmentation"] = Field(
        default="ControlnetImageProcesserSegmentation", exclude=True
    )
    model_path: ModelRef = "openmmlab/upernet-convnext-small"
    """A semantic segmentation model of transformers with the classes of ADE20K: a folder, or an id on the hub."""
    detect_resolution: Annotated[int, Field(ge=64, le=8192)] | None = None
    """Side of what the network sees; left out, the one that comes with the model."""

    def models(self) -> tuple[str, ...]:
        return (self.model_path,)

    def build(self, runtime: Runtime) -> Processor:
        name = self.name()
        require("controlnet_aux", name)
        folder = model_folder(self.model_path, name)
        place, resolution = self.place(runtime), self.detect_resolution

        def load() -> "torch.nn.Module":
            return pretrained("AutoModelForSemanticSegmentation", folder, name)

        @contextmanager
        def opened() -> Iterator[Mapper]:
            colours = np.array(annotator("util", name).ade_palette(), np.uint8)
            preparation = image_processor(folder, name)
            with place.holding(load) as network:
                yield lambda frames: _coloured(network, preparation, frames, resolution, colours)

        fingerprint = self.fingerprint(weights=folder_identity(folder), precision=place.precision)
        return PerFrame(fingerprint, opened, self.batch_size)


def _coloured(
    network: "torch.nn.Module", preparation: Any, frames: Sequence[Image], resolution: int | None, colours: Image
) -> list[Image]:
    import torch

    inputs = prepared(preparation, frames, resolution, next(network.parameters()))
    height, width = frames[0].shape[:2]
    with torch.inference_mode():
        scores = network(inputs).logits.float()
        grown = torch.nn.functional.interpolate(scores, (height, width), mode="bilinear", align_corners=False)
    classes = grown.argmax(1).cpu().numpy()
    if scores.shape[1] > len(colours):
        raise ModelError(
            f"ControlnetImageProcesserSegmentation: the model knows {scores.shape[1]} classes, the colours of ADE20K "
            f"are {len(colours)}. Give a model that was trained on ADE20K."
        )
    return list(colours[classes])
