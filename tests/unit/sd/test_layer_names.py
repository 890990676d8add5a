"""Names of layers in LoRA files: those of published files lead to the layers that they mean, and none to two."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from original_layout import XL_DENOISER
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from diffsynth.sd.layer_names import layer_names

EXPECTED = {
    "sd1": {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": (
            "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
        ),
        "lora_unet_mid_block_attentions_0_proj_in": "mid_block.attentions.0.proj_in",
        "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj": (
            "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj"
        ),
        "lora_unet_down_blocks_2_downsamplers_0_conv": "down_blocks.2.downsamplers.0.conv",
        "lora_te_text_model_encoder_layers_11_self_attn_out_proj": "encoder.layers.11.self_attn.out_proj",
        "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out": (
            "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
        ),
        "text_encoder.text_model.encoder.layers.0.self_attn.to_q": "encoder.layers.0.self_attn.q_proj",
    },
    "xl": {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
        ),
        "lora_unet_input_blocks_8_1_proj_out": "down_blocks.2.attentions.1.proj_out",
        "lora_unet_input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
        "lora_unet_middle_block_1_transformer_blocks_9_attn2_to_v": (
            "mid_block.attentions.0.transformer_blocks.9.attn2.to_v"
        ),
        "lora_unet_middle_block_2_in_layers_2": "mid_block.resnets.1.conv1",
        "lora_unet_output_blocks_5_1_transformer_blocks_1_ff_net_2": (
            "up_blocks.1.attentions.2.transformer_blocks.1.ff.net.2"
        ),
        "lora_unet_output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
        "lora_unet_output_blocks_8_0_emb_layers_1": "up_blocks.2.resnets.2.time_emb_proj",
        "lora_unet_label_emb_0_0": "add_embedding.linear_1",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": "encoder.layers.0.mlp.fc1",
        "lora_te2_text_model_encoder_layers_31_mlp_fc2": "text_model.encoder.layers.31.mlp.fc2",
    },
}


@pytest.mark.parametrize("kind", EXPECTED)
def test_published_names(kind: str) -> None:
    config = CLIPTextConfig(vocab_size=64, hidden_size=8, intermediate_size=8, num_attention_heads=2, bos_token_id=1)
    config.eos_token_id = 2
    config.num_hidden_layers = 32
    with torch.device("meta"):
        plain = {"cross_attention_dim": 768, "attention_head_dim": 8}
        parts = {
            "unet": UNet2DConditionModel(**(XL_DENOISER if kind == "xl" else plain)),
            "text_encoder": CLIPTextModel(config),
        }
        if kind == "xl":
            parts["text_encoder_2"] = CLIPTextModelWithProjection(config)
    found: dict[str, tuple[str, str]] = {}
    for part, network in parts.items():
        for name, place in layer_names(part, network):
            assert found.setdefault(name, place) == place, f"{name} means two layers"
    for name, layer in EXPECTED[kind].items():
        assert found[name][1] == layer
