"""Noise that rides on motion: it moves as the clip does, and stays white."""

import numpy as np
import pytest
from numpy.typing import NDArray

from diffsynth.diffusion.grains import Grains, Motion, pooled, ride

HEIGHT, WIDTH, CHANNELS = 64, 96, 4


def fresh(frame: int) -> NDArray[np.float32]:
    return np.random.default_rng([3, frame]).standard_normal((CHANNELS, HEIGHT, WIDTH)).astype(np.float32)


def motion(x: float | NDArray[np.float32], y: float | NDArray[np.float32]) -> Motion:
    forth = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    forth[..., 0], forth[..., 1] = x, y
    return Motion(forth, np.ones((HEIGHT, WIDTH), bool))


def zoom(rate: float) -> Motion:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return motion((x - WIDTH / 2) * rate, (y - HEIGHT / 2) * rate)


def field(grains: Grains) -> NDArray[np.float32]:
    return grains.values.reshape(CHANNELS, HEIGHT, WIDTH)


MOTIONS = {
    "still": motion(0, 0),
    "half pixels": motion(0.5, 0.25),
    "outwards": zoom(0.05),
    "inwards": zoom(-0.05),
    "shear": motion(np.linspace(-2, 2, HEIGHT, dtype=np.float32)[:, None], 0),
}


@pytest.mark.parametrize("each", MOTIONS.values(), ids=MOTIONS)
def test_it_stays_white(each: Motion) -> None:
    last = list(ride([each] * 12, fresh))[-1]
    noise = field(last)
    size = noise.size
    # Five deviations of a mean, of a variance, and of a correlation of that many independent draws.
    assert abs(noise.mean()) < 5 / size**0.5
    assert abs(noise.var() - 1) < 5 * (2 / size) ** 0.5
    for dy, dx in ((0, 1), (1, 0), (1, 1), (0, 2), (3, 1)):
        shifted = np.roll(noise, (dy, dx), (1, 2))
        assert abs((noise * shifted).mean()) < 5 / size**0.5
    assert np.unique(last.values, axis=1).shape[1] == HEIGHT * WIDTH, "no grain stands in two places"
    coarse = pooled(last, HEIGHT // 8, WIDTH // 8, 8)
    assert abs(coarse.var() - 1) < 5 * (2 / coarse.size) ** 0.5


def test_the_spectrum_is_flat() -> None:
    power = np.zeros((HEIGHT, WIDTH))
    for start in range(8):
        frames = list(ride([zoom(0.04)] * 6, lambda frame, start=start: fresh(frame + 100 * start)))
        power += np.square(np.abs(np.fft.fft2(field(frames[-1])))).mean(0) / (HEIGHT * WIDTH) / 8
    bands = power.reshape(4, HEIGHT // 4, 4, WIDTH // 4).mean((1, 3))
    # A band's mean over that many exponential draws deviates by their inverse root.
    assert np.abs(bands - 1).max() < 5 / (8 * CHANNELS * HEIGHT * WIDTH / 16 / 2) ** 0.5


def test_a_still_clip_keeps_its_noise() -> None:
    frames = list(ride([MOTIONS["still"]] * 3, fresh))
    np.testing.assert_array_equal(frames[-1].values, frames[0].values)


def test_whole_pixels_carry_it_exactly() -> None:
    frames = list(ride([motion(2, 1)] * 3, fresh))
    np.testing.assert_array_equal(field(frames[3])[:, 3:, 6:], field(frames[0])[:, :-3, :-6])


def test_a_slow_motion_is_not_lost_to_rounding() -> None:
    frames = list(ride([motion(0.25, 0)] * 16, fresh))
    np.testing.assert_array_equal(field(frames[16])[:, :, 4:], field(frames[0])[:, :, :-4])


def test_what_is_hidden_begins_anew() -> None:
    still = MOTIONS["still"]
    lasting = still.lasting.copy()
    lasting[10:20, 10:20] = False
    frames = list(ride([Motion(still.forth, lasting)], fresh))
    changed = (field(frames[1]) != field(frames[0])).any(0)
    np.testing.assert_array_equal(changed, ~lasting)


def test_it_is_the_same_however_often_it_is_drawn() -> None:
    once, again = (list(ride([zoom(0.03)] * 4, fresh))[-1].values for _ in range(2))
    np.testing.assert_array_equal(once, again)
