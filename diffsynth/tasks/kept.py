"""What of a clip is kept: its background, frames that the user painted, frames that are not painted yet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from diffsynth.diffusion.hold import Hold
from diffsynth.diffusion.schedule import Schedule
from diffsynth.frames import FrameStore, Image
from diffsynth.images import read_image
from diffsynth.processors.base import Frames
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sized import Resampling, Sized, scaled
from diffsynth.tracks import Track, number_at

Original = Callable[[int], Tensor]
"""The clean latents of a frame of the clip, (C, h, w)."""


@dataclass(frozen=True)
class Mask:
    """Where the clip is painted: white, with soft borders. One picture, or one for each frame."""

    pictures: Frames
    feather: int
    """Over how many pixels the border fades, half of them to each side."""

    def share(self, frame: int) -> np.ndarray:
        """(H, W) float32 from 0 to 1."""
        picture = self.pictures[min(frame, len(self.pictures) - 1)]
        grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY), np.float32) / 255
        if self.feather == 0:
            return grey
        # Four standard deviations of a blurred edge lie between 2 % and 98 %.
        return np.asarray(cv2.GaussianBlur(grey, (0, 0), self.feather / 4, borderType=cv2.BORDER_REPLICATE), np.float32)

    def of_latents(self, frame: int) -> Tensor:
        """(1, h, w): the mean over each latent's pixels."""
        share = self.share(frame)
        height, width = (side // LATENT_SCALE for side in share.shape)
        blocks = share.reshape(height, LATENT_SCALE, width, LATENT_SCALE)
        return torch.from_numpy(blocks.mean((1, 3), dtype=np.float32))[None]


@dataclass(frozen=True)
class Kept:
    """The parts of a rendering that are not painted anew."""

    source: FrameStore
    """At the size of the pictures."""
    mask: Mask | None
    """None where the background is painted too."""
    painted: Mapping[int, Image]
    """Frames that the user painted, at the size of the pictures."""
    region: Mask | None = None
    """Where the prompt is heard, if the background has one of its own."""

    def restored(self, frame: int, rendered: Image) -> Image:
        """The rendered frame with what was kept put back, pixel by pixel: an autoencoder would change it a little."""
        if frame in self.painted:
            return self.painted[frame]
        if self.mask is None:
            return rendered
        share = self.mask.share(frame)[..., None]
        mixed = share * rendered + (1 - share) * self.source[frame]
        return np.asarray(np.rint(mixed), np.uint8)

    def hold(self, original: Original, schedule: Schedule, steps: int, strength: Track[float]) -> Hold | None:
        """None where nothing is held. `schedule` is what `steps` were cut to by the greatest strength."""
        if self.mask is None and not self.painted and strength.constant:
            return None
        nothing = torch.zeros(1, 1, 1)

        def painted(frame: int) -> Tensor | None:
            if frame in self.painted:
                return nothing
            return None if self.mask is None else self.mask.of_latents(frame)

        def begins(frame: int) -> int:
            return len(schedule.steps) - int(steps * number_at(strength, frame))

        return Hold(original, painted, begins)


def painted_pictures(paths: Mapping[int, Path], height: int, width: int) -> dict[int, Image]:
    """The user's frames, stretched to the size of the pictures."""
    return {frame: scaled(read_image(path)[0], height, width, Resampling.LANCZOS) for frame, path in paths.items()}


def mask_of(pictures: FrameStore, height: int, width: int, feather: int) -> Mask:
    return Mask(Sized(pictures, height, width, opaque=True), feather)
