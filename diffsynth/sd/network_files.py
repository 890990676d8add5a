"""A single network, an autoencoder or a ControlNet, from a folder, or from a file that is built as the checkpoint's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffsynth.errors import ModelError
from diffsynth.identity import glance
from diffsynth.processors.pretrained import folder_identity
from diffsynth.processors.weights import weights_identity
from diffsynth.sd import anatomy
from diffsynth.sd.folders import Settings, network_folder, network_identity, read_settings, require_weights
from diffsynth.sd.layout import CheckpointLayout, check_controlnet, check_vae, is_t2i_adapter
from diffsynth.sd.lora_files import family
from diffsynth.sd.tensor_files import Shapes, TensorFile, open_tensors

HINT, CONTROL = "input_hint_block.", "control_model."
EMBEDDING = "controlnet_cond_embedding."
VAE_PREFIXES = (anatomy.VAE, "vae.", "")


class Source(Protocol):
    """Where a network comes from. It was found to fit the checkpoint."""

    @property
    def identity(self) -> str: ...
    @property
    def content(self) -> str:
        """Tells it from another, for what is kept of its work."""
        ...

    @property
    def settings(self) -> Settings: ...
    def load(self, dtype: Any) -> Any:
        """On the CPU, for inference only."""
        ...


@dataclass(frozen=True)
class FolderSource:
    folder: Path
    settings: Settings
    variant: str | None

    @property
    def identity(self) -> str:
        return network_identity(self.folder)

    @property
    def content(self) -> str:
        return folder_identity(self.folder)

    def load(self, dtype: Any) -> Any:
        import diffusers

        from diffsynth.sd.load import load_network

        kind = getattr(diffusers, str(self.settings["_class_name"]))
        return load_network(kind, self.folder, dtype, self.variant)


@dataclass(frozen=True)
class FileSource:
    file: TensorFile
    settings: Settings
    named: Callable[[TensorFile, Settings], Mapping[str, Any]]
    """Its weights in diffusers' names."""

    @property
    def identity(self) -> str:
        return glance([self.file.path])

    @property
    def content(self) -> str:
        return weights_identity(self.file.path)

    def load(self, dtype: Any) -> Any:
        import diffusers

        from diffsynth.sd.blueprint import plain
        from diffsynth.sd.load import filled

        kind = getattr(diffusers, str(self.settings["_class_name"]))
        return filled(
            lambda: kind.from_config(plain(self.settings)), self.named(self.file, self.settings), dtype, self.file.path
        )


def vae_source(reference: str, layout: CheckpointLayout, variant: str | None) -> Source:
    """Another autoencoder in the place of the checkpoint's."""
    path = Path(reference)
    if path.is_absolute() and path.is_file():
        file = _opened(path, "vae")
        if not any(f"{prefix}decoder.conv_in.weight" in file.shapes for prefix in VAE_PREFIXES):
            raise ModelError(f"{path}: is no autoencoder of Stable Diffusion; it holds no decoder.conv_in.weight.")
        return FileSource(file, layout.vae, _vae_named)
    folder = network_folder(reference, "vae", variant)
    require_weights(folder)
    settings = read_settings(folder / "config.json")
    check_vae(settings, layout.unet, folder, layout.vae)
    return FolderSource(folder, {"_class_name": "AutoencoderKL", **settings}, variant)


def _vae_named(file: TensorFile, settings: Settings) -> Mapping[str, Any]:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    prefix = next(each for each in VAE_PREFIXES if f"{each}decoder.conv_in.weight" in file.shapes)
    found = file.tensors(name for name in file.shapes if name.startswith(prefix))
    bare = {name.removeprefix(prefix): each for name, each in found.items()}
    if "decoder.conv_norm_out.weight" in bare:
        return bare
    under = {f"{anatomy.VAE}{name}": each for name, each in bare.items()}
    named: Mapping[str, Any] = convert_ldm_vae_checkpoint(under, dict(settings))  # type: ignore[no-untyped-call]
    return named


def control_source(reference: str, layout: CheckpointLayout, variant: str | None) -> Source:
    """A ControlNet or T2I-Adapter."""
    path = Path(reference)
    if path.is_absolute() and path.is_file():
        file = _opened(path, "controlnets[].model_id")
        return FileSource(file, _control_settings(file, layout), _control_named)
    folder = network_folder(reference, "controlnets[].model_id", variant)
    require_weights(folder)
    settings = read_settings(folder / "config.json")
    check_controlnet(settings, layout.unet, folder, layout.place.name)
    kind = "T2IAdapter" if is_t2i_adapter(settings) else "ControlNetModel"
    return FolderSource(folder, {**settings, "_class_name": kind}, variant)


def _control_settings(file: TensorFile, layout: CheckpointLayout) -> Settings:
    """Those of the checkpoint's denoiser, of which a ControlNet is a copy; what reads the condition, from the file."""
    shapes = _bare(file.shapes)
    names = [f"{HINT}{number}.weight" for number in (0, 4, 8, 12)]
    if names[0] not in shapes:
        names = [f"{EMBEDDING}conv_in.weight", *(f"{EMBEDDING}blocks.{number}.weight" for number in (1, 3, 5))]
    if any(name not in shapes for name in names):
        raise ModelError(
            f"{file.path}: is no ControlNet; it holds no {HINT}* and no {EMBEDDING}*. Of another network give the "
            "folder with its config.json."
        )
    reads = next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")), None)
    wanted = int(layout.unet["cross_attention_dim"])
    if reads != wanted:
        raise ModelError(
            f"{file.path}: this ControlNet is for {family(reads or 0)}, but {layout.place.name} is {family(wanted)}. "
            "Use a ControlNet made for that checkpoint."
        )
    copied = {
        key: value
        for key, value in layout.unet.items()
        if key in COPIED or key.startswith(("addition_", "norm_", "attention_"))
    }
    return {
        **copied,
        "_class_name": "ControlNetModel",
        "conditioning_embedding_out_channels": [shapes[name][0] for name in names],
        # The file itself does not say so; the one net of this kind that is published has it in its name.
        "global_pool_conditions": "shuffle" in file.path.name.lower(),
    }


COPIED = {
    "in_channels",
    "down_block_types",
    "mid_block_type",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "num_attention_heads",
    "use_linear_projection",
    "upcast_attention",
    "projection_class_embeddings_input_dim",
}


def _bare(shapes: Shapes) -> Shapes:
    return {name.removeprefix(CONTROL): shape for name, shape in shapes.items()}


def _control_named(file: TensorFile, settings: Settings) -> Mapping[str, Any]:
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    found = {name.removeprefix(CONTROL): each for name, each in file.tensors(file.shapes).items()}
    named: Mapping[str, Any] = convert_controlnet_checkpoint(found, settings)  # type: ignore[no-untyped-call]
    return named


def _opened(path: Path, key: str) -> TensorFile:
    if (path.parent / "config.json").is_file():
        raise ModelError(
            f'{path}: lies in a folder with its config.json; "{key}" must be a folder then: {path.parent}.'
        )
    file = open_tensors(path, key)
    if any("lora" in name for name in file.shapes):
        raise ModelError(f'{path}: is a LoRA. Name it under "lora".')
    return file
