"""Paints what the demo's configs read, into `demo/work`: `python -m demo.material`."""

from dataclasses import dataclass
from pathlib import Path

from demo.painter.__main__ import paint
from demo.painter.palette import Season, Time
from demo.painter.scene import Scene
from demo.painter.styles import Style

WORK = Path(__file__).parent / "work"


@dataclass(frozen=True)
class Material:
    """One clip that a demo's config names."""

    folder: str
    seed: int
    style: Style = "photo"
    season: Season = "summer"
    time: Time = "day"
    frames: int = 36
    truth: bool = False
    """Whether its depth and other truths are written too."""


MATERIALS = (
    Material("clip", 21, truth=True),
    Material("person", 8),
    Material("reference", 8, "cartoon", frames=1),
    Material("style", 3, "watercolor", "winter", frames=1),
)


def prepare(work: Path, frames: int | None = None) -> None:
    """Paint all of it into a folder, no clip longer than `frames`."""
    for each in MATERIALS:
        count = each.frames if frames is None else min(each.frames, frames)
        scene = Scene.from_seed(each.seed)
        paint(work / each.folder, scene, each.style, each.season, each.time, frames=count, truth=each.truth)


if __name__ == "__main__":
    prepare(WORK)
