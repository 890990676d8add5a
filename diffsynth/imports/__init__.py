"""Files of other systems to ours: checkpoints to safetensors with the model's config inside, configs to JSON.

A kind of file is a `Format`, one file each; to add one is to add a file and a line in `formats`.
"""

from collections.abc import Sequence
from pathlib import Path

from diffsynth.config import Override
from diffsynth.errors import DiffSynthError, MissingFileError, ModelError
from diffsynth.imports.base import WEIGHTS, Format, Imported
from diffsynth.imports.yaml_configs import parsed


def formats() -> tuple[Format, ...]:
    """All kinds of files, in the order that they are tried."""
    from diffsynth.imports.latte_yaml import LatteYaml
    from diffsynth.imports.official_latte import OfficialLatte
    from diffsynth.imports.published_unet3d import PublishedUnet3D
    from diffsynth.imports.videogeneration import VideoGenerationCritic, VideoGenerationLatte, VideoGenerationVae
    from diffsynth.imports.videogeneration_yaml import VideoGenerationYaml

    return (
        PublishedUnet3D(),
        OfficialLatte(),
        VideoGenerationVae(),
        VideoGenerationCritic(),
        VideoGenerationLatte(),
        VideoGenerationYaml(),
        LatteYaml(),
    )


def import_file(path: Path, output: Path | None = None, overrides: Sequence[Override] = ()) -> Imported:
    """Convert a file of another system; what kind it is, is told from what is in it."""
    if not path.is_file():
        raise MissingFileError(f"{path}: was not found. Name a checkpoint or a config of another system.")
    known = formats()
    for each in known:
        if each.recognises(path):
            return each.convert(path, output, overrides)
    names = "; ".join(each.name for each in known)
    raise ModelError(f"{path}: is of no kind that can be imported. {_why(path)}Known are: {names}.")


def _why(path: Path) -> str:
    """What keeps a file from being read at all, if anything does: a sentence."""
    try:
        if path.suffix in WEIGHTS:
            from diffsynth.models.weight_files import read_tree

            read_tree(path)
        else:
            parsed(path)
    except DiffSynthError as problem:
        words = str(problem).removeprefix(f"{path}: ").removeprefix(f"{path}, ")
        return f"{words[:1].upper()}{words[1:]} "
    return ""


__all__ = ["Format", "Imported", "formats", "import_file"]
