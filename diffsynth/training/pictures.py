"""Videos as single pictures: lossless, and seen at a glance."""

import math
from collections.abc import Sequence

import numpy as np

from diffsynth.training.data.example import Pixels

SMALLEST = 64
"""Frames with a shorter side are enlarged on grids, by whole numbers."""


def rgb(frames: Pixels) -> Pixels:
    """(…, H, W, 3) of (…, H, W, 1 or 3)."""
    return np.repeat(frames, 3, axis=-1) if frames.shape[-1] == 1 else frames


def strip(frames: Pixels) -> Pixels:
    """(H, F · W, 3): the frames of a video from left to right."""
    return np.concatenate(list(rgb(frames)), axis=1)


def frames_of(picture: Pixels, count: int, channels: int) -> Pixels:
    """The (F, H, W, C) whose `strip` this is."""
    frames = np.stack(np.split(picture, count, axis=1))
    return frames[..., :channels]


def playing(videos: Sequence[Pixels]) -> Pixels:
    """(F, H, W, 3): the videos side by side, as many in a row as there are rows, with a thin line between them."""
    columns = math.ceil(math.sqrt(len(videos)))
    times = max(1, -(-SMALLEST // min(videos[0].shape[1:3])))
    cells = [
        np.pad(
            rgb(each).repeat(times, axis=1).repeat(times, axis=2), ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=96
        )
        for each in videos
    ]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.concatenate(cells[start : start + columns], axis=2) for start in range(0, len(cells), columns)]
    return np.concatenate(rows, axis=1)[:, :-1, :-1]


def grid(videos: Sequence[Pixels]) -> Pixels:
    """Each video's frames in a row, the videos from top to bottom, with a thin line between them."""
    side = min(videos[0].shape[1:3])
    times = max(1, -(-SMALLEST // side))
    rows = []
    for video in videos:
        large = rgb(video).repeat(times, axis=1).repeat(times, axis=2)
        cells = np.pad(large, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=96)
        rows.append(np.concatenate(list(cells), axis=1))
    return np.concatenate(rows)[:-1, :-1]
