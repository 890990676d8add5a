"""Attention across frames against stock attention on tokens put side by side."""

import numpy as np
import pytest
import torch
from torch import Tensor

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
from diffusers.models.attention_processor import Attention, AttnProcessor

from diffsynth.attention.cross_frame import CrossFrameAttention, Links, attention
from diffsynth.attention.patterns import Batch, Reference, shared_batch, window_batch
from diffsynth.errors import UnavailableError

LATENTS = torch.zeros(1, 4, 8, 8)
TOKENS, WIDTH = 6, 16
BATCHES = {
    "window": window_batch((-10000, -1, 0, 1), 3, 6),
    "window at an end": window_batch((-10000, -1, 0, 1), 0, 6),
    "shared": shared_batch(("first", -1, 0, 1), range(2, 5), 8, 1),
    "references": shared_batch(("reference_0", 0, "reference_1"), range(3), 3, 1),
}


@pytest.fixture(scope="module")
def layer() -> Attention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Attention(query_dim=WIDTH, heads=2, dim_head=8, bias=False).eval()


def rows_of(batch: Batch, sides: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn((sides * len(batch.rows), TOKENS, WIDTH), generator=generator)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("backend", ["plain", "sdpa", "auto"])
def test_a_row_attends_to_the_rows_it_asks(layer: Attention, batch: Batch, sides: int, backend: str) -> None:
    rows, links = rows_of(batch, sides), Links()
    layer.set_processor(CrossFrameAttention(links, attention(backend)))  # type: ignore[arg-type]
    with torch.inference_mode(), links.of(batch, sides, LATENTS):
        found = layer(rows)
    layer.set_processor(AttnProcessor())
    for side in range(sides):
        first = side * len(batch.rows)
        for row in range(len(batch.rows)):
            seen = torch.cat([rows[first + each] for each in batch.asked[row // batch.asking]])
            with torch.inference_mode():
                expected = layer(rows[first + row][None], encoder_hidden_states=seen[None])[0]
            # Two orders of the same float32 sums.
            np.testing.assert_allclose(found[first + row], expected, rtol=1e-5, atol=1e-6)


def test_outside_of_a_batch_every_row_attends_to_itself(layer: Attention) -> None:
    rows = rows_of(BATCHES["shared"], 1)
    layer.set_processor(AttnProcessor())
    with torch.inference_mode():
        expected = layer(rows)
        layer.set_processor(CrossFrameAttention(Links(), attention("plain")))
        np.testing.assert_allclose(layer(rows), expected, rtol=1e-5, atol=1e-6)


def test_attention_to_words_knows_no_neighbours(layer: Attention) -> None:
    batch = BATCHES["shared"]
    rows, links = rows_of(batch, 1), Links()
    words = torch.randn((len(rows), 4, WIDTH), generator=torch.Generator().manual_seed(2))
    layer.set_processor(AttnProcessor())
    with torch.inference_mode():
        expected = layer(rows, encoder_hidden_states=words)
        layer.set_processor(CrossFrameAttention(links, attention("plain")))
        with links.of(batch, 1, LATENTS):
            found = layer(rows, encoder_hidden_states=words)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_links_within_links_come_back(layer: Attention) -> None:
    links = Links()
    with links.of(BATCHES["window"], 2, LATENTS):
        before = links.asking, links.asked
        with links.of(BATCHES["shared"], 1, LATENTS):
            assert links.asking == 1
        assert (links.asking, links.asked) == before
    assert links.asked is None


def test_a_reference_is_one_row_for_all_frames() -> None:
    assert BATCHES["references"].rows == (0, 1, 2, Reference(0), Reference(1))


def test_a_backend_that_is_not_installed_is_named() -> None:
    try:
        import xformers  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        with pytest.raises(UnavailableError, match="xformers"):
            attention("xformers")
    else:
        assert attention("xformers") is not None
