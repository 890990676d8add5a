"""Noise that moves with a clip, kept on disk frame by frame."""

from collections.abc import Iterator
from pathlib import Path

import torch

from diffsynth.arrays import ArrayStore, ArrayWriter
from diffsynth.diffusion.grains import Floats, Motion, pooled, ride
from diffsynth.frames import FrameStore
from diffsynth.metrics.flow import flow, visible
from diffsynth.progress import Progress
from diffsynth.runtime import torch_generator
from diffsynth.sd.layout import LATENT_SCALE


def carried_noise(source: FrameStore, channels: int, seed: int, folder: Path, progress: Progress) -> ArrayStore:
    """(channels, h, w) for each frame: grains as fine as the clip's pixels, summed over each latent's.

    A frame's grains come from those of the frame before. So an interrupted pass is walked again from the start; what it
    has written stays.
    """
    height, width = source.height // LATENT_SCALE, source.width // LATENT_SCALE

    def fresh(frame: int) -> Floats:
        generator = torch_generator(seed, "grains", frame)
        drawn: Floats = torch.randn((channels, source.height, source.width), generator=generator).numpy()
        return drawn

    with (
        ArrayWriter(folder, (channels, height, width)) as writer,
        progress.stage("noise", len(source)) as stage,
    ):
        if writer.count < len(source):
            for frame, grains in enumerate(ride(_motions(source), fresh)):
                if frame >= writer.count:
                    writer.append(pooled(grains, height, width, LATENT_SCALE)[None])
                stage.advance()
    return ArrayStore(folder)


def _motions(source: FrameStore) -> Iterator[Motion]:
    before = source[0]
    for position in range(1, len(source)):
        after = source[position]
        forth = flow(before, after)
        yield Motion(forth, visible(forth, flow(after, before)))
        before = after
