"""Lets torchvision be imported where its native part does not fit torch.

A CPU build of torch beside torchvision's CUDA build, or two releases that are no pair: torchvision's native library
does not load, and `import torchvision` fails with "operator torchvision::nms does not exist". As diffusers,
transformers and peft import torchvision wherever it is installed, they fail too, for an operator that nobody here
calls. This guard waits for the first import of torchvision. Where the native library loads, it does nothing;
else it declares the missing operators, warns once, and all but those operators works.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""The operators that torchvision refers to by name while it is imported."""


class TorchvisionWarning(UserWarning):
    """torchvision works in part: the pair of torch and torchvision doesn't fit."""


class TorchvisionGuard(MetaPathFinder):
    """Asked by the import system before torchvision is looked for; finds nothing itself."""

    def __init__(self) -> None:
        self._kept: list[Any] = []  # a fragment's operators live as long as the fragment

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision" and not self._kept:
            self._mend(PathFinder.find_spec(fullname, path))
        return None

    def _mend(self, spec: ModuleSpec | None) -> None:
        if spec is None or not spec.submodule_search_locations:
            return
        import torch

        folder = Path(next(iter(spec.submodule_search_locations)))
        native = sorted(file for file in folder.glob("_C*") if file.suffix in {".so", ".pyd", ".dylib"})
        try:
            for file in native:
                torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except OSError as problem:
            reason = str(problem)
        else:
            if native:
                return
            reason = "it is not there"
        fragment = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in SCHEMAS:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                fragment.define(schema)  # type: ignore[no-untyped-call]
        self._kept.append(fragment)
        warnings.warn(
            f"torchvision's native part does not load beside torch {torch.__version__} ({reason}). Its operators (nms) "
            "are missing; nothing of diffsynth calls them. Installing the torchvision made for this torch ends this.",
            TorchvisionWarning,
            stacklevel=2,
        )


def guard() -> None:
    """Stand by for an import of torchvision; costs nothing until there is one."""
    if not any(isinstance(finder, TorchvisionGuard) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionGuard())
