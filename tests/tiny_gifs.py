"""Folders of small GIFs of noise."""

from fractions import Fraction
from pathlib import Path

import torch

from diffsynth.video.options import VideoOptions
from diffsynth.video.write import write_video


def write_gifs(folder: Path, count: int, side: int, frames: int, *, captions: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pictures = torch.randint(256, (frames, side, side, 3), generator=torch.Generator().manual_seed(number))
        write_video(
            folder / f"clip{number}.gif",
            [each.byte().numpy() for each in pictures],
            fps=Fraction(8),
            options=VideoOptions("gif", audio=False),
        )
        if captions:
            (folder / f"clip{number}.txt").write_text("a blue whale")
    return folder
