"""Each snippet of the published package's README, with a smaller network and fewer steps and nothing else changed."""

from pathlib import Path

import pytest
import torch
from tiny_bert import save_tiny_bert
from tiny_gifs import write_gifs

from diffsynth.video_diffusion import GaussianDiffusion, Trainer, Unet3D


def test_videos_of_nothing_said() -> None:
    model = Unet3D(dim=8, dim_mults=(1, 2, 4, 8))

    diffusion = GaussianDiffusion(
        model,
        image_size=32,
        num_frames=5,
        timesteps=2,  # number of steps
        loss_type="l1",  # L1 or L2
    )

    videos = torch.randn(1, 3, 5, 32, 32)  # video (batch, channels, frames, height, width) - normalized from -1 to +1
    loss = diffusion(videos)
    loss.backward()
    # after a lot of training

    sampled_videos = diffusion.sample(batch_size=4)
    assert sampled_videos.shape == (4, 3, 5, 32, 32)
    assert 0 <= float(sampled_videos.min()) <= float(sampled_videos.max()) <= 1
    # The time's last bias reaches every block; a frame's answer hangs on all that a gradient should reach.
    assert all(each.grad is not None for each in model.parameters())


def test_videos_told_by_vectors() -> None:
    model = Unet3D(dim=8, cond_dim=64, dim_mults=(1, 2, 4, 8))

    diffusion = GaussianDiffusion(
        model,
        image_size=32,
        num_frames=5,
        timesteps=2,  # number of steps
        loss_type="l1",  # L1 or L2
    )

    videos = torch.randn(2, 3, 5, 32, 32)  # video (batch, channels, frames, height, width)
    text = torch.randn(2, 64)  # assume output of BERT-large has dimension of 64

    loss = diffusion(videos, cond=text)
    loss.backward()
    # after a lot of training

    sampled_videos = diffusion.sample(cond=text)
    assert sampled_videos.shape == (2, 3, 5, 32, 32)


@pytest.mark.parametrize("cls", [False, True])
def test_videos_told_by_strings(tmp_path: Path, cls: bool) -> None:
    model = Unet3D(
        dim=8,
        use_bert_text_cond=True,  # this must be set to True to auto-use the bert model dimensions
        dim_mults=(1, 2, 4, 8),
    )

    diffusion = GaussianDiffusion(
        model,
        image_size=32,  # height and width of frames
        num_frames=5,  # number of video frames
        timesteps=2,  # number of steps
        loss_type="l1",  # L1 or L2
        text_use_bert_cls=cls,
        text_encoder=str(save_tiny_bert(tmp_path / "bert")),
    )

    videos = torch.randn(3, 3, 5, 32, 32)  # video (batch, channels, frames, height, width)

    text = [
        "a whale breaching from afar",
        "young girl blowing out candles on her birthday cake",
        "fireworks with blue and green sparkles",
    ]

    loss = diffusion(videos, cond=text)
    loss.backward()
    # after a lot of training

    sampled_videos = diffusion.sample(cond=text, cond_scale=2)
    assert sampled_videos.shape == (3, 3, 5, 32, 32)

    loss = diffusion(videos, cond=text, prob_focus_present=0.5)  # for 50% of videos, focus on the present
    loss.backward()


def test_a_folder_of_gifs(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 5, side=16, frames=10)
    model = Unet3D(
        dim=8,
        dim_mults=(1, 2, 4, 8),
    )

    diffusion = GaussianDiffusion(
        model,
        image_size=16,
        num_frames=10,
        timesteps=10,  # number of steps
        loss_type="l1",  # L1 or L2
    ).cpu()

    trainer = Trainer(
        diffusion,
        str(data),  # this folder path needs to contain all your training data, as .gif files
        train_batch_size=2,
        train_lr=1e-4,
        save_and_sample_every=2,
        train_num_steps=3,  # total training steps
        gradient_accumulate_every=2,  # gradient accumulation steps
        ema_decay=0.995,  # exponential moving average decay
        amp=True,  # turn on mixed precision
        num_sample_rows=2,
        results_folder=tmp_path / "results",
    )

    trainer.train()
    assert trainer.step == 3
    found = sorted(str(each.relative_to(tmp_path / "results")) for each in (tmp_path / "results").rglob("*.*"))
    assert found == [
        "checkpoints/00000002.safetensors",
        "checkpoints/00000003.safetensors",
        "grids/00000002.gif",
        "metrics.jsonl",
        "model.safetensors",
    ]
