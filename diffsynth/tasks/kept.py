"""What of a clip is kept: its background, frames that the user painted, frames that are not painted yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from diffsynth.diffusion.hold import Hold
from diffsynth.diffusion.schedule import Schedule
from diffsynth.frames import FrameStore, Image, is_complete
from diffsynth.images import read_image
from diffsynth.processors.base import Frames
from diffsynth.sd.layout import LATENT_SCALE
from diffsynth.sized import Resampling, scaled
from diffsynth.smoothers.base import append_like, writer_like
from diffsynth.tasks.shown import Shown
from diffsynth.tracks import Track, number_at
from diffsynth.video.geometry import place_on
from diffsynth.video.resize import resized

Original = Callable[[int], Tensor]
"""The clean latents of a frame of the clip, (C, h, w)."""


@dataclass(frozen=True)
class Mask:
    """Where the clip is painted: white and opaque, with soft borders. One picture, or one for each frame."""

    pictures: Frames
    feather: int
    """Over how many pixels the border fades, half of them to each side."""
    shown: Sequence[int] | None = None
    """Where only some of those frames are rendered: which."""
    _last: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    """The share that was asked for last: every step asks for that of a single picture, for every frame."""

    def among(self, shown: Sequence[int]) -> "Mask":
        """For a rendering of only these frames."""
        return replace(self, shown=shown)

    def share(self, frame: int) -> np.ndarray:
        """(H, W) float32 from 0 to 1."""
        number = frame if self.shown is None else self.shown[frame]
        place = min(number, len(self.pictures) - 1)
        if place not in self._last:
            self._last.clear()
            self._last[place] = self._read(place)
        return self._last[place]

    def _read(self, place: int) -> np.ndarray:
        picture = np.ascontiguousarray(self.pictures[place])
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32) / 255
        if self.pictures.has_alpha:
            grey *= self.pictures.alpha(place).astype(np.float32) / 255
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
class Painted:
    """Frames that the user painted, read from their files when they are asked for."""

    paths: Mapping[int, Path]
    height: int
    width: int
    aspect: tuple[int, int] | None
    """Height to width of the clip as it was cut; None where pictures are stretched instead."""

    def __contains__(self, frame: int) -> bool:
        return frame in self.paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, frame: int) -> Image:
        """At the size of the rendering: cut and scaled as the clip is, where it isn't of that size already."""
        picture, _ = read_image(self.paths[frame])
        if self.aspect is not None and picture.shape[:2] != (self.height, self.width):
            height, width = picture.shape[:2]
            picture = resized(picture, place_on(height, width, *self.aspect, crop=True))
        return scaled(picture, self.height, self.width, Resampling.LANCZOS)

    def among(self, shown: Shown) -> "Painted":
        """For a rendering of only these frames, in whose numbers."""
        places = {frame: shown.place(frame) for frame in self.paths}
        return replace(self, paths={place: self.paths[frame] for frame, place in places.items() if place is not None})


@dataclass(frozen=True)
class Kept:
    """The parts of a rendering that are not painted anew."""

    source: FrameStore
    """At the size of the pictures."""
    mask: Mask | None
    """None where the background is painted too."""
    painted: Painted
    region: Mask | None = None
    """Where the prompt is heard, if the background has one of its own."""

    def among(self, shown: Shown, source: FrameStore) -> "Kept":
        """For a rendering of only these frames, which `source` holds."""
        mask, region = (None if each is None else each.among(shown.positions) for each in (self.mask, self.region))
        return Kept(source, mask, self.painted.among(shown), region)

    def with_painted(self, frame: int, rendered: Image) -> Image:
        """The user's own frame, where there is one."""
        if frame not in self.painted:
            return rendered
        return self.painted[frame]

    def restored(self, frame: int, rendered: Image) -> Image:
        """The rendered frame with what was kept put back, pixel by pixel: an autoencoder would change it a little."""
        if frame in self.painted or self.mask is None:
            return self.with_painted(frame, rendered)
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


def restored(frames: FrameStore, kept: Kept, path: Path) -> FrameStore:
    """Finished frames with what was kept put back: neither smoothing nor showing a frame again may touch it."""
    if is_complete(path):
        return FrameStore(path)
    with writer_like(frames, path) as writer:
        for position in range(writer.count, len(frames)):
            append_like(writer, kept.restored(position, frames[position]), frames)
        return writer.finish()
