"""Which of several drawings a video shows, wherever it stands in each frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Templates:
    """Drawings of several kinds, as many of each, those of one kind beside each other."""

    spectra: NDArray[np.complex128]
    """(kinds · drawings, H, W / 2 + 1), each of a drawing of length 1."""
    kinds: int
    height: int
    width: int
    blur: float
    """In pixels: lines that lie a little off still count."""

    @classmethod
    def of(cls, kinds: Sequence[Sequence[Floats]], blur: float) -> "Templates":
        """From each kind's drawings (H, W), with the figure in the middle."""
        drawn = [_blurred(each, blur) for kind in kinds for each in kind]
        spectra = np.fft.rfft2(np.stack([each / np.linalg.norm(each) for each in drawn]))
        height, width = drawn[0].shape
        return cls(spectra, len(kinds), height, width, blur)

    def best(self, frames: Floats) -> int:
        """The kind with the drawing that, at its best place in each, is most like the frames (F, H, W)."""
        size = (self.height, self.width)
        likeness = np.zeros(len(self.spectra))
        for frame in np.fft.rfft2(np.stack([_blurred(each, self.blur) for each in frames])):
            length = float(np.linalg.norm(np.fft.irfft2(frame, size)))
            places = np.fft.irfft2(frame[None] * self.spectra.conj(), size)
            likeness += places.max((1, 2)) / max(length, 1e-9)
        return int(likeness.argmax()) // (len(self.spectra) // self.kinds)


def _blurred(frame: Floats, blur: float) -> Floats:
    return np.asarray(gaussian_filter(frame, blur, mode="constant"))
