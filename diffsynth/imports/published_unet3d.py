"""Checkpoints of the published package of the space-time U-net, with its `GaussianDiffusion` and `Trainer`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsynth.config import Override, apply, checked, source
from diffsynth.errors import ConfigError, ModelError
from diffsynth.imports.base import WEIGHTS, Imported, target

if TYPE_CHECKING:
    from torch import Tensor

    from diffsynth.training.video_model import VideoModelConfig

BERT, BERT_WIDTH = "google-bert/bert-base-cased", 768
"""The encoder that the package is told text by, and its width."""
SHAPE_KEYS = ("size", "frames")
FOR_READING = ("resnet_groups", "skip_from")
"""Keys of the backbone that weights don't tell."""


class PublishedUnet3D:
    """As `Format`."""

    name = "video-diffusion-pytorch's Unet3D (.pt of its Trainer, or bare weights)"

    def recognises(self, path: Path) -> bool:
        if path.suffix not in WEIGHTS:
            return False
        from diffsynth.models.unet3d_files import is_published_unet

        return is_published_unet(path)

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        from diffsynth.models.unet3d_files import PublishedUnet3D as Found
        from diffsynth.models.unet3d_files import read_published_unet
        from diffsynth.training.checkpoint import write_weights
        from diffsynth.training.facts import Facts
        from diffsynth.training.video_model import VideoModelConfig

        place = target(path, output, ".safetensors")
        missing = [key for key in SHAPE_KEYS if (key,) not in {each.keys for each in overrides}]
        if missing:
            raise ConfigError(
                [f'{path}: its weights don\'t tell "{key}". Add --set {key}=…, as it was trained.' for key in missing]
            )
        given: dict[str, Any] = {
            each.keys[1]: each.value
            for each in overrides
            if len(each.keys) == 2 and each.keys[0] == "backbone" and each.keys[1] in FOR_READING
        }
        if "resnet_groups" in given:
            given["groups"] = given.pop("resnet_groups")
        found: Found = read_published_unet(path, **given)
        tree: dict[str, Any] = {
            "frame_channels": found.channels,
            "space": "pixel",
            "backbone": found.config.model_dump(mode="json", exclude_none=True),
            "condition": _condition(path, found.told, overrides),
            "diffusion": {
                "objective": "epsilon",
                "beta_schedule": "cosine",
                "train_steps": found.config.clock,
                "loss": "l1",
                "variance": "learned_range" if found.learned_sigma else "fixed",
            },
        }
        here = Path.cwd()
        model = checked(VideoModelConfig, apply(source(tree, here), overrides, here), str(path))
        weights = {f"denoise_fn.{name}": each for name, each in found.weights.items()}
        if model.space == "pixel":
            _require_fit(path, model, found.told, weights)
        facts = Facts(model.model_dump(mode="json", exclude_none=True), found.step, {})
        write_weights(place, weights, facts)
        millions = sum(each.numel() for each in weights.values()) / 1e6
        told = "" if found.told is None else f", told a vector of {found.told}"
        numbers = f"dim {found.config.dim}, levels {list(found.config.dim_mults)}{told}"
        return Imported(place, (f"Unet3D: {numbers}; {millions:.3f} million weights of step {found.step}.",))


def _require_fit(path: Path, model: "VideoModelConfig", told: int | None, weights: "Mapping[str, Tensor]") -> None:
    """Overrides may describe another network than the weights are of, or frames that it can't halve."""
    import torch

    from diffsynth.models import Condition, VideoShape
    from diffsynth.models.weights import differing

    shape = VideoShape(model.frames, model.frame_channels, *model.size)
    condition = Condition() if told is None else Condition("text", text_dim=told)
    with torch.device("meta"):
        expected = model.backbone.build(shape, condition, learned_sigma=model.diffusion.learned_sigma).state_dict()
    if differences := differing(expected, weights):
        raise ModelError(f"{path}: is not of the network that is described: {'; '.join(differences)}.")


def _condition(path: Path, told: int | None, overrides: Sequence[Override]) -> dict[str, Any]:
    if told is None:
        return {"type": "none"}
    named = ("condition", "encoder") in {each.keys for each in overrides}
    if told != BERT_WIDTH and not named:
        problem = (
            f"{path}: the network is told vectors of {told} numbers, which BERT-base doesn't make. "
            "Add --set condition.encoder=…: the folder or hub id of the text encoder that it was trained with."
        )
        raise ConfigError([problem])
    return {"type": "text", "encoder": BERT, "dropout": 0.1}
