"""Configs: JSON in, one frozen and validated object out. `load` is the way in."""

from diffsynth.config.fields import ClipPath, ConfigModel, ExistingPath, ModelRef, OptionalPath, OutputPath
from diffsynth.config.layers import Override, apply, read, source
from diffsynth.config.load import Contradiction, Respelled, TaskConfig, load, select, validate
from diffsynth.config.problems import checked

__all__ = [
    "ClipPath",
    "ConfigModel",
    "Contradiction",
    "ExistingPath",
    "ModelRef",
    "OptionalPath",
    "OutputPath",
    "Override",
    "Respelled",
    "TaskConfig",
    "apply",
    "checked",
    "load",
    "read",
    "select",
    "source",
    "validate",
]
