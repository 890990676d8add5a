"""One seed, one result: whatever the threads, the batch, the instruction set or the shortcuts."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pictures import picture, warped

from diffsynth.engines.base import Matches
from diffsynth.engines.native import Frame, Settings, estimate, instruction_set, vote
from diffsynth.errors import DiffSynthError

ISAS = ("avx512", "avxvnni", "avx2", "portable")


def same(a: Matches, b: Matches) -> bool:
    voted = a.voted is b.voted is None or np.array_equal(a.voted, b.voted)  # type: ignore[arg-type]
    return voted and np.array_equal(a.nnf_yx, b.nnf_yx) and np.array_equal(a.error, b.error)


def scene() -> tuple[list[Frame], list[NDArray[np.uint8]]]:
    source = picture(150, 131)
    frames = [Frame(source), Frame(warped(source, (4, -3), bend=3)), Frame(warped(source, (-6, 2), bend=1))]
    return frames, [picture(150, 131, seed=s) for s in (7, 8, 9)]


@pytest.mark.parametrize("preset", ["video", "generic"])
@pytest.mark.parametrize("patch", [5, 11])
def test_threads_do_not_matter(preset: str, patch: int) -> None:
    frames, styles = scene()
    results = [
        estimate([(0, 1)], frames, styles, settings=Settings(preset=preset, patch=patch, threads=t))  # type: ignore[arg-type]
        for t in (1, 2, 8)
    ]
    assert same(results[0], results[1])
    assert same(results[0], results[2])


def test_batches_do_not_matter() -> None:
    frames, styles = scene()
    pairs = [(0, 1), (1, 2), (2, 0), (0, 2), (1, 0)]
    together = estimate(pairs, frames, styles, patch=5, threads=2)
    assert together.voted is not None
    for i, pair in enumerate(pairs):
        alone = estimate([pair], frames, styles, patch=5, threads=1)
        assert alone.voted is not None
        np.testing.assert_array_equal(together.nnf_yx[i], alone.nnf_yx[0])
        np.testing.assert_array_equal(together.voted[i], alone.voted[0])


def test_seeds_matter() -> None:
    frames, _ = scene()
    first, second = (estimate([(0, 1)], frames, seed=s, preset="generic", threads=1) for s in (1, 2))
    assert not same(first, second)


@pytest.mark.parametrize("patch", [3, 5, 7, 9, 11, 15, 21, 33])
@pytest.mark.parametrize("guides", [(3,), (1, 3), (3, 3, 3, 3), (8, 1, 1), (4, 4)])
def test_instruction_sets_agree_to_the_byte(
    patch: int, guides: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = [picture(48, 57, c, seed=i) for i, c in enumerate(guides)]
    target = [warped(image, (2, 3), bend=2) for image in source]
    weights = [0.3 + 7 * i for i in range(len(guides))]
    style = picture(48, 57, 4 if patch == 9 else 3, seed=20)
    results = []
    for isa in ISAS:
        monkeypatch.setenv("EBSYNTH_ISA", isa)
        try:
            assert instruction_set() == isa
        except DiffSynthError as error:
            assert "lacks" in str(error)  # noqa: PT017 - which sets a machine has can't be asked before
            continue
        frames = [Frame(source), Frame(target)]
        results += [
            (styles is None, estimate([(0, 1)], frames, styles, patch=patch, weights=weights, threads=1))
            for styles in (None, [style])
        ]
    assert len(results) >= 2
    for bare in (True, False):
        first, *others = [matches for without, matches in results if without == bare]
        assert all(same(first, other) for other in others)


def test_votes_agree_to_the_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    nnf = np.stack([rng.integers(0, 40, (50, 61)), rng.integers(0, 33, (50, 61))], -1).astype(np.int16)
    nnf[10:40, 5:25] = np.moveaxis(np.indices((30, 20)), 0, -1) + 4
    error = rng.gamma(1.0, size=(50, 61)).astype(np.float32)
    image = picture(40, 33, 5)
    monkeypatch.setenv("EBSYNTH_ISA", "portable")
    expected = [vote(nnf, image, patch=7, error=e, threads=1) for e in (None, error)]
    monkeypatch.delenv("EBSYNTH_ISA")
    for threads in (1, 3):
        for e, result in zip((None, error), expected, strict=True):
            np.testing.assert_array_equal(vote(nnf, image, patch=7, error=e, threads=threads), result)


@pytest.mark.parametrize("patch", [11, 15, 21, 33])
def test_the_lower_bound_changes_nothing(patch: int) -> None:
    frames, styles = scene()
    for given in (None, styles):
        for preset in ("video", "generic"):
            on, off = (
                estimate([(0, 1)], frames, given, settings=Settings(preset=preset, patch=patch, bound=bound, threads=1))  # type: ignore[arg-type]
                for bound in (True, False)
            )
            assert same(on, off)


def test_an_unknown_instruction_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBSYNTH_ISA", "sse9")
    with pytest.raises(DiffSynthError, match=r'EBSYNTH_ISA is "sse9".*Known: avx512, avxvnni, avx2, portable'):
        estimate([(0, 0)], [Frame(picture(9, 9))])
