"""Pictures and clips from a scene."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.painter import truth
from demo.painter.canvas import Canvas, Floats, Size, draw
from demo.painter.light import Lit
from demo.painter.palette import Season, Time
from demo.painter.scene import Scene
from demo.painter.styles import Style, render


@dataclass(frozen=True)
class ClipFrame:
    """One frame and what is true about it."""

    picture: NDArray[np.uint8]
    depth: Floats
    """0 at infinity … 1 at the lens."""
    lines: Floats
    segmentation: NDArray[np.uint8]
    flow: Floats | None
    """To the next frame, (H, W, 2) pixels; None for the last."""
    occlusion: NDArray[np.bool_] | None
    """True where the next frame doesn't show the point."""
    canvas: Canvas


def paint(
    scene: Scene, style: Style, season: Season, time: Time, *, frame: float = 0.0, size: Size
) -> NDArray[np.uint8]:
    """One picture, (H, W, 3) RGB."""
    return render(Lit(draw(scene, frame, size), season, time), style)


def paint_clip(
    scene: Scene, style: Style, season: Season, time: Time, *, frames: int, size: Size, start: float = 0.0
) -> Iterator[ClipFrame]:
    """The scene in motion, one frame at a time; memory doesn't grow with the clip."""
    canvas = draw(scene, start, size)
    for number in range(frames):
        after = draw(scene, start + number + 1, size) if number + 1 < frames else None
        yield ClipFrame(
            picture=render(Lit(canvas, season, time), style),
            depth=canvas.nearness,
            lines=canvas.lines,
            segmentation=truth.segmentation(canvas),
            flow=None if after is None else truth.flow(canvas, after),
            occlusion=None if after is None else truth.occlusion(canvas, after),
            canvas=canvas,
        )
        if after is not None:
            canvas = after
