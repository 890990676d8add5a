"""A checkpoint, whichever way it is stored: what its parts are like, and the parts themselves."""

from dataclasses import dataclass
from typing import Any, Protocol

from diffsynth.processors.pretrained import folder_identity as content_identity
from diffsynth.sd.checkpoint_ref import CheckpointRef
from diffsynth.sd.folders import checkpoint_folder, network_identity
from diffsynth.sd.layout import CheckpointLayout, folder_identity, read_checkpoint


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
