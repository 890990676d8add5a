"""Latte's own checkpoints. They can be drawn from as they are; imported, they also say what they are."""

from collections.abc import Sequence
from pathlib import Path

from diffsynth.config import Override, apply, checked, source
from diffsynth.errors import DiffSynthError
from diffsynth.imports.base import Imported, target


class OfficialLatte:
    """As `Format`."""

    name = "Latte (.pt with its averaged weights)"

    def recognises(self, path: Path) -> bool:
        if path.suffix not in (".pt", ".pth"):
            return False
        from diffsynth.models.latte_files import MARKS
        from diffsynth.models.weight_files import read_weights

        try:
            weights = read_weights(path)
        except DiffSynthError:
            return False
        return all(name in weights for name in MARKS)

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        from diffsynth.models.latte_files import read_latte
        from diffsynth.training.checkpoint import write_weights
        from diffsynth.training.facts import Facts
        from diffsynth.training.loading_model import published
        from diffsynth.training.video_model import VideoModelConfig

        place, here = target(path, output, ".safetensors"), Path.cwd()
        vae = apply(source({}, here), overrides, here).get("vae")
        found = read_latte(path)
        tree = published(path, None if vae is None else str(vae)).model_dump(mode="json", exclude_none=True)
        model = checked(VideoModelConfig, apply(source(tree, here), overrides, here), str(path))
        write_weights(place, found.weights, Facts(model.model_dump(mode="json", exclude_none=True), 0, {}))
        config, told = found.config, found.condition
        classes = f", {told.num_classes} classes" if told.kind == "class" else ""
        numbers = f"hidden {config.hidden}, depth {config.depth}, {config.heads} heads, patch {config.patch}{classes}"
        return Imported(place, (f"Latte: {numbers}; {found.shape.frames} frames.",))
