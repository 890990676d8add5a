"""Bring back what blending took away: a local linear map from the guide's detail to the style's."""

import numpy as np

from diffsynth.frames import Image
from diffsynth.smoothers.blending import Blend, Blending, Field, add_product, strips

RADIUS = 3.0
"""Detail is what lies above this Gaussian's band, in pixels; the map is fitted over windows of its size."""
RIDGE = 25.0
"""Squared grey levels: where the guide has less detail than this, nothing is concluded from it."""


def restored(blend: Blend, guide: Image, style: Image | None, blending: Blending) -> Field:
    """The blended style with the detail that the blend of guides lacks, and a share of the frame's own; (H, W, 3)."""
    import cv2

    result = blend.style
    if blending.restore > 0:
        brought = carried(guide - blend.guide, blend.guide, blend.style)
        brought *= blending.restore
        result = np.add(brought, result, out=brought)
    if style is not None:
        fine = style - result
        fine -= cv2.GaussianBlur(fine, (0, 0), 1.0)
        fine *= blending.own
        result = np.add(fine, result, out=fine)
    return result


def carried(change: Field, guide: Field, style: Field) -> Field:
    """What a change of the guide's detail means for the style's, by least squares around each pixel.

    With g and s the details of guide and style in a window, s ≈ A g, A = (Σ s gᵀ)(Σ g gᵀ + ridge)⁻¹. The map is fitted
    on pictures of half the size and enlarged: it varies slowly, and that is a quarter of the work.
    """
    import cv2

    height, width = guide.shape[:2]
    g, s = _detail(guide), _detail(style)
    squares = {(i, j): _window(g[i] * g[j]) for i in range(3) for j in range(i, 3)}
    inverse = _inverse(squares)
    result, enlarged = np.zeros_like(change), np.empty_like(change)
    for i in range(3):
        slopes = []
        for channel in range(3):
            crossed = [_window(s[channel] * each) for each in g]
            slope = np.zeros_like(g[0])
            for j in range(3):
                slope += crossed[j] * inverse[min(i, j), max(i, j)]
            slopes.append(slope)
        cv2.resize(cv2.merge(slopes), (width, height), dst=enlarged, interpolation=cv2.INTER_LINEAR)
        for rows in strips(height):
            add_product(enlarged[rows], np.ascontiguousarray(change[rows, :, i]), result[rows])
    return result


def _detail(picture: Field) -> list[Field]:
    """Each channel's detail at half the size."""
    import cv2

    height, width = picture.shape[:2]
    small = cv2.resize(picture, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    high = np.asarray(small - cv2.GaussianBlur(small, (0, 0), RADIUS / 2), np.float32)
    return [np.ascontiguousarray(high[..., channel]) for channel in range(3)]


def _window(product: Field) -> Field:
    import cv2

    side = 2 * round(RADIUS) + 1
    return np.asarray(cv2.blur(product, (side, side)), np.float32)


def _inverse(m: dict[tuple[int, int], Field]) -> dict[tuple[int, int], Field]:
    """Of the symmetric 3×3 matrices m + RIDGE·1, entry by entry."""
    a, b, c = m[0, 0] + RIDGE, m[0, 1], m[0, 2]
    d, e, f = m[1, 1] + RIDGE, m[1, 2], m[2, 2] + RIDGE
    aa, bb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    scale = 1 / (a * aa + b * bb + c * cc)
    return {
        (0, 0): aa * scale,
        (0, 1): bb * scale,
        (0, 2): cc * scale,
        (1, 1): (a * f - c * c) * scale,
        (1, 2): (b * c - a * e) * scale,
        (2, 2): (a * d - b * b) * scale,
    }
