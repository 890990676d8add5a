"""Checkpoints of VideoGeneration-PyTorch: its autoencoder and its Latte."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsynth.config import Override, apply, checked, source
from diffsynth.errors import ConfigError, DiffSynthError, ModelError
from diffsynth.imports.base import WEIGHTS, Imported, target
from diffsynth.models.base import VideoShape
from diffsynth.models.weights import differing, require_axes

if TYPE_CHECKING:
    from torch import Tensor


class VideoGenerationVae:
    """As `Format`."""

    name = "VideoGeneration-PyTorch's autoencoder (vae_autoencoder_ckpt.pth)"

    def recognises(self, path: Path) -> bool:
        if path.suffix not in WEIGHTS:
            return False
        from diffsynth.models.videogeneration_files import is_autoencoder

        return is_autoencoder(_weights_if_any(path))

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        from diffsynth.models.videogeneration_files import AXES, autoencoder_numbers
        from diffsynth.models.weight_files import read_weights
        from diffsynth.training.autoencoders import AutoencoderFacts
        from diffsynth.training.checkpoint import write_weights
        from diffsynth.training.facts import AUTOENCODER, Facts

        place = target(path, output, ".safetensors")
        weights = read_weights(path)
        require_axes(path, weights, AXES)
        found = autoencoder_numbers(weights)
        given = {each.keys for each in overrides}
        if found.has_attention and ("autoencoder", "num_heads") not in given:
            raise ConfigError(
                [f"{path}: its weights don't tell its heads. Add --set autoencoder.num_heads=…, as its YAML says."]
            )
        tree = {"autoencoder": {"type": "video_vae", **found.keys}, "frame_channels": found.frame_channels}
        if not found.has_attention:
            tree["autoencoder"]["num_heads"] = 1  # type: ignore[index]  # of nothing: any number will do
        here = Path.cwd()
        facts = checked(AutoencoderFacts, apply(source(tree, here), overrides, here), str(path))
        _require_fit(path, facts.autoencoder.build(facts.frame_channels).state_dict(), weights)
        told = Facts(facts.model_dump(mode="json", exclude_none=True), 0, {}, AUTOENCODER)
        write_weights(place, dict(weights), told)
        words = [
            f"Autoencoder: {_millions(weights)} million weights, latents of {facts.autoencoder.z_channels} channels."
        ]
        if ("autoencoder", "norm_channels") not in given:
            words.append(
                "Its norms are taken to have 32 groups; --set autoencoder.norm_channels=… where they have others."
            )
        return Imported(place, tuple(words))


class VideoGenerationCritic:
    """As `Format`."""

    name = "VideoGeneration-PyTorch's discriminator (vae_discriminator_ckpt.pth)"

    def recognises(self, path: Path) -> bool:
        from diffsynth.models.videogeneration_files import is_critic

        return is_critic(_weights_if_any(path))

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        from diffsynth.models.patch_critic import PatchCritic
        from diffsynth.models.videogeneration_files import critic_weights
        from diffsynth.models.weight_files import read_weights
        from diffsynth.training.checkpoint import write_weights
        from diffsynth.training.facts import CRITIC, Facts

        place = target(path, output, ".safetensors")
        if overrides:
            raise ConfigError([f"{path}: its weights tell all of it. Leave --set {overrides[0].keys[0]}=… out."])
        try:
            own = critic_weights(read_weights(path))
        except ValueError:
            raise ModelError(f"{path}: is not the network that it looks like.") from None
        ordered = sorted((name for name in own if own[name].ndim == 4), key=lambda name: int(name.split(".")[1]))
        channels, widths = int(own[ordered[0]].shape[1]), [int(own[name].shape[0]) for name in ordered[:-1]]
        _require_fit(path, PatchCritic(channels, widths, settled=True).state_dict(), own)
        write_weights(place, own, Facts({"frame_channels": channels, "disc_channels": widths}, 0, {}, CRITIC))
        words = (
            f'"disc_pretrained" of train_vae names it, beside "disc_channels": {widths}.',
            "Its batch norms stay at what they gathered: here, what it says of a frame hangs on that frame alone.",
        )
        return Imported(place, words)


class VideoGenerationLatte:
    """As `Format`."""

    name = "VideoGeneration-PyTorch's Latte (dit_ckpt.pth)"

    def recognises(self, path: Path) -> bool:
        if path.suffix not in WEIGHTS:
            return False
        from diffsynth.models.videogeneration_files import is_latte

        return is_latte(_weights_if_any(path))

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        from diffsynth.models.videogeneration_files import AXES, latte_config, latte_weights
        from diffsynth.models.weight_files import read_weights
        from diffsynth.training.autoencoders import autoencoder
        from diffsynth.training.checkpoint import write_weights
        from diffsynth.training.facts import Facts
        from diffsynth.training.video_model import VideoModelConfig

        place = target(path, output, ".safetensors")
        here = Path.cwd()
        told = apply(source({}, here), overrides, here)
        problems = [
            f'{path}: its weights don\'t tell "{key}". Add --set {key}=…, {what}.'
            for key, what in (
                ("size", 'the "frame_height" and "frame_width" that it was trained with, as [height, width]'),
                ("frames", 'the "num_frames" that it was trained with'),
                ("vae", "the imported autoencoder, or another one that it was trained with"),
            )
            if key not in told
        ]
        if problems:
            raise ConfigError(problems)
        weights = read_weights(path)
        require_axes(path, weights, AXES)
        numbers = told.pop("backbone", {})
        config, channels = latte_config(weights, **{key: numbers[key] for key in ("patch", "heads") if key in numbers})
        tree: dict[str, Any] = {
            "space": "latent",
            "backbone": config.model_dump(mode="json", exclude_none=True),
            **told,
        }
        model = checked(VideoModelConfig, tree, str(path))
        found = autoencoder(str(model.vae))
        if "frame_channels" not in told:
            model = model.model_copy(update={"frame_channels": found.frame_channels})
        if found.channels != channels:
            raise ModelError(
                f"{path}: works on latents of {channels} channels, but those of {model.vae} have {found.channels}. "
                "Name the autoencoder that it was trained with, or set backbone.patch."
            )
        height, width = model.size
        shape = VideoShape(model.frames, channels, height // found.factor, width // found.factor)
        own = latte_weights(weights, config, shape)
        _require_fit(path, config.build(shape, _none(), learned_sigma=False).state_dict(), own)
        write_weights(place, own, Facts(model.model_dump(mode="json", exclude_none=True), 0, {}))
        numbers_told = f"hidden {config.hidden}, depth {config.depth}, {config.heads} heads, patch {config.patch}"
        words = [f"Latte: {numbers_told}; {_millions(weights)} million weights."]
        if found.scale != 1:
            words.append(
                f"Latents are multiplied by {found.scale:.4g}, as {model.vae} says; it was trained with 1 there."
            )
        return Imported(place, tuple(words))


def _none() -> Any:
    from diffsynth.models.base import Condition

    return Condition()


def _weights_if_any(path: Path) -> "Mapping[str, Tensor]":
    from diffsynth.models.weight_files import read_weights

    try:
        return read_weights(path)
    except DiffSynthError:
        return {}


def _require_fit(path: Path, expected: "Mapping[str, Tensor]", found: "Mapping[str, Tensor]") -> None:
    differences = differing(expected, found)
    if differences:
        raise ModelError(f"{path}: is not the network that it looks like: {'; '.join(differences)}.")


def _millions(weights: "Mapping[str, Tensor]") -> str:
    return f"{sum(each.numel() for each in weights.values()) / 1e6:.3f}"
