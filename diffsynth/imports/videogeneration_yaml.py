"""VideoGeneration-PyTorch's YAML: one file there, a config for each task here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsynth.config import Override
from diffsynth.imports.base import Imported
from diffsynth.imports.writing import write_configs
from diffsynth.imports.yaml_configs import Keys, present, read_yaml

SECTIONS = ("dataset_params", "ditv_params", "autoencoder_params", "train_params")
STEPS_UNKNOWN = 20_000


class VideoGenerationYaml:
    """As `Format`."""

    name = "VideoGeneration-PyTorch's config (mnist.yaml, ucf.yaml)"

    def recognises(self, path: Path) -> bool:
        return all(isinstance(read_yaml(path).get(each), dict) for each in SECTIONS)

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        keys = Keys(read_yaml(path), path)
        return write_configs(path, output, configs(keys), overrides, keys.words)


def configs(keys: Keys) -> dict[str, dict[str, Any]]:
    """The tasks in their order, by the name of their files."""
    task = str(keys.need("train_params.task_name"))
    frames, vae = f"{task}/{keys.need('dataset_params.im_path')}", f"{task}/vae"
    latents, run = f"{task}/{keys.take('train_params.save_video_latent_dir', 'video_latents')}", f"{task}/latte"
    seed = keys.take("train_params.seed", 0)
    clips, pictures = _sets(keys)
    autoencoder = _autoencoder(keys)
    share = keys.take("dataset_params.ae_frame_sample_prob")
    images = keys.take("dataset_params.num_images_train")
    saved = bool(keys.take("train_params.save_latents", default=False))
    keys.say(
        '"save_latents" is on: train.json reads what save_latents.json leaves.'
        if saved
        else '"save_latents" is off: train.json encodes frames as it reads them. With "latents": '
        f'"{latents}" in its dataset, it reads what save_latents.json leaves.'
    )
    learned = {**clips, **present(images=images), **({"latents": latents} if saved else {})}
    found = {
        "capture_frames": {
            "task": "capture_frames",
            "dataset": clips,
            **present(share=share),
            "seed": seed,
            "output_path": frames,
        },
        "train_vae": {
            "task": "train_vae",
            "dataset": {"type": "pictures", "path": frames, **pictures},
            "autoencoder": autoencoder,
            "train": _vae_training(keys, seed),
            "output_path": vae,
        },
        "save_latents": {"task": "save_latents", "dataset": clips, "vae": vae, "output_path": latents},
        "train": {
            "task": "train",
            "dataset": learned,
            "space": "latent",
            "vae": vae,
            "backbone": _latte(keys),
            "condition": {"type": "none"},
            "diffusion": _diffusion(keys),
            "train": _training(keys, seed),
            "output_path": run,
        },
        "sample": {
            "task": "sample",
            "checkpoint": run,
            **present(num_videos=keys.take("train_params.num_samples")),
            "steps": 1000,
            "solver": "ddpm",
            "seed": seed,
            "save_trajectory": True,
            "output_path": f"{task}/samples",
        },
    }
    _drop(keys)
    return found


def _sets(keys: Keys) -> tuple[dict[str, Any], dict[str, Any]]:
    """The clips, and what holds for their frames alone too."""
    size = [keys.need("dataset_params.frame_height"), keys.need("dataset_params.frame_width")]
    cut = keys.take("dataset_params.centre_square_crop", default=False)
    pictures = {
        "size": size,
        "frame_channels": keys.need("dataset_params.frame_channels"),
        "centre_square_crop": cut,
    }
    names = keys.take("dataset_params.video_filter_path")
    clips = {
        "type": "folder",
        "path": keys.need("dataset_params.video_path"),
        **pictures,
        **present(
            frames=keys.take("dataset_params.num_frames"),
            interval=keys.take("dataset_params.frame_interval"),
            filter=None if names is None else [names],
        ),
    }
    keys.drop("dataset_params.video_ext", "videos of any kind are read")
    return clips, pictures


def _autoencoder(keys: Keys) -> dict[str, Any]:
    names = (
        *("z_channels", "down_channels", "mid_channels", "down_sample", "attn_down", "norm_channels", "num_heads"),
        *("num_down_layers", "num_mid_layers", "num_up_layers"),
    )
    return {"type": "video_vae", **{each: keys.need(f"autoencoder_params.{each}") for each in names}}


def _vae_training(keys: Keys, seed: int) -> dict[str, Any]:
    batch = keys.count("train_params.autoencoder_batch_size")
    parts = keys.count("train_params.autoencoder_acc_steps", 1)
    epochs, weight = keys.take("train_params.autoencoder_epochs"), keys.take("train_params.perceptual_weight")
    if epochs is not None:
        keys.say(
            f'"autoencoder_epochs" is {epochs}, and training counts steps here: {STEPS_UNKNOWN} stand in '
            f"train_vae.json; {epochs} epochs are {epochs} × frames / {batch * parts}."
        )
    if weight:
        keys.say(
            f'"perceptual_weight" is {weight}, but weights of LPIPS are named by the user here: add "lpips" to '
            '"train" of train_vae.json. Without it there is no perceptual loss.'
        )
    start = keys.take("train_params.disc_start")
    if isinstance(start, int):
        start //= parts
    return {
        "global_batch": batch * parts,
        **({"micro_batch": batch} if parts > 1 else {}),
        "steps": STEPS_UNKNOWN,
        "betas": [0.5, 0.999],
        "seed": seed,
        **present(
            lr=keys.take("train_params.autoencoder_lr"),
            kl_weight=keys.take("train_params.kl_weight"),
            disc_start=start,
            disc_weight=keys.take("train_params.disc_weight"),
            show_every=keys.take("train_params.autoencoder_img_save_steps"),
        ),
    }


def _latte(keys: Keys) -> dict[str, Any]:
    hidden, heads = keys.count("ditv_params.hidden_size"), keys.count("ditv_params.num_heads")
    keys.expect("ditv_params.head_dim", hidden // heads, "heads share the hidden size between them")
    keys.expect("ditv_params.timestep_emb_dim", 256, "Latte's timesteps are 256 waves")
    return {
        "type": "latte",
        "hidden": hidden,
        "depth": keys.need("ditv_params.num_layers"),
        "heads": heads,
        "patch": keys.need("ditv_params.patch_size"),
    }


def _diffusion(keys: Keys) -> dict[str, Any]:
    keys.expect("diffusion_params.beta_start", 0.0001, "the linear schedule begins at 0.0001")
    keys.expect("diffusion_params.beta_end", 0.02, "the linear schedule ends at 0.02")
    return {
        "objective": "epsilon",
        "beta_schedule": "linear",
        **present(train_steps=keys.take("diffusion_params.num_timesteps")),
    }


def _training(keys: Keys, seed: int) -> dict[str, Any]:
    batch, parts = keys.count("train_params.ditv_batch_size"), keys.count("train_params.ditv_acc_steps", 1)
    epochs = keys.take("train_params.ditv_epochs")
    if epochs is not None:
        keys.say(
            f'"ditv_epochs" is {epochs}, and training counts steps here: {STEPS_UNKNOWN} stand in train.json; {epochs} '
            f"epochs are {epochs} × clips / {batch * parts}."
        )
    return {
        "global_batch": batch * parts,
        **({"micro_batch": batch} if parts > 1 else {}),
        "steps": STEPS_UNKNOWN,
        "seed": seed,
        **present(lr=keys.take("train_params.ditv_lr")),
    }


def _drop(keys: Keys) -> None:
    for name in ("autoencoder_params.codebook_size", "train_params.codebook_weight", "train_params.commitment_beta"):
        keys.drop(name, "the autoencoder has no codebook, neither there")
    for name in ("ditv_ckpt_name", "vae_autoencoder_ckpt_name", "vae_discriminator_ckpt_name"):
        keys.drop(f"train_params.{name}", "a run's weights are in model.safetensors of its folder")
    keys.drop("train_params.vae_latent_dir_name", "it is not used there either")
