"""Data sets. One file each for those that are drawn; those of files differ in their layouts only."""

from typing import Annotated

from pydantic import Field

from diffsynth.training.data.example import ClipSet, ClipSetConfig
from diffsynth.training.data.files import (
    ClassFoldersConfig,
    FaceForensicsConfig,
    FolderConfig,
    SkyTimelapseConfig,
    TaichiConfig,
    Ucf101Config,
)
from diffsynth.training.data.moving_digits import MovingDigitsConfig
from diffsynth.training.data.moving_shapes import MovingShapesConfig

DatasetConfig = Annotated[
    MovingDigitsConfig
    | MovingShapesConfig
    | FolderConfig
    | ClassFoldersConfig
    | Ucf101Config
    | FaceForensicsConfig
    | SkyTimelapseConfig
    | TaichiConfig,
    Field(discriminator="type"),
]

__all__ = ["ClipSet", "ClipSetConfig", "DatasetConfig"]
