"""A checkpoint, whichever way it is stored: what its parts are like, and the parts themselves."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from diffsynth.processors.pretrained import folder_identity as content_identity
from diffsynth.sd.folders import Settings, checkpoint_folder, network_identity
from diffsynth.sd.layout import CheckpointLayout, folder_identity, read_checkpoint

PredictionName = Literal["auto", "epsilon", "v_prediction"]
SpacingName = Literal["auto", "leading", "trailing", "linspace"]


@dataclass(frozen=True)
class CheckpointRef:
    """What a config says about where a checkpoint is and how it is to be read."""

    reference: str
    config: str | None = None
    """Where a single file's settings and vocabulary are."""
    prediction: PredictionName = "auto"
    spacing: SpacingName = "auto"
    revision: str | None = None
    variant: str | None = None

    @property
    def local(self) -> Path | None:
        return Path(self.reference) if Path(self.reference).is_absolute() else None

    @property
    def is_file(self) -> bool:
        return self.local is not None and self.local.is_file()

    def scheduler(self, settings: Settings) -> Settings:
        """The checkpoint's scheduler settings, with what the config says instead."""
        said = {"prediction_type": self.prediction, "timestep_spacing": self.spacing}
        return {**settings, **{key: value for key, value in said.items() if value != "auto"}}


class Checkpoint(Protocol):
    """Networks come on the CPU, for inference only."""

    @property
    def layout(self) -> CheckpointLayout: ...
    @property
    def identity(self) -> str:
        """Tells its parts from another checkpoint's, the autoencoder apart."""
        ...

    @property
    def vae_identity(self) -> str: ...
    @property
    def vae_content(self) -> str:
        """Tells its autoencoder from another, for what is kept of its work."""
        ...

    @property
    def scheduler_origin(self) -> str:
        """Where its scheduler settings come from, for messages."""
        ...

    def unet(self, dtype: Any) -> Any: ...
    def vae(self, dtype: Any) -> Any: ...
    def text_encoder(self, number: int, dtype: Any) -> Any: ...
    def tokenizer(self, number: int) -> Any: ...


@dataclass(frozen=True)
class FolderCheckpoint:
    """In diffusers' layout."""

    layout: CheckpointLayout
    variant: str | None = None

    @property
    def identity(self) -> str:
        return folder_identity(self.layout)

    @property
    def vae_identity(self) -> str:
        return network_identity(self.layout.place / "vae")

    @property
    def vae_content(self) -> str:
        return content_identity(self.layout.place / "vae")

    @property
    def scheduler_origin(self) -> str:
        return str(self.layout.place / "scheduler" / "scheduler_config.json")

    def unet(self, dtype: Any) -> Any:
        from diffusers import UNet2DConditionModel

        return self._network(UNet2DConditionModel, "unet", dtype)

    def vae(self, dtype: Any) -> Any:
        from diffsynth.sd.load import load_vae

        return load_vae(self.layout.place / "vae", dtype, self.variant)

    def text_encoder(self, number: int, dtype: Any) -> Any:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        return self._network((CLIPTextModel, CLIPTextModelWithProjection)[number], _part("text_encoder", number), dtype)

    def tokenizer(self, number: int) -> Any:
        from diffsynth.sd.load import load_tokenizer

        return load_tokenizer(self.layout.place / _part("tokenizer", number))

    def _network(self, kind: Any, part: str, dtype: Any) -> Any:
        from diffsynth.sd.load import load_network

        return load_network(kind, self.layout.place / part, dtype, self.variant)


def _part(name: str, number: int) -> str:
    return name if number == 0 else f"{name}_{number + 1}"


def open_checkpoint(wanted: CheckpointRef) -> Checkpoint:
    """A checkpoint's settings, read and checked; its weights lie still."""
    if wanted.is_file:
        from diffsynth.sd.single_file import open_single_file

        return open_single_file(wanted)
    folder = checkpoint_folder(wanted.reference, wanted.revision, wanted.variant)
    return FolderCheckpoint(read_checkpoint(folder, wanted.variant), wanted.variant)
