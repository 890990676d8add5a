"""Where each pixel of a frame is found in another one: dense inverse search, without a network."""

import numpy as np
from numpy.typing import NDArray

from diffsynth.frames import Image

Flow = NDArray[np.float32]
"""(H, W, 2): the way `x, y` from a pixel of one frame to its place in the other."""


class FlowFinder:
    """Finds motion between frames. Its answers depend on the two frames alone, not on calls before or on threads."""

    def __init__(self) -> None:
        import cv2

        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def flow(self, here: Image, there: Image) -> Flow:
        """For each pixel of `here`, the way to where `there` shows the same."""
        still = np.zeros((*here.shape[:2], 2), np.float32)
        if min(here.shape[:2]) < 16:  # less than the search's coarsest patch
            return still
        return np.asarray(self._search.calc(_grey(here), _grey(there), still), dtype=np.float32)


def _grey(frame: Image) -> Image:
    import cv2

    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def fetch(there: NDArray[np.generic], flow: Flow) -> NDArray[np.float32]:
    """What `there` shows, seen from `here`: (H, W, …) in, the same shape out, bilinear."""
    import cv2

    x, y = _targets(flow)
    return np.asarray(cv2.remap(there.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def within(flow: Flow) -> NDArray[np.bool_]:
    """(H, W): whether the place that a pixel moves to lies within the frame."""
    x, y = _targets(flow)
    height, width = flow.shape[:2]
    inside: NDArray[np.bool_] = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    return inside


def join(first: Flow, second: Flow) -> Flow:
    """The way of `first`, and from where it leads on along `second`."""
    return first + fetch(second, first)


def _targets(flow: Flow) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return x.astype(np.float32, copy=False), y.astype(np.float32, copy=False)


def likeness(here: Image, fetched: NDArray[np.float32], spread: float) -> NDArray[np.float32]:
    """(H, W) of 0 to 1: how much a frame and what was fetched for it look the same; `spread` levels apart is 1/e."""
    import cv2

    apart = np.abs(here.astype(np.float32) - fetched).mean(-1)
    # One grain of noise is not another object: what counts is the difference of a small neighbourhood.
    apart = cv2.blur(apart, (5, 5))
    return np.asarray(np.exp(-np.square(apart / np.float32(spread))), dtype=np.float32)
