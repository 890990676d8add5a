"""Merging tokens: what stays, what goes where, and what comes back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffsynth.attention.merging import Grid, merge


def tokens_of(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((2, height * width, 8), generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 7), st.integers(1, 7), st.floats(0, 0.75), st.integers(0, 99))
def test_as_many_go_as_asked_and_all_come_back(height: int, width: int, share: float, seed: int) -> None:
    tokens = tokens_of(height, width, seed)
    merged = merge(tokens, (height, width), share)
    staying = -(-height // 2) * -(-width // 2)
    gone = min(int(height * width * share), height * width - staying)
    small = merged.together(tokens)
    assert small.shape == (2, height * width - gone, 8)
    assert merged.apart(small).shape == tokens.shape


def test_nothing_merged_is_nothing_changed() -> None:
    tokens = tokens_of(4, 6)
    merged = merge(tokens, (4, 6), 0.0)
    assert torch.equal(merged.apart(merged.together(tokens)), tokens)


def test_each_token_comes_back_as_the_mean_of_what_was_merged_with_it() -> None:
    """By brute force over all tokens: the likest of those that stay, the likest pairs first."""
    height, width, share = 4, 6, 0.4
    tokens = tokens_of(height, width)
    found = merge(tokens, (height, width), share)
    back = found.apart(found.together(tokens))
    for row, result in zip(tokens, back, strict=True):
        stay = [y * width + x for y in range(0, height, 2) for x in range(0, width, 2)]
        rest = [each for each in range(height * width) if each not in stay]
        unit = row / row.norm(dim=-1, keepdim=True)
        best = {each: max(stay, key=lambda other, each=each: float(unit[each] @ unit[other])) for each in rest}
        likest = sorted(rest, key=lambda each: -float(unit[each] @ unit[best[each]]))[: int(height * width * share)]
        groups = {each: [each, *(other for other in likest if best[other] == each)] for each in stay}
        expected = row.clone()
        for members in groups.values():
            expected[members] = row[members].mean(0)
        assert torch.allclose(result, expected, atol=1e-6)


def test_equal_tokens_lose_nothing() -> None:
    tokens = torch.ones(1, 16, 8) * torch.arange(1, 9)
    merged = merge(tokens, (4, 4), 0.75)
    assert torch.allclose(merged.apart(merged.together(tokens)), tokens)


@pytest.mark.parametrize(("tokens", "sides"), [(5 * 7, (5, 7)), (3 * 4, (3, 4)), (2 * 2, None)])
def test_fine_layers_are_told_by_their_tokens(tokens: int, sides: tuple[int, int] | None) -> None:
    assert Grid(5, 7).of(tokens) == sides
