"""Whether what a config names fits together, told from settings and headers on this machine; no torch.

What is on the hub, and pickled files, are looked at when a run begins: before any weights load too.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from diffsynth.config.fields import local_path
from diffsynth.errors import ModelError
from diffsynth.sd import anatomy
from diffsynth.sd.checkpoint_ref import CheckpointRef
from diffsynth.sd.folders import Settings, read_settings, require_weights
from diffsynth.sd.layout import check_clip_skip, check_controlnet, check_vae, read_checkpoint
from diffsynth.sd.lora_files import check_lora, family
from diffsynth.sd.tensor_files import SAFE, TensorFile, read_header
from diffsynth.sd.weight_files import weight_file
from diffsynth.tasks.adapters import EMBEDDING_NAMES, IP_NAMES, LORA_NAMES, Brought, LoraConfig
from diffsynth.tasks.controlnets import ControlNetConfig

USUAL_LAYERS = 12
"""What transformers takes where a text encoder's settings don't say it."""


@dataclass(frozen=True)
class Base:
    """What is known of the checkpoint that all else must fit."""

    name: str
    unet: Settings
    vae: Settings
    text_widths: tuple[int, ...]
    text_layers: tuple[int, ...]


def check(
    wanted: CheckpointRef,
    vae: str | None,
    nets: Sequence[ControlNetConfig],
    loras: Sequence[LoraConfig],
    embeddings: Sequence[Brought],
    pictures: Sequence[Brought],
    clip_skip: int,
) -> None:
    """Raise a `ModelError` for the first thing that doesn't fit."""
    base = base_of(wanted)
    if base is not None:
        check_networks(base, vae, [net.model_id for net in nets])
        for layers in base.text_layers:
            check_clip_skip(clip_skip, layers)
    check_loras(base, [each for each in loras if each.counts])
    check_embeddings(base, embeddings)
    check_pictures(base, pictures)


def base_of(wanted: CheckpointRef) -> Base | None:
    """None where it can't be told without fetching it, or without torch."""
    place = wanted.local
    if place is None:
        return None
    if place.is_dir():
        layout = read_checkpoint(place, wanted.variant)
        widths = tuple(int(each["hidden_size"]) for each in layout.text_encoders)
        layers = tuple(int(each.get("num_hidden_layers", USUAL_LAYERS)) for each in layout.text_encoders)
        return Base(place.name, layout.unet, layout.vae, widths, layers)
    if place.suffix != SAFE:
        return None
    file = read_header(place)
    prefixes = anatomy.text_prefixes(file)
    settings = None if wanted.config is None else local_path(wanted.config)

    def told(part: str, derived: Callable[[], Settings]) -> Settings:
        said = None if settings is None else settings / part / "config.json"
        return read_settings(said) if said is not None and said.is_file() else derived()

    texts = [anatomy.text_settings(file.shapes, prefix) for prefix in prefixes]
    return Base(
        place.name,
        told("unet", lambda: anatomy.unet_settings(file.shapes)),
        told("vae", lambda: anatomy.vae_settings(file.shapes, xl=len(prefixes) == 2)),
        tuple(int(each["hidden_size"]) for each in texts),
        tuple(int(each["num_hidden_layers"]) for each in texts),
    )


def check_networks(base: Base, vae: str | None, nets: Iterable[str]) -> None:
    """The autoencoder, ControlNets and T2I-Adapters."""
    if (folder := None if vae is None else local_path(vae)) is not None and folder.is_dir():
        require_weights(folder)
        check_vae(read_settings(folder / "config.json"), base.unet, folder, base.vae)
    for net in nets:
        if (folder := local_path(net)) is not None and folder.is_dir():
            require_weights(folder)
            check_controlnet(read_settings(folder / "config.json"), base.unet, folder, base.name)


def check_loras(base: Base | None, loras: Sequence[Brought]) -> None:
    width = None if base is None else int(base.unet["cross_attention_dim"])
    for file in _headers(loras, LORA_NAMES, "lora"):
        check_lora(file, width, "the checkpoint" if base is None else base.name)


def check_embeddings(base: Base | None, embeddings: Sequence[Brought]) -> None:
    for file in _headers(embeddings, EMBEDDING_NAMES, "textual_inversion"):
        widths = sorted(shape[-1] for shape in file.shapes.values() if shape)
        if base is not None and widths != sorted(base.text_widths):
            raise ModelError(
                f"{file.path}: its vectors are of width {' and '.join(map(str, widths)) or 'nothing'}, but {base.name} "
                f"reads {' and '.join(map(str, base.text_widths))}. Use a textual inversion that was made for that "
                "checkpoint."
            )


def check_pictures(base: Base | None, pictures: Sequence[Brought]) -> None:
    for file in _headers(pictures, IP_NAMES, "ip_adapter"):
        width = next((shape[1] for key, shape in file.shapes.items() if key.endswith("to_k_ip.weight")), None)
        if width is None:
            raise ModelError(f"{file.path}: is no IP-Adapter. Take the file from where it was published.")
        if base is not None and width != base.unet["cross_attention_dim"]:
            raise ModelError(
                f"{file.path}: this IP-Adapter is for {family(width)}, but {base.name} is "
                f"{family(int(base.unet['cross_attention_dim']))}. Use an adapter that was made for that checkpoint."
            )


def _headers(brought: Sequence[Brought], usual: Sequence[str], key: str) -> Iterable[TensorFile]:
    for number, each in enumerate(brought):
        if local_path(each.path) is not None:
            file = weight_file(each.path, each.weight_name, usual, f"{key}[{number}].path")
            if file.suffix == SAFE:
                yield read_header(file)
