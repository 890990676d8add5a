"""Latte against its restatement in NumPy, its published sizes, and what must hold of any backbone."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from latte_oracle import Restated
from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.models import Condition, LatteConfig, VideoShape
from diffsynth.models.latte import Latte

FRAMES, CHANNELS, HEIGHT, WIDTH = 4, 2, 4, 6
SHAPE = VideoShape(FRAMES, CHANNELS, HEIGHT, WIDTH)
CLASSES, WORDS, STATES = 5, 3, 10
VARIANTS = ("interleaved", "sequential", "joint", "split")
SMALL: dict[str, Any] = {"hidden": 16, "depth": 4, "heads": 4, "patch": 2, "mlp_ratio": 2}
CONDITIONS = {
    "none": Condition(),
    "class": Condition("class", num_classes=CLASSES),
    "text": Condition("text", text_dim=STATES, text_tokens=WORDS),
}


def network(condition: str = "class", shape: VideoShape = SHAPE, *, learned: bool = True, **choices: Any) -> Latte:
    """Random weights everywhere: the published start hides all blocks."""
    built = LatteConfig(**{**SMALL, **choices}).build(shape, CONDITIONS[condition], learned_sigma=learned)
    random = torch.Generator().manual_seed(1)
    for parameter in built.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3, generator=random)
    return built.eval()


def videos(count: int, frames: int, shape: VideoShape = SHAPE) -> Tensor:
    size = (count, frames, shape.channels, shape.height, shape.width)
    return torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def conditions(kind: str, count: int, owners: int) -> Tensor | None:
    """Of their own for the video and each picture, where `owners` is more than 1."""
    random = torch.Generator().manual_seed(3)
    if kind == "class":
        labels = torch.randint(0, CLASSES + 1, (count, owners), generator=random)
        return labels if owners > 1 else labels[:, 0]
    if kind == "text":
        states = torch.randn((count, owners, WORDS, STATES), generator=random, dtype=torch.float64)
        states[0, :, -1] = 0  # padding
        return states if owners > 1 else states[:, 0]
    return None


@torch.no_grad()
def compare(built: Latte, restated: Restated, kind: str, pictures: int, owners: int) -> None:
    x, t = videos(2, FRAMES + pictures), torch.tensor([3.7, 981.0], dtype=torch.float64)
    cond = conditions(kind, 2, owners)
    answer = built.double()(x, t, cond, pictures).numpy()
    weights = {name: each.numpy() for name, each in built.state_dict().items()}
    for number in range(2):
        told: dict[str, Any] = {}
        if cond is not None:
            own = cond[number].numpy() if owners > 1 else cond[number : number + 1].numpy()
            told = {"labels": own.tolist()} if kind == "class" else {"text": own}
        expected = restated.answer(weights, x[number].numpy(), float(t[number]), **told)
        assert np.abs(expected).max() > 0.5
        # Both are in float64; position tables are stored in float32, as published.
        np.testing.assert_allclose(answer[number], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("pictures", "owners"), [(0, 1), (3, 1), (3, 4)])
@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_answers_as_its_restatement_does(variant: str, kind: str, pictures: int, owners: int) -> None:
    restated = Restated(4, FRAMES, HEIGHT, WIDTH, 2, variant=variant)
    compare(network(kind, variant=variant), restated, kind, pictures, owners)


@pytest.mark.parametrize(
    ("variant", "tube", "tokens", "rotary"), [*product(VARIANTS, (1, 2), (False, True), (False, True))]
)
def test_every_choice_answers_as_restated(variant: str, tube: int, tokens: bool, rotary: bool) -> None:
    choices = {
        "variant": variant,
        "patch_embedding": "tube" if tube > 1 else "uniform",
        "conditioning": "all_tokens" if tokens else "s_adaln",
        "temporal_positions": "rotary" if rotary else "sincos",
    }
    restated = Restated(4, FRAMES, HEIGHT, WIDTH, 2, tube, variant, tokens, rotary)
    for kind in CONDITIONS:
        compare(network(kind, **choices), restated, kind, pictures=2, owners=3)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("S/2", 32.585),
        ("S/4", 32.567),
        ("S/8", 32.770),
        ("B/2", 129.756),
        ("L/2", 457.094),
        ("XL/2", 673.995),
    ],
)
def test_a_published_size_has_its_number_of_parameters(size: Any, count: float) -> None:
    def parameters(condition: Condition) -> int:
        with torch.device("meta"):
            built = LatteConfig(size=size).build(VideoShape(16, 4, 32, 32), condition, learned_sigma=True)
        return sum(each.numel() for each in built.parameters())

    plain = parameters(Condition())
    assert round(plain / 1e6, 3) == count
    assert parameters(Condition("class", num_classes=101)) == plain + 102 * LatteConfig(size=size).hidden


def test_weights_have_their_published_names() -> None:
    built = network()
    block = [
        f"{part}.{kind}"
        for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1")
        for kind in ("weight", "bias")
    ]
    expected = {
        "pos_embed",
        "temp_embed",
        "y_embedder.embedding_table.weight",
        *(f"{part}.{kind}" for part in ("x_embedder.proj", "t_embedder.mlp.0") for kind in ("weight", "bias")),
        *(f"{part}.{kind}" for part in ("t_embedder.mlp.2", "final_layer.linear") for kind in ("weight", "bias")),
        *(f"final_layer.adaLN_modulation.1.{kind}" for kind in ("weight", "bias")),
        *(f"blocks.{number}.{name}" for number in range(4) for name in block),
    }
    assert set(built.state_dict()) == expected


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_compiles_as_one_graph_under_the_same_names(variant: str) -> None:
    built = network(variant=variant)
    names = list(built.state_dict())
    x, t, labels = videos(1, FRAMES + 1).float(), torch.tensor([10.0]), torch.tensor([[0, 1]])
    plain = built(x, t, labels, 1)
    built.compile(backend="eager", fullgraph=True)
    assert torch.equal(built(x, t, labels, 1), plain)
    assert list(built.state_dict()) == names


@pytest.mark.parametrize("variant", VARIANTS)
def test_attention_written_out_agrees(variant: str) -> None:
    x, t = videos(2, FRAMES).float(), torch.tensor([10.0, 900.0])
    for kind, conditioning in product(CONDITIONS, ("s_adaln", "all_tokens")):
        cond = conditions(kind, 2, 1)
        cond = cond.float() if kind == "text" and cond is not None else cond
        answers, slopes = [], []
        for attention in ("sdpa", "math"):
            built = network(kind, variant=variant, conditioning=conditioning, attention=attention)
            for parameter in built.parameters():
                parameter.data *= 0.3 if parameter.requires_grad else 1
            answers.append(built(x, t, cond))
            answers[-1].square().mean().backward()
            slopes.append(built.blocks[0].attn.qkv.weight.grad)
        # The order of sums in float32.
        torch.testing.assert_close(*answers, rtol=0, atol=1e-5)
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("conditioning", ["s_adaln", "all_tokens"])
def test_checkpointing_changes_nothing(conditioning: str) -> None:
    built = network(conditioning=conditioning)
    x, t, labels = videos(2, FRAMES).float(), torch.tensor([10.0, 900.0]), torch.tensor([0, CLASSES])
    slopes = []
    for checkpointing in (False, True):
        built.checkpointing = checkpointing
        built.zero_grad()
        built(x, t, labels).square().mean().backward()
        slopes.append([each.grad.clone() for each in built.parameters() if each.grad is not None])
    assert len(slopes[0]) == len(slopes[1]) > 10
    for one, other in zip(*slopes, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("variant", VARIANTS)
def test_half_precision_says_nearly_the_same(variant: str) -> None:
    x, t = videos(2, FRAMES + 1).float(), torch.tensor([10.0, 900.0])
    for kind, conditioning in product(CONDITIONS, ("s_adaln", "all_tokens")):
        built = network(kind, variant=variant, conditioning=conditioning)
        for parameter in built.parameters():
            parameter.data *= 0.3 if parameter.requires_grad else 1
        cond = conditions(kind, 2, 2)
        cond = cond.float() if kind == "text" and cond is not None else cond
        full = built(x, t, cond, 1)
        with torch.autocast("cpu", torch.bfloat16):
            half = built(x, t, cond, 1)
        half.float().square().mean().backward()
        # bfloat16 has 8 bits; errors of a dozen layers add up.
        assert (half - full).abs().max() < 0.1 * full.abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [VideoShape(1, 1, 4, 4), VideoShape(7, 3, 2, 10)])
def test_any_number_of_frames_and_any_rectangle(variant: str, shape: VideoShape) -> None:
    built = network("none", shape, learned=False, variant=variant).double()
    x = videos(3, shape.frames, shape)
    answer = built(x, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert answer.shape == x.shape
    alone = built(x[1:2], torch.tensor([2.0], dtype=torch.float64))
    torch.testing.assert_close(answer[1:2], alone)


@pytest.mark.parametrize("variant", VARIANTS)
def test_pictures_beside_a_video_leave_it_alone(variant: str) -> None:
    built = network("class", variant=variant).double()
    x, t = videos(2, FRAMES + 2), torch.tensor([5.0, 800.0], dtype=torch.float64)
    labels = torch.tensor([[0, 1, 2], [3, 4, CLASSES]])
    both = built(x, t, labels, 2)
    torch.testing.assert_close(both[:, :FRAMES], built(x[:, :FRAMES], t, labels[:, 0]))
    swapped = built(x[:, [*range(FRAMES), FRAMES + 1, FRAMES]], t, labels[:, [0, 2, 1]], 2)
    torch.testing.assert_close(swapped[:, [*range(FRAMES), FRAMES + 1, FRAMES]], both)


@pytest.mark.parametrize("kind", CONDITIONS)
def test_the_null_condition_is_one_of_its_own(kind: str) -> None:
    built = network(kind)
    x, t = videos(2, FRAMES).float(), torch.tensor([5.0, 800.0])
    null = built.null_condition(2)
    if kind == "none":
        assert null is None
    else:
        cond = conditions(kind, 2, 1)
        assert cond is not None
        assert null is not None
        assert null.shape == cond.shape
        cond = torch.zeros_like(cond) if kind == "class" else cond.float()
        assert (built(x, t, null) - built(x, t, cond)).abs().max() > 0.1


def test_padding_of_a_text_is_not_heard() -> None:
    x, t = videos(1, FRAMES).float(), torch.tensor([5.0])
    words = torch.randn(1, 2, STATES, generator=torch.Generator().manual_seed(0))
    padded = torch.cat([words, torch.zeros(1, 4, STATES)], 1)
    for conditioning in ("s_adaln", "all_tokens"):
        built = network("text", conditioning=conditioning)
        torch.testing.assert_close(built(x, t, padded), built(x, t, words), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("conditioning", ["s_adaln", "all_tokens"])
def test_at_its_start_it_answers_zero_and_all_of_it_will_learn(conditioning: Any) -> None:
    built = LatteConfig(**SMALL, conditioning=conditioning).build(SHAPE, CONDITIONS["class"], learned_sigma=False)
    answer = built(videos(1, FRAMES).float(), torch.tensor([5.0]), torch.tensor([1]))
    assert torch.equal(answer, torch.zeros_like(answer))
    fixed = {name for name, each in built.named_parameters() if not each.requires_grad}
    assert fixed == {"pos_embed", "temp_embed"}
    zero = {name for name, each in built.named_parameters() if each.ndim > 1 and not each.any()}
    modulations = {f"blocks.{number}.adaLN_modulation.1.weight" for number in range(4)}
    modulations |= {"final_layer.adaLN_modulation.1.weight"}
    assert zero == {"final_layer.linear.weight"} | (modulations if conditioning == "s_adaln" else set())


@pytest.mark.parametrize(
    ("x", "cond", "pictures", "words"),
    [
        (videos(1, FRAMES + 1), torch.tensor([0]), 0, "5, 2, 4, 6"),
        (videos(1, FRAMES)[..., :4], torch.tensor([0]), 0, "4, 2, 4, 4"),
        (videos(1, FRAMES), None, 0, '"class", but none was given'),
        (videos(1, FRAMES + 2), torch.tensor([[0, 1]]), 2, "2 pictures beside each video, but 2 conditions"),
    ],
)
def test_what_does_not_fit_is_said(x: Tensor, cond: Tensor | None, pictures: int, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        network("class")(x.float(), torch.tensor([5.0]), cond, pictures)
