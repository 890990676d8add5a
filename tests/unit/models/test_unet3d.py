"""The U-net against its restatement, its sizes, and what may and may not pass between frames."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from unet_oracle import RestatedUnet

from diffsynth.errors import ModelError
from diffsynth.models import Condition, Unet3DConfig, VideoShape
from diffsynth.models.unet3d import Unet3D
from diffsynth.models.unet3d_layers import buckets
from diffsynth.models.video_unet import VideoUnet, pooled

SMALL: dict[str, Any] = {"dim": 8, "dim_mults": (1, 2), "attn_heads": 2, "attn_dim_head": 8}
SHAPE = VideoShape(4, 3, 8, 8)


def made(**keys: Any) -> Unet3D:
    torch.manual_seed(0)
    network = Unet3D(**{**SMALL, **keys}).double()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return network


def moving(batch: int = 2, frames: int = 4) -> Tensor:
    return torch.randn(batch, 3, frames, 8, 8, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize(
    ("keys", "oracle"),
    [
        ({}, RestatedUnet(2)),
        ({"resnet_groups": 4, "skip_from": "convolution"}, RestatedUnet(2, groups=4, early_skip=True)),
        ({"cond_dim": 5, "use_sparse_linear_attn": False, "attn_dim_head": 36}, RestatedUnet(2)),
        ({"dim_mults": (1, 2, 3), "init_dim": 4, "out_dim": 6, "init_kernel_size": 3}, RestatedUnet(2)),
    ],
)
def test_the_answer_is_that_of_the_restatement(keys: dict[str, Any], oracle: RestatedUnet) -> None:
    network = made(**keys)
    x, t = moving(frames=9), torch.tensor([0.0, 700.0]).double()
    told = torch.randn(2, 5).double() if "cond_dim" in keys else None
    weights = {name: each.numpy() for name, each in network.state_dict().items()}
    with torch.no_grad():
        said = network(x, t, told)
    for index in range(2):
        expected = oracle.answer(
            weights, x[index].numpy(), float(t[index]), None if told is None else told[index].numpy()
        )
        # Float64 on both sides, over some thirty layers.
        np.testing.assert_allclose(said[index].numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = Unet3D(64)
    assert sum(each.numel() for each in network.parameters()) == 35_706_243


def test_distances_fall_into_buckets_as_they_do_in_t5() -> None:
    found = buckets(torch.tensor([0, -1, -7, -8, -31, -32, -500, 1, 7, 8, 31, 500])).tolist()
    assert found == [0, 1, 7, 8, 15, 15, 15, 17, 23, 24, 31, 31]


@pytest.mark.parametrize("groups", [None, 4])
def test_focus_on_the_present_lets_nothing_pass_between_frames(groups: int | None) -> None:
    network, x = made(resnet_groups=groups), moving()
    t = torch.tensor([10.0, 500.0]).double()
    other = x.clone()
    other[:, :, 3] += 1
    with torch.no_grad():
        for prob, moved in ((1.0, 0), (0.0, 3)):
            one, two = (network(each, t, prob_focus_present=prob) for each in (x, other))
            same = [torch.equal(one[:, :, frame], two[:, :, frame]) for frame in range(3)]
            assert same.count(False) == moved, f"at {prob}: {same}"
        mask = torch.tensor([True, False])
        mixed = network(x, t, focus_present_mask=mask)
        torch.testing.assert_close(mixed[:1], network(x[:1], t[:1], prob_focus_present=1.0))
        torch.testing.assert_close(mixed[1:], network(x[1:], t[1:]))
        # A frame alone is a video of one frame.
        torch.testing.assert_close(mixed[:1, :, 2:3], network(x[:1, :, 2:3], t[:1]))


def test_chance_decides_what_is_left_out() -> None:
    network, x, t = made(cond_dim=5), moving(), torch.zeros(2).double()
    told = torch.randn(2, 5).double()
    nothing = network.null_cond_emb.expand(2, -1) if network.null_cond_emb is not None else told
    with torch.no_grad():
        torch.testing.assert_close(network(x, t, told, null_cond_prob=1.0), network(x, t, nothing))
        with_it, without = network(x, t, told), network(x, t, nothing)
        scaled = network.forward_with_cond_scale(x, t, told, cond_scale=3.0)
        torch.testing.assert_close(scaled, without + 3 * (with_it - without))
        torch.manual_seed(0)
        told = torch.ones(400, 5).double()
        chosen = network.without(told, torch.rand(400) < 0.5)
        assert 150 < int((chosen == 1).all(1).sum()) < 250


def adapted(condition: Condition, **keys: Any) -> VideoUnet:
    torch.manual_seed(0)
    return Unet3DConfig.model_validate({**SMALL, **keys}).build(SHAPE, condition, learned_sigma=False).eval()


def test_pictures_are_videos_of_one_frame_with_conditions_of_their_own() -> None:
    backbone = adapted(Condition("class", num_classes=3))
    x, t = torch.randn(2, 6, 3, 8, 8), torch.tensor([20.0, 900.0])
    labels = torch.tensor([[0, 1, 2], [3, 0, 3]])
    with torch.no_grad():
        both = backbone(x, t, labels, 2)
        torch.testing.assert_close(both[:, :4], backbone(x[:, :4], t, labels[:, 0]))
        swapped = backbone(torch.cat([x[:, :4], x[:, [5, 4]]], 1), t, labels[:, [0, 2, 1]], 2)
        torch.testing.assert_close(swapped[:, 4:], both[:, [5, 4]])
        focused = backbone(x[:, :4], t, labels[:, 0], focus=torch.tensor([True, True]))
        alone = backbone(torch.cat([x[:, :4], x[:, :1]], 1), t, labels[:, :1], 1)
        torch.testing.assert_close(focused[:, 0], alone[:, 4])
        nothing = backbone.null_condition(2)
        assert nothing is not None
        torch.testing.assert_close(backbone(x[:, :4], t, nothing)[1], both[1, :4])


def test_a_text_is_pooled_over_what_is_no_padding() -> None:
    states = torch.tensor([[9.0, 1.0], [2.0, 4.0], [4.0, 2.0], [0.0, 0.0]])[None]
    assert pooled(states, "words").tolist() == [[3.0, 3.0]]
    torch.testing.assert_close(pooled(states, "mean"), torch.tensor([[5.0, 7 / 3]]))
    assert pooled(states, "first").tolist() == [[9.0, 1.0]]
    backbone = adapted(Condition("text", text_dim=2, text_tokens=4))
    nothing = backbone.null_condition(1)
    assert nothing is not None
    assert torch.equal(backbone.told(nothing)[0], backbone.denoise_fn.null_cond_emb)


def test_activations_computed_anew_give_the_same_gradients() -> None:
    network, x, t = made(), moving(), torch.zeros(2).double()
    found = []
    for anew in (False, True):
        network.checkpointing = anew
        network.zero_grad()
        network(x, t).square().sum().backward()
        found.append([each.grad.clone() for each in network.parameters() if each.grad is not None])
    assert len(found[0]) == len(list(network.parameters()))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"init_kernel_size": 4}, '"init_kernel_size" is 4'),
        ({"resnet_groups": 3}, '"resnet_groups" is 3'),
        ({"block_type": "convnext"}, 'known is "resnet"'),
    ],
)
def test_networks_that_cannot_be_are_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        made(**keys)
    if "block_type" not in keys:
        with pytest.raises(ValueError, match=next(iter(keys))):
            Unet3DConfig.model_validate({**SMALL, **keys})


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ModelError, match="multiples of 2; it was given 3 channels of 8×7"):
        made()(moving()[..., :7], torch.zeros(2).double())
    with pytest.raises(ModelError, match="told a vector of 5 numbers"):
        made(cond_dim=5)(moving(), torch.zeros(2).double())
    with pytest.raises(ModelError, match="told 5 numbers for each video, but was given 4"):
        made(cond_dim=5)(moving(), torch.zeros(2).double(), torch.zeros(2, 4).double())
    with pytest.raises(ModelError, match=r"3 levels.*multiples of 4.*10×8"):
        Unet3DConfig(dim_mults=(1, 2, 4)).build(VideoShape(4, 3, 8, 10), Condition(), learned_sigma=False)
    with pytest.raises(ModelError, match="videos of"):
        adapted(Condition())(torch.zeros(1, 5, 3, 8, 8), torch.zeros(1))


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"dim": 7}, '"dim" is 7: it must be even'),
        ({"dim_mults": ()}, '"dim_mults" is empty'),
        ({"dim_mults": (0, 1)}, "none may be below 1"),
        ({"attn_heads": 0}, "none may be below 1"),
        ({"attn_dim_head": 3}, '"attn_dim_head" is 3'),
    ],
)
def test_numbers_of_no_network_are_told(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        Unet3D(**({"dim": 8} | keys))
