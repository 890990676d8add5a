"""What the engine refuses: each time with one line that says what was found, and never with a crash."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy_engine import identity, noise

from diffsynth.engines.native import Frame, Masks, Settings, cuda_available, estimate, vote
from diffsynth.errors import EngineError, UnavailableError

IMAGE = noise((20, 24, 3))
MAP = np.full((20, 24), 255, np.uint8)
NNF = identity(20, 24)


def find(
    *guides: Any,
    pairs: Any = ((0, 1),),
    styles: Any = None,
    init: Any = None,
    masks: Masks | None = None,
    **options: Any,
) -> None:
    frames = [Frame(guide) for guide in guides or (IMAGE, IMAGE)]
    estimate(list(pairs), frames, styles, init, settings=replace(Settings(threads=1), **options), masks=masks)


def moved(y: int, x: int, dtype: type = np.int16) -> np.ndarray[Any, Any]:
    nnf = NNF.astype(dtype)
    nnf[3, 4] = (y, x)
    return nnf


NAN, INFINITE = float("nan"), float("inf")

REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    # Images
    "float guide": (lambda: Frame(IMAGE / 255), "guide 1 is float64; the engine takes uint8 pixels"),
    "bool guide": (lambda: Frame([IMAGE, IMAGE > 9]), "guide 2 is bool; the engine takes uint8 pixels"),
    "no guides": (lambda: Frame([]), "at least one guide"),
    "four dimensions": (lambda: Frame(IMAGE[None]), "4 dimensions; it needs 2 .* or 3"),
    "one dimension": (lambda: Frame(IMAGE[0, 0]), "1 dimension"),
    "planar guide": (lambda: Frame(np.ascontiguousarray(IMAGE.transpose(2, 0, 1)).transpose(1, 2, 0)), "side by side"),
    "no rows": (lambda: Frame(IMAGE[:0]), "guide 1"),
    "no columns": (lambda: Frame(IMAGE[:, :0]), "guide 1"),
    "no channels": (lambda: Frame(IMAGE[..., :0]), "guide 1"),
    "too high": (lambda: Frame(np.zeros((32768, 1), np.uint8)), "32767"),
    "too wide": (lambda: Frame(np.zeros((1, 32768), np.uint8)), "32767"),
    "25 channels": (lambda: Frame(noise((9, 9, 25))), "25 channels; allowed are 1 to 24"),
    "25 channels in all": (lambda: Frame([noise((9, 9, 13)), noise((9, 9, 12))]), "25 channels in all; allowed are 24"),
    "guides of two sizes": (lambda: Frame([IMAGE, IMAGE[:19]]), "guide 2 is 24x19, but the first guide is 24x20"),
    "guides that differ": (lambda: find(IMAGE, [IMAGE, MAP]), "guides of source and target differ"),
    "targets of two sizes": (lambda: find(IMAGE, IMAGE[:19], pairs=[(0, 1), (0, 0)]), "targets .* differ in size"),
    "float style": (lambda: find(styles=[IMAGE / 255]), "style is float64"),
    "a list as style": (lambda: find(styles=[[1, 2]]), "style is a list"),
    "style of another size": (lambda: find(styles=[IMAGE[:19]]), "style is 24x19, but its source guides are 24x20"),
    "empty style": (lambda: find(styles=[IMAGE[:0]]), "style"),
    "9 style channels": (lambda: find(styles=[noise((20, 24, 9))]), "9 channels; allowed are 1 to 8"),
    "styles that differ": (lambda: find(pairs=[(0, 1), (1, 0)], styles=[IMAGE, MAP]), "styles .* differ in channels"),
    # Numbers
    "no pairs": (lambda: find(pairs=[]), "there are no pairs"),
    "an absent frame": (lambda: find(pairs=[(0, 2)]), "2"),
    "even patch": (lambda: find(patch=4), "patch size is 4; allowed are odd numbers from 3 to 33"),
    "small patch": (lambda: find(patch=1), "patch size is 1"),
    "large patch": (lambda: find(patch=35), "patch size is 35"),
    "negative patch": (lambda: find(patch=-5), "patch size is -5"),
    "patch above the source": (lambda: find(preset="generic", patch=21), "smaller than the patch size 21"),
    "NaN weight": (lambda: find(weights=(NAN,)), "weight of guide 1 is -?nan"),
    "infinite weight": (lambda: find(weights=(INFINITE,)), "weight of guide 1 is inf"),
    "negative weight": (lambda: find(weights=(-1.0,)), "weight of guide 1 is -1"),
    "too many weights": (lambda: find(weights=(1.0, 1.0)), "2 guide weights for 1 guides"),
    "no weight at all": (lambda: find(weights=(0.0,)), "all weights are 0"),
    "NaN style weight": (lambda: find(styles=[IMAGE], style_weight=NAN), "style's weight is -?nan"),
    "negative style weight": (lambda: find(styles=[IMAGE], style_weight=-2.0), "style's weight is -2"),
    "NaN uniformity": (lambda: find(uniformity=NAN), "uniformity is -?nan"),
    "negative uniformity": (lambda: find(uniformity=-2.0), "uniformity is -2"),
    "infinite uniformity": (lambda: find(uniformity=INFINITE), "uniformity is inf"),
    "negative levels": (lambda: find(levels=-1), "pyramid levels"),
    "negative rounds": (lambda: find(rounds=-1), "iterations"),
    "too many sweeps": (lambda: find(sweeps=1001), "1000"),
    "negative threads": (lambda: find(threads=-1), "threads is -1; allowed are 0"),
    "too many threads": (lambda: find(threads=5000), "threads is 5000"),
    "negative seed": (lambda: find(seed=-1), "seed"),
    "large seed": (lambda: find(seed=2**32), "seed"),
    "unknown preset": (lambda: find(preset="photo"), "photo"),
    "unknown backend": (lambda: find(backend="metal"), "metal"),
    # Starts and maps
    "unknown start": (lambda: find(init="zero"), 'init is "zero"; allowed are "random", "identity"'),
    "an init too many": (lambda: find(init=[NNF, NNF]), "2 initial NNFs for 1 pairs"),
    "init of another size": (lambda: find(init=[NNF[:19]]), "not of the target's size"),
    "init without columns": (lambda: find(init=[NNF[..., 0]]), "NNF"),
    "init below the source": (lambda: find(init=[moved(20, 0)]), "row 20, column 0, outside of the source of 24x20"),
    "init left of the source": (lambda: find(init=[moved(0, -1)]), "row 0, column -1, outside"),
    "init beyond int16": (lambda: find(init=[moved(65536, 0, np.int64)]), "65536|int64|int16"),
    "fractional init": (lambda: find(init=[NNF + 0.5]), "float64|int16"),
    "source mask of another size": (lambda: find(masks=Masks(source=MAP[:19])), "source mask is 24x19"),
    "target mask of another size": (lambda: find(masks=Masks(target=MAP[:, :9])), "target mask is 9x20"),
    "coloured mask": (lambda: find(masks=Masks(source=IMAGE)), "source mask needs 1 channel, but has 3"),
    "empty mask": (lambda: find(masks=Masks(source=MAP[:0])), "mask"),
    "float mask": (lambda: find(masks=Masks(target=MAP / 255)), "target mask.*float64"),
    "bool mask": (lambda: find(masks=Masks(source=MAP > 0)), "source mask.*bool"),
    "no source left": (lambda: find(masks=Masks(source=MAP * 0)), "source mask leaves no place for a patch"),
    "too many modulations": (lambda: find(masks=Masks(modulation=[MAP, MAP])), "one modulation .* for each guide"),
    "modulation of another size": (lambda: find(masks=Masks(modulation=[MAP[:9]])), "modulation is 24x9"),
    "empty modulation": (lambda: find(masks=Masks(modulation=[MAP[:0]])), "modulation"),
    # Votes
    "vote with float NNF": (lambda: vote(NNF.astype(float), IMAGE, patch=5), "NNF is float64"),
    "vote with int32 NNF": (lambda: vote(NNF.astype(np.int32), IMAGE, patch=5), "NNF is int32"),
    "vote with half an NNF": (lambda: vote(NNF[..., :1], IMAGE, patch=5), r"shape \(20, 24, 1\)"),
    "vote with a flat NNF": (lambda: vote(NNF[..., 0], IMAGE, patch=5), r"shape \(20, 24\)"),
    "vote outside": (lambda: vote(moved(20, 0), IMAGE, patch=5), "row 20, column 0, outside"),
    "vote with an even patch": (lambda: vote(NNF, IMAGE, patch=2), "patch size is 2; allowed are odd numbers from 1"),
    "vote with float image": (lambda: vote(NNF, IMAGE / 255, patch=5), "image is float64"),
    "vote with no pixels": (lambda: vote(NNF, IMAGE[:0], patch=5), "image"),
    "vote with an empty NNF": (lambda: vote(NNF[:0], IMAGE, patch=5), "NNF"),
    "vote with 9 channels": (lambda: vote(NNF, noise((20, 24, 9)), patch=5), "9 channels; allowed are 1 to 8"),
    "error of another size": (lambda: vote(NNF, IMAGE, patch=5, error=np.ones((9, 24), np.float32)), "error map"),
    "NaN error": (lambda: vote(NNF, IMAGE, patch=5, error=np.full((20, 24), NAN, np.float32)), "error"),
    "negative error": (lambda: vote(NNF, IMAGE, patch=5, error=np.full((20, 24), -1, np.float32)), "error"),
    "batch without its images": (lambda: vote(np.stack([NNF, NNF]), [IMAGE], patch=5), "2 NNFs, but 1 images"),
    "batch without its errors": (
        lambda: vote(np.stack([NNF, NNF]), [IMAGE, IMAGE], patch=5, error=np.ones((1, 20, 24), np.float32)),
        "2 NNFs, but 1 error",
    ),
    "empty batch": (lambda: vote(np.zeros((0, 20, 24, 2), np.int16), [], patch=5), "NNF"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_gives_the_reason(case: str) -> None:
    call, reason = REFUSALS[case]
    with pytest.raises(EngineError, match=reason) as refusal:
        call()
    text = str(refusal.value)
    assert "\n" not in text
    # A line for a person, not the signature of a C++ function.
    assert len(text) < 250, text


@pytest.mark.skipif(cuda_available(), reason="there is a device that the engine can use")
def test_a_missing_device_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"CUDA: .*; use the CPU"):
        find(backend="cuda", masks=None)


def test_all_is_well_without_the_mistakes() -> None:
    """The cases above fail for the reason they give, not for their common frame."""
    find(styles=[IMAGE, IMAGE], init=[NNF], masks=Masks(MAP, MAP, [MAP]), weights=(1.0,), uniformity=1.0)
    vote(NNF, IMAGE, patch=5, error=np.ones((20, 24), np.float32))
