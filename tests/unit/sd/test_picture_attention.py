"""Attention to pictures, layer by layer: only where, when and on which side they are shown."""

import pytest
import torch
from torch import nn

from diffsynth.attention.cross_frame import CrossFrameAttention, Links, plain_attention
from diffsynth.diffusion.schedule import Step
from diffsynth.sd.picture_attention import LayerTokens, PictureAttention, PicturePrompt, Showing

WIDTH, HEADS, FRAMES = 8, 2, 3


class Layer(nn.Module):
    """What a processor asks of a diffusers attention layer; it answers with what it attends to, unmixed."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Identity()])
        self.heads, self.rescale_output_factor = HEADS, 1.0


def added(
    height: int, width: int, prompts: tuple[PicturePrompt, ...], sides: tuple[int, ...], step: Step
) -> torch.Tensor:
    """(sides, frames, h, w, D): what pictures add to a layer at half the latents' size."""
    torch.manual_seed(0)
    h, w = -(-height // 2), -(-width // 2)
    layer, showing = Layer(), Showing(prompts)
    queries, words = torch.randn(len(sides) * FRAMES, h * w, WIDTH), torch.randn(len(sides) * FRAMES, 5, WIDTH)
    tokens = [LayerTokens(torch.randn(2, 4, WIDTH), torch.randn(2, 4, WIDTH)) for _ in prompts]
    showing.set(step, 2, sides, torch.empty(len(queries), 4, height, width))
    with torch.no_grad():
        plain = CrossFrameAttention(Links(), plain_attention)(layer, queries, words)
        shown = PictureAttention(Links(), plain_attention, showing, tokens)(layer, queries, words)
    return (shown - plain).view(len(sides), FRAMES, h, w, WIDTH)


FIRST, SECOND = Step(0, 999, 0.1, 0.5), Step(1, 500, 0.5, 1.0)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (3, 10)])
@pytest.mark.parametrize("sides", [(0, 1), (1,), (0,)], ids=str)
def test_a_mask_says_where(height: int, width: int, sides: tuple[int, ...]) -> None:
    """Odd sizes too; the mask is of another size and lies over the picture."""
    mask = torch.zeros(1, 1, 40, 60)
    mask[..., 30:] = 1
    found = added(height, width, (PicturePrompt(1.0, mask=mask),), sides, FIRST)
    whole = added(height, width, (PicturePrompt(1.0),), sides, FIRST)
    columns = found.shape[3]
    left, right = columns // 2, -(-columns // 2)
    assert found[:, :, :, :left].abs().max() < 1e-6
    torch.testing.assert_close(found[:, :, :, right:], whole[:, :, :, right:], rtol=0, atol=1e-6)
    assert whole.abs().mean() > 0.05
    if columns % 2:
        torch.testing.assert_close(found[:, :, :, left], whole[:, :, :, left] / 2, rtol=0, atol=1e-6)


def test_a_prompt_says_when_and_how_strongly() -> None:
    one, two = PicturePrompt(0.5, end=0.5), PicturePrompt(2.0, start=0.5)
    whole = added(4, 6, (PicturePrompt(1.0), PicturePrompt(0.0)), (1,), FIRST)
    torch.testing.assert_close(added(4, 6, (one, two), (1,), FIRST), whole / 2, rtol=0, atol=1e-6)
    other = added(4, 6, (PicturePrompt(0.0), PicturePrompt(1.0)), (1,), SECOND)
    torch.testing.assert_close(added(4, 6, (one, two), (1,), SECOND), other * 2, rtol=0, atol=1e-6)
    both = added(4, 6, (PicturePrompt(1.0), PicturePrompt(1.0)), (1,), FIRST)
    torch.testing.assert_close(both, whole + other, rtol=0, atol=1e-6)


def test_each_side_sees_its_own() -> None:
    """The negative side is shown the tokens of no picture; all frames of a side see the same tokens."""
    found = added(4, 6, (PicturePrompt(1.0),), (0, 1), FIRST)
    assert (found[0] - found[1]).abs().mean() > 0.05
