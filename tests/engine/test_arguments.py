"""What the engine refuses, and how it says so."""

import gc

import numpy as np
import pytest
from pictures import picture

from diffsynth.engines.native import Frame, NativeEngine, Settings, estimate
from diffsynth.errors import EngineError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(patch=4), r"patch size is 4; allowed are odd numbers from 3 to 33"),
        (Settings(patch=35), r"patch size is 35"),
        (Settings(weights=(1.0, 2.0)), r"2 guide weights for 1 guides"),
        (Settings(weights=(-1.0,)), r"weight of guide 1 is -1; it must be 0 or more"),
        (Settings(weights=(0.0,), style_weight=0.0), r"all weights are 0"),
        (Settings(weights=(float("nan"),)), r"weight of guide 1"),
        (Settings(uniformity=-3.0), r"uniformity is -3"),
        (Settings(threads=-1), r"number of threads is -1"),
        (Settings(levels=-2), r"pyramid levels is negative"),
        (Settings(preset="generic", patch=21), r"source of 19x17 is smaller than the patch size 21"),
    ],
)
def test_bad_settings(settings: Settings, message: str) -> None:
    frame = Frame(picture(17, 19))
    with pytest.raises(EngineError, match=message):
        estimate([(0, 0)], [frame], settings=settings)


def test_images_that_do_not_fit() -> None:
    small, large = picture(8, 9), picture(9, 9)
    with pytest.raises(EngineError, match=r"guide 2 is 9x9, but the first guide is 9x8"):
        Frame([small, large])
    with pytest.raises(EngineError, match=r"channels"):
        Frame([picture(5, 5, 13), picture(5, 5, 12)])
    with pytest.raises(EngineError, match=r"guide 1 is float32"):
        Frame(small.astype(np.float32))
    with pytest.raises(EngineError, match=r"style is 9x9, but its source guides are 9x8"):
        estimate([(0, 0)], [Frame(small)], [large])
    with pytest.raises(EngineError, match=r"differ in number or channels"):
        estimate([(0, 1)], [Frame(small), Frame(picture(8, 9, 1))])
    with pytest.raises(EngineError, match=r"no pairs"):
        estimate([], [Frame(small)])
    with pytest.raises(EngineError, match=r"points to row 8"):
        estimate([(0, 0)], [Frame(small)], init=[np.full((8, 9, 2), 8, np.int16)])
    with pytest.raises(EngineError, match=r"empty|no pixels|sides may be"):
        Frame(np.zeros((0, 4, 3), np.uint8))


def test_an_exception_in_the_trace_stops_the_search() -> None:
    def stop(*_: object) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        estimate([(0, 0)], [Frame(picture(60, 60))], trace=stop)


def test_results_outlive_their_frames() -> None:
    frames = [Frame(picture(30, 30)), Frame(picture(30, 30, seed=1))]
    found = estimate([(0, 1)], frames)
    copy = found.nnf_yx.copy()
    del frames
    gc.collect()
    np.testing.assert_array_equal(found.nnf_yx, copy)


def test_the_engine_behind_its_protocol() -> None:
    engine = NativeEngine(Settings(patch=5, threads=1))
    image, style = picture(20, 25), picture(20, 25, seed=3)
    frame = engine.frame([image])
    found = engine.estimate([(0, 0)], {0: frame}, {0: style})
    assert found.voted is not None
    np.testing.assert_array_equal(engine.vote(found.nnf_yx[0], style), found.voted[0])
