"""The outer blocks of a network, with what its deeper ones say before them, are the network."""

from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from tiny import save_tiny_controlnet, save_tiny_sd

from diffsynth.errors import ModelError
from diffsynth.sd.shallow import Listening, deep_shape, shallow_controlnet, shallow_unet, silent


@pytest.mark.parametrize("sides", [(8, 8), (7, 10), (5, 3)])
@torch.inference_mode()
def test_with_the_features_of_the_very_step_nothing_changes(tmp_path: Path, sides: tuple[int, int]) -> None:
    model = save_tiny_sd(tmp_path / "model")
    unet = UNet2DConditionModel.from_pretrained(model / "unet", local_files_only=True).eval()
    net = ControlNetModel.from_pretrained(save_tiny_controlnet(tmp_path / "net", model), local_files_only=True).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, 4, *sides), generator=generator)
    words = torch.randn((2, 77, 32), generator=generator)
    condition = torch.rand((2, 3, sides[0] * 8, sides[1] * 8), generator=generator)
    ear, shallow, outer_net = Listening(unet), shallow_unet(unet), shallow_controlnet(net)
    down, middle = net(x, 500, words, controlnet_cond=condition, return_dict=False)
    whole = unet(
        x,
        500,
        encoder_hidden_states=words,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]
    heard = ear.take()
    assert heard.shape[1:] == deep_shape(unet, *sides)
    shallow.up_blocks[0].features = heard
    first, nothing = outer_net(x, 500, words, controlnet_cond=condition, return_dict=False)
    assert len(first) < len(down)
    found = shallow(
        x,
        500,
        encoder_hidden_states=words,
        down_block_additional_residuals=first,
        mid_block_additional_residual=silent(nothing),
        return_dict=False,
    )[0]
    assert torch.equal(found, whole)
    assert len(unet.down_blocks) == len(unet.up_blocks) == 3, "the whole network keeps its blocks"


def test_a_denoiser_of_one_size_is_refused() -> None:
    flat = UNet2DConditionModel(
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
        cross_attention_dim=8,
    )
    with pytest.raises(ModelError, match="several sizes"):
        shallow_unet(flat)
