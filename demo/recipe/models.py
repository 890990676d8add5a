"""The shapes of the tiny model's parts. All are stock diffusers and transformers classes."""

from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LATENT_CHANNELS = 8
"""Twice Stable Diffusion's: four can't hold the faces of small people."""
DOWN = 8
TOKENS = 32
TEXT_WIDTH = 128
UNET_WIDTHS = (64, 128, 160)
HEAD_WIDTH = 32


def new_vae() -> AutoencoderKL:
    # Two groups: with a group per channel, normalisation would wash the colours out.
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 24, 48, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=2,
        sample_size=192,
        mid_block_add_attention=False,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """Attention at the two lower resolutions; the prompt also steers every layer through the time embedding.

    The latter (`addition_embed_type`) binds season and style to the whole picture, which cross-attention at a few
    coarse layers is slow to learn.
    """
    return UNet2DConditionModel(
        sample_size=24,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=UNET_WIDTHS,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(width // HEAD_WIDTH for width in UNET_WIDTHS),
        norm_num_groups=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )


def new_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    return ControlNetModel.from_unet(unet, conditioning_channels=3, conditioning_embedding_out_channels=(8, 16, 32, 64))


def new_scheduler() -> DDIMScheduler:
    """Pure noise at the last step: else the mean colour of the noise leaks into every picture."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )
