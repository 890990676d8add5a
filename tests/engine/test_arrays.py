"""Arrays of other libraries: read where they lie, by DLPack."""

import numpy as np
import pytest
from numpy_engine import noise

from diffsynth.engines.arrays import readable_image, view
from diffsynth.engines.native import Frame, Masks, Settings, estimate, vote
from diffsynth.errors import EngineError

torch = pytest.importorskip("torch")
ONE = Settings(threads=1)


def test_a_tensor_gives_what_its_array_gives() -> None:
    source, target, style = (noise((40, 50, 3), seed) for seed in range(3))
    mask = (noise((40, 50), 4) > 60).astype(np.uint8)
    plain = estimate([(0, 1)], [Frame(source), Frame([target])], [style], settings=ONE, masks=Masks(source=mask))
    tensors = [torch.from_numpy(one) for one in (source, target, style, mask)]
    frames = [Frame(tensors[0]), Frame([tensors[1]])]
    found = estimate([(0, 1)], frames, [tensors[2]], settings=ONE, masks=Masks(source=tensors[3]))
    assert np.array_equal(plain.nnf_yx, found.nnf_yx)
    assert np.array_equal(plain.voted, found.voted)
    again = estimate([(0, 1)], frames, init=[torch.from_numpy(found.nnf_yx[0])], settings=ONE)
    assert np.array_equal(
        again.nnf_yx, estimate([(0, 1)], [Frame(source), Frame(target)], init=[plain.nnf_yx[0]], settings=ONE).nnf_yx
    )
    field, error = torch.from_numpy(found.nnf_yx), torch.from_numpy(found.error)
    for weights in (None, error):
        batch = vote(field, tensors[2][None], patch=5, error=weights)
        one = vote(field[0], tensors[2], patch=5, error=None if weights is None else weights[0])
        expected = vote(plain.nnf_yx[0], style, patch=5, error=None if weights is None else plain.error[0])
        assert np.array_equal(batch[0], expected)
        assert np.array_equal(one, expected)


def test_a_tensor_is_read_in_place() -> None:
    # Channels first in memory would need a copy; rows and columns may be any view.
    tensor = torch.zeros((20, 30, 3), dtype=torch.uint8)
    seen = readable_image(tensor[2:10, ::2], "an image")
    tensor[2, 0, 1] = 77
    assert seen.shape == (8, 15, 3)
    assert seen[0, 0, 1] == 77


def test_tensors_that_cannot_be_read_in_place_are_refused() -> None:
    with pytest.raises(EngineError, match=r"guide 1 is a Tensor that cannot be read in place: .* meta"):
        Frame(torch.zeros((8, 8, 3), dtype=torch.uint8, device="meta"))
    with pytest.raises(EngineError, match="guide 1 is float32; the engine takes uint8 pixels"):
        Frame(torch.zeros((8, 8, 3)))
    with pytest.raises(EngineError, match="the error map is a Tensor that cannot be read in place"):
        view(torch.zeros((8, 8), requires_grad=True), "the error map", "(H, W)")
