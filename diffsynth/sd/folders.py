"""Folders of weights: which files they hold, which copy of them counts, and how they come from the hub. No torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffsynth import hub
from diffsynth.errors import MissingFileError, ModelError
from diffsynth.identity import glance

Settings = Mapping[str, Any]

STEM = "diffusion_pytorch_model"
TEXT_STEMS = ("model", "pytorch_model")
PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": (STEM,),
    "vae": (STEM,),
    "text_encoder": TEXT_STEMS,
    "tokenizer": (),
    "scheduler": (),
}
"""The folders of a checkpoint, and how the weights in each may be called."""
XL_PARTS: Mapping[str, tuple[str, ...]] = {**PARTS, "text_encoder_2": TEXT_STEMS, "tokenizer_2": ()}
HALF = "fp16"
"""The mark in the names of weights that were saved in half precision."""


def checkpoint_folder(reference: str, revision: str | None = None, variant: str | None = None) -> Path:
    """The local folder of a checkpoint; from the hub only what diffusers needs is fetched."""
    local = Path(reference)
    if local.is_absolute():
        return local
    settings = ["model_index.json", "tokenizer/*", "tokenizer_2/*", "scheduler/*.json"]
    settings += [f"{part}/config.json" for part, stems in XL_PARTS.items() if stems]
    return _fetched(reference, '"model_id"', settings, XL_PARTS, revision, variant)


def network_folder(reference: str, key: str, variant: str | None = None) -> Path:
    """The local folder of a single network (a ControlNet, an autoencoder)."""
    local = Path(reference)
    if local.is_absolute():
        return local
    return _fetched(reference, f'"{key}"', ["config.json"], {"": (STEM,)}, None, variant)


def _fetched(
    model_id: str,
    key: str,
    settings: Sequence[str],
    parts: Mapping[str, Sequence[str]],
    revision: str | None,
    variant: str | None,
) -> Path:
    """A model of the hub: of the copies of its weights the wanted ones, else the first that are there for all parts."""
    marks = dict.fromkeys((variant or "", "", HALF))
    for suffix, mark in [(suffix, mark) for suffix in ("safetensors", "bin") for mark in marks]:
        end = f".{mark}.{suffix}" if mark else f".{suffix}"
        wanted = list(settings)
        for part, stems in parts.items():
            for stem in stems:
                base = f"{part}/{stem}" if part else stem
                shards = f"-*-of-*{end}"
                index = f".{suffix}.index.{mark}.json" if mark else f".{suffix}.index.json"
                wanted += [f"{base}{each}" for each in (end, shards, index)]
        folder = hub.snapshot(model_id, wanted, key, revision)
        there = [part for part in parts if parts[part] and (folder / part / "config.json").is_file()]
        if there and all(weight_files(folder / part) for part in there):
            break
    return folder


def network_identity(folder: Path) -> str:
    """Tells a single network from another."""
    return glance(held_files(folder))


def held_files(folder: Path) -> list[Path]:
    """The files of a part that say what it computes."""
    return sorted(each for each in folder.iterdir() if each.suffix in {".json", ".txt", ".safetensors", ".bin"})


def require_weights(folder: Path, stems: Sequence[str] = (STEM,)) -> None:
    require_file(folder / "config.json")
    names = _weight_names(stems)
    if not any((folder / name).is_file() for name in (*names, *_weight_names(stems, HALF))):
        raise MissingFileError(f"{folder}: holds no weights; {' or '.join(names)} is needed.")


def _weight_names(stems: Sequence[str], variant: str = "") -> list[str]:
    """As diffusers and transformers call them: one file, or the index of several."""
    mark = f".{variant}" if variant else ""
    ends = (f"{mark}.safetensors", f".safetensors.index{mark}.json", f"{mark}.bin")
    return [f"{stem}{end}" for stem in stems for end in ends]


def weight_variant(folder: Path, wanted: str | None = None) -> str | None:
    """The mark in the names of the weights to load: the wanted one where it is there, else none, else half precision.

    A part of a checkpoint that has no such copy is taken as it is.
    """
    stems = tuple(dict.fromkeys(stem for names in PARTS.values() for stem in names))

    def there(mark: str) -> bool:
        return any((folder / name).is_file() for name in _weight_names(stems, mark))

    if wanted and there(wanted):
        return wanted
    return None if there("") else HALF


def require_file(file: Path) -> None:
    if not file.is_file():
        raise MissingFileError(f"{file}: is missing. The checkpoint is not whole; copy or download it again.")


def read_settings(file: Path) -> Settings:
    require_file(file)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ModelError(f"{file}: is no JSON ({problem}). Copy or download it again.") from problem
    if not isinstance(found, dict):
        raise ModelError(f"{file}: holds no settings.")
    return found


def weight_files(folder: Path, wanted: str | None = None) -> list[Path]:
    """The files that a network is loaded from; of several copies in other formats the first counts."""
    mark = weight_variant(folder, wanted)
    for suffix in ("safetensors", "bin"):
        found = [each for each in folder.glob(f"*.{suffix}") if "ema" not in each.name]
        files = sorted(each for each in found if _mark(each) == mark)
        if files:
            return files
    return []


def _mark(file: Path) -> str | None:
    """`fp16` of `model.fp16.safetensors`, and of a part of one, `model.fp16-00001-of-00002.safetensors`."""
    inner = Path(file.stem).suffix.removeprefix(".")
    return inner.split("-")[0] or None
