"""A tiny text-to-video checkpoint with random weights and its own vocabulary, laid out as Latte's published one is."""

import json
from io import BytesIO
from pathlib import Path

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import sentencepiece
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, LatteTransformer3DModel
from transformers import T5Config, T5EncoderModel

FRAMES, SIDE, WIDTH = 4, 32, 16
SENTENCES = (
    "a red boat on a calm sea at dawn",
    "two dogs run over snow and bark",
    "rain falls on the roofs of an old town",
    "the moon above a field of tall grass",
)


def save_tiny_latte(folder: Path, *, seed: int = 0) -> Path:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        transformer = LatteTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            cross_attention_dim=WIDTH,
            attention_bias=True,
            sample_size=8,
            patch_size=2,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            caption_channels=WIDTH,
            video_length=FRAMES,
        )
        for parameter in transformer.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        blocks = {"block_out_channels": (8, 8, 8), "latent_channels": 4, "layers_per_block": 1}
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            **blocks,
        )
        temporal = AutoencoderKLTemporalDecoder(
            down_block_types=("DownEncoderBlock2D",) * 3, **{**blocks, "block_out_channels": (32, 32, 32)}
        )
        encoder = T5EncoderModel(
            T5Config(
                vocab_size=200,
                d_model=WIDTH,
                d_kv=8,
                d_ff=32,
                num_layers=2,
                num_heads=2,
                feed_forward_proj="gated-gelu",
            )
        )
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    transformer.save_pretrained(folder / "transformer")
    vae.save_pretrained(folder / "vae")
    temporal.save_pretrained(folder / "vae_temporal_decoder")
    encoder.save_pretrained(folder / "text_encoder")
    _save_tokenizer(folder / "tokenizer")
    schedule = {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "variance_type": "learned_range",
    }
    _write(folder / "scheduler" / "scheduler_config.json", schedule)
    parts = {
        "_class_name": "LattePipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "LatteTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    _write(folder / "model_index.json", parts)
    return folder


def _save_tokenizer(folder: Path) -> None:
    """As published: sentencepiece's own file, and no `tokenizer.json`."""
    folder.mkdir(parents=True)
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4),
        model_writer=model,
        vocab_size=60,
        model_type="unigram",
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    _write(
        folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 100}
    )


def _write(file: Path, content: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
