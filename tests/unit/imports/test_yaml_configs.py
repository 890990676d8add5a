"""YAML configs of VideoGeneration-PyTorch and of Latte: every key is taken over, or told of."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from diffsynth.config import Override, layers, validate
from diffsynth.errors import DiffSynthError
from diffsynth.imports import import_file
from diffsynth.tasks import DEFAULT_TASK, TASKS

TUTORIAL: dict[str, dict[str, Any]] = {
    "dataset_params": {
        "im_path": "pictures", "video_path": "data/clips", "video_ext": "mp4", "num_images_train": 8,
        "frame_height": 72, "frame_width": 128, "frame_channels": 1, "num_frames": 16, "frame_interval": 2,
        "centre_square_crop": False, "video_filter_path": None, "ae_frame_sample_prob": 0.1,
    },
    "diffusion_params": {"num_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02},
    "ditv_params": {
        "patch_size": 2, "num_layers": 12, "hidden_size": 768, "num_heads": 12, "head_dim": 64,
        "timestep_emb_dim": 256,
    },
    "autoencoder_params": {
        "z_channels": 4, "codebook_size": 20, "down_channels": [32, 64, 128], "mid_channels": [128],
        "down_sample": [True, True], "attn_down": [False, False], "norm_channels": 32, "num_heads": 16,
        "num_down_layers": 1, "num_mid_layers": 1, "num_up_layers": 1,
    },
    "train_params": {
        "seed": 1111, "task_name": "digits", "autoencoder_batch_size": 64, "autoencoder_epochs": 20,
        "autoencoder_lr": 0.0001, "autoencoder_acc_steps": 2, "disc_start": 500, "disc_weight": 0.5,
        "codebook_weight": 1, "commitment_beta": 0.2, "perceptual_weight": 1, "kl_weight": 0.000005,
        "autoencoder_img_save_steps": 64, "save_latents": True, "ditv_batch_size": 4, "ditv_epochs": 300,
        "num_samples": 1, "ditv_lr": 0.0001, "ditv_acc_steps": 1, "save_video_latent_dir": "latents",
        "vae_latent_dir_name": "unused", "ditv_ckpt_name": "dit.pth", "vae_autoencoder_ckpt_name": "vae.pth",
        "vae_discriminator_ckpt_name": "critic.pth",
    },
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "dataset": "ucf101_img", "data_path": "data/videos", "frame_data_txt": "frames.txt",
    "pretrained_model_path": "owner/latte", "results_dir": "results", "pretrained": None,
    "model": "LatteIMG-XL/2", "num_frames": 16, "image_size": 256, "num_sampling_steps": 250, "frame_interval": 3,
    "fixed_spatial": False, "attention_bias": True, "learn_sigma": True, "extras": 2, "save_ceph": True,
    "use_image_num": 8, "learning_rate": "1e-4", "ckpt_every": 10000, "clip_max_norm": 0.1,
    "start_clip_iter": 100000, "local_batch_size": 4, "max_train_steps": 1000000, "global_seed": 3407,
    "num_workers": 8, "log_every": 50, "lr_warmup_steps": 0, "resume_from_checkpoint": None,
    "gradient_accumulation_steps": 1, "num_classes": 101, "use_compile": False, "mixed_precision": False,
    "enable_xformers_memory_efficient_attention": False, "gradient_checkpointing": True,
}  # fmt: skip
SAMPLING: dict[str, Any] = {
    "ckpt": "ucf.pt", "save_img_path": "samples", "pretrained_model_path": "owner/latte", "model": "Latte-XL/2",
    "num_frames": 16, "image_size": 256, "frame_interval": 3, "fixed_spatial": False, "attention_bias": True,
    "learn_sigma": True, "extras": 2, "num_classes": 101, "use_compile": False, "use_fp16": True, "seed": None,
    "sample_method": "ddpm", "num_sampling_steps": 250, "cfg_scale": 7.0, "run_time": 12, "num_sample": 1,
    "sample_names": [0, 1, 2], "negative_name": 101, "per_proc_batch_size": 2, "num_fvd_samples": 2,
}  # fmt: skip
FROM_TEXT: dict[str, Any] = {
    "save_img_path": "samples", "pretrained_model_path": "owner/latte", "model": "LatteT2V", "video_length": 16,
    "image_size": [512, 512], "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
    "variance_type": "learned_range", "use_compile": False, "use_fp16": True, "seed": 0, "run_time": 0,
    "guidance_scale": 7.5, "sample_method": "DDIM", "num_sampling_steps": 50, "enable_temporal_attentions": True,
    "enable_vae_temporal_decoder": True, "text_prompt": ["a boat", "a dog"],
}  # fmt: skip


def written(path: Path, tree: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(tree))
    return path


def valid(path: Path) -> Any:
    """The config that a run would read."""
    return validate(layers.source(json.loads(path.read_text()), path.parent), TASKS, DEFAULT_TASK, str(path))


def test_one_tutorial_file_is_five_tasks(tmp_path: Path) -> None:
    found = import_file(written(tmp_path / "mnist.yaml", TUTORIAL), tmp_path / "made")
    for name in ("data/clips", "digits/pictures", "digits/vae", "digits/latents", "digits/latte"):
        (found.path / name).mkdir(parents=True)  # what the steps before each config leave
    (found.path / "digits/latte/model.safetensors").touch()
    capture, vae, latents, train, sample = (
        valid(found.path / f"{name}.json")
        for name in ("capture_frames", "train_vae", "save_latents", "train", "sample")
    )
    assert (capture.share, capture.dataset.size, capture.seed) == (0.1, (72, 128), 1111)
    assert not capture.dataset.centre_square_crop
    assert (vae.autoencoder.down_channels, vae.autoencoder.factor) == ((32, 64, 128), 4)
    assert (vae.train.global_batch, vae.train.micro_batch, vae.train.disc_start) == (128, 64, 250)
    assert (vae.train.kl_weight, vae.train.betas, vae.dataset.frame_channels) == (5e-6, (0.5, 0.999), 1)
    assert Path(vae.dataset.path) == capture.output_path
    assert Path(latents.vae) == vae.output_path
    assert (train.backbone.hidden, train.backbone.depth, train.backbone.patch) == (768, 12, 2)
    assert (train.dataset.images, train.dataset.interval, train.dataset.latents) == (8, 2, latents.output_path)
    assert Path(sample.checkpoint) == train.output_path
    assert sample.save_trajectory
    told = "\n".join(found.words)
    for key in ("codebook_size", "commitment_beta", "ditv_ckpt_name", "autoencoder_epochs", "perceptual_weight"):
        assert key in told
    assert "is not known" not in told


def test_latte_trains_with_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "data/videos").mkdir(parents=True)
    found = import_file(written(tmp_path / "ucf101_img_train.yaml", TRAINING))
    config = valid(found.path)
    assert (config.dataset.type, config.dataset.images, config.dataset.size) == ("ucf101", 8, (256, 256))
    assert (config.backbone.hidden, config.backbone.depth, config.backbone.patch) == (1152, 28, 2)
    assert (config.condition.num_classes, config.diffusion.variance) == (101, "learned_range")
    assert (config.train.lr, config.train.clip, config.train.clip_from) == (1e-4, 0.1, 100_000)
    assert (config.train.steps, config.train.seed, config.train.gradient_checkpointing) == (1_000_000, 3407, True)
    told = "\n".join(found.words)
    assert all(key in told for key in ("frame_data_txt", "local_batch_size", "save_ceph", "num_sampling_steps"))
    assert "is not known" not in told


def test_latte_samples_with_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "ucf.pt").touch()
    found = import_file(written(tmp_path / "ucf101_sample.yaml", SAMPLING))
    config = valid(found.path)
    assert (config.steps, config.solver, config.cfg_scale, config.batch) == (250, "ddpm", 7.0, 2)
    assert (config.labels, config.num_videos, config.precision) == ((0, 1, 2), 3, "fp16")
    assert "negative_name" in "\n".join(found.words)


def test_latte_samples_from_text_with_the_same_settings(tmp_path: Path) -> None:
    found = import_file(written(tmp_path / "t2v_sample.yaml", FROM_TEXT))
    config = valid(found.path)
    assert config.prompts == ("a boat", "a dog")
    assert (config.pipeline.frames, config.pipeline.scheduler, config.pipeline.temporal_decoder) == (16, "ddim", True)
    assert (config.cfg_scale, config.steps, config.num_videos) == (7.5, 50, 2)


def test_what_has_no_counterpart_is_told(tmp_path: Path) -> None:
    tree = TRAINING | {"attention_bias": False, "colour_of_the_sky": "blue", "extras": 78}
    words = import_file(written(tmp_path / "a.yaml", tree)).words
    told = "\n".join(words)
    for part in ('"attention_bias": False has no counterpart', '"colour_of_the_sky" is not known', '"extras": 78'):
        assert part in told


def test_overrides_go_into_the_configs(tmp_path: Path) -> None:
    sets = [Override.parse("train.train.steps=7"), Override.parse("train_vae.train.steps=8")]
    place = import_file(written(tmp_path / "mnist.yaml", TUTORIAL), None, sets).path
    assert place == tmp_path / "mnist"
    assert json.loads((place / "train.json").read_text())["train"]["steps"] == 7
    assert json.loads((place / "train_vae.json").read_text())["train"]["steps"] == 8


def test_what_is_no_config_of_theirs_is_refused(tmp_path: Path) -> None:
    for name, text in (("a.yaml", "x: 1"), ("b.yaml", ": : :"), ("c.yaml", "!!python/object:os.system {}"), ("d", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DiffSynthError, match="of no kind that can be imported"):
            import_file(tmp_path / name)
    place = import_file(written(tmp_path / "mnist.yaml", TUTORIAL)).path
    with pytest.raises(DiffSynthError, match="is there already"):
        import_file(tmp_path / "mnist.yaml")
    broken = TUTORIAL | {"train_params": {"seed": 1}}
    with pytest.raises(DiffSynthError, match="task_name"):
        import_file(written(tmp_path / "broken.yaml", broken))
    assert not (tmp_path / "broken").exists()
    assert place.is_dir()


ANCHORS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'])}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{ANCHORS}results_dir: *a8", "more than 10000 values, written out"),
        ("pretrained: &p [*p]", "more than 10000 values, written out"),
        (f"pretrained: {'[' * 400}{']' * 400}", "more than 300 brackets"),
        ("x: !!python/object/apply:os.system [touch ran]", "line 2.*no YAML of plain values.*python/object"),
        ("x: [1,", "no YAML of plain values"),
        ("learning_rate: .nan", "holds the number nan"),
        ("pretrained: !!set {a, b}", "a value of the kind set"),
        (f"x: {'y' * 60_000}", "no config is larger than 50000"),
    ],
)
def test_what_no_config_holds_is_refused_with_its_reason(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "a.yaml").write_text(f"model: Latte-XL/2\n{text}\n")
    with pytest.raises(DiffSynthError, match=f"(?si)of no kind that can be imported.*{sentence}"):
        import_file(tmp_path / "a.yaml")
    assert not (tmp_path / "a.json").exists()


def test_numbers_and_texts_stay_what_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", TRAINING | {"data_path": "123", "max_train_steps": "1e6"})
    path.write_text(path.read_text() + "pretrained: 2020-01-01\n")
    found = json.loads(import_file(path).path.read_text())
    assert (found["dataset"]["path"], found["pretrained"]) == ("123", "2020-01-01")
    assert (found["train"]["lr"], found["train"]["steps"]) == (1e-4, 1_000_000)


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        (TRAINING | {"local_batch_size": "four"}, "local_batch_size"),
        (TRAINING | {"gradient_accumulation_steps": [2]}, "gradient_accumulation_steps"),
        (TUTORIAL | {"ditv_params": TUTORIAL["ditv_params"] | {"num_heads": 0}}, "ditv_params.num_heads"),
    ],
)
def test_what_must_be_a_number_is_told(tmp_path: Path, tree: dict[str, Any], key: str) -> None:
    with pytest.raises(DiffSynthError, match=f'"{key}" is .*Give it a whole number from 1 on'):
        import_file(written(tmp_path / "a.yaml", tree))
