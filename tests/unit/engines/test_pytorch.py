"""The torch engine: its vote against the native one, its search on a known shift."""

import numpy as np
import pytest

from diffsynth.engines.native import NativeEngine, Settings
from diffsynth.engines.pytorch import PATCH, PytorchEngine
from diffsynth.errors import EngineError
from tests.flicker_scene import moving, surface


@pytest.mark.slow
def test_it_finds_a_shift() -> None:
    frames = moving(2, 32, 40)
    engine = PytorchEngine()
    matches = engine.estimate([(0, 1)], [engine.frame([each]) for each in frames], frames)
    rows, columns = np.mgrid[:32, :40]
    inner = np.s_[6:-8, 6:-10]
    assert np.mean((matches.nnf_yx[0, ..., 0] - rows)[inner] == 1) > 0.9
    assert np.mean((matches.nnf_yx[0, ..., 1] - columns)[inner] == 2) > 0.9
    assert matches.error[0][inner].mean() < matches.error[0].max()


def test_its_vote_is_the_native_one() -> None:
    draw = np.random.default_rng(1)
    image = surface(1, 40, 50)
    # Away from the border, where the two replicate in different ways.
    rows, columns = np.mgrid[:40, :50]
    shift = draw.integers(-2, 3, (40, 50, 2))
    nnf = np.stack([np.clip(rows + shift[..., 0], 0, 39), np.clip(columns + shift[..., 1], 0, 49)], -1).astype(np.int16)
    ours = PytorchEngine().vote(nnf, image).astype(int)
    theirs = NativeEngine(Settings(patch=PATCH)).vote(nnf, image)
    assert np.abs(ours - theirs)[12:-12, 12:-12].max() <= 1  # rounding of .5


def test_other_starts_are_refused() -> None:
    frames = moving(2, 32, 40)
    with pytest.raises(EngineError, match="identity"):
        PytorchEngine().estimate([(0, 1)], frames, None, "random")
