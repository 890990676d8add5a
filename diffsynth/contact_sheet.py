"""A contact sheet: pictures in columns under their titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from diffsynth.frames import Image

CELL = 320
"""The longer side of each picture on the sheet."""
MARGIN, LINE = 8, 24
WHITE, GREY = (255, 255, 255), (32, 32, 32)


class Pictures(Protocol):
    """Pictures that are looked at one by one: a list, or a store on disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, position: int, /) -> Image: ...


@dataclass(frozen=True)
class Column:
    """The maps of one processor, from top to bottom."""

    title: str
    pictures: Pictures


def sheet(columns: Sequence[Column]) -> Image:
    """The columns side by side under their titles. All pictures are of one size."""
    height, width = columns[0].pictures[0].shape[:2]
    scale = CELL / max(height, width)
    cell = (max(round(width * scale), 1), max(round(height * scale), 1))
    step_x, step_y = cell[0] + MARGIN, cell[1] + MARGIN
    rows = len(columns[0].pictures)
    canvas = PIL.Image.new("RGB", (MARGIN + step_x * len(columns), LINE + MARGIN + step_y * rows), GREY)
    pen = PIL.ImageDraw.Draw(canvas)
    font = PIL.ImageFont.load_default(LINE - MARGIN)
    widest = max(font.getlength(column.title) for column in columns)
    font = PIL.ImageFont.load_default((LINE - MARGIN) * min(1, cell[0] / widest))
    for number, column in enumerate(columns):
        x = MARGIN + number * step_x
        pen.text((x, MARGIN // 2), column.title, WHITE, font)
        for row in range(len(column.pictures)):
            small = PIL.Image.fromarray(column.pictures[row]).resize(cell, PIL.Image.Resampling.LANCZOS)
            canvas.paste(small, (x, LINE + MARGIN + row * step_y))
    return np.array(canvas)
