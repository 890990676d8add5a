"""The YAML configs of Latte, for training and for sampling."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffsynth.config import Override
from diffsynth.imports.base import Imported
from diffsynth.imports.writing import write_configs
from diffsynth.imports.yaml_configs import Keys, present, read_yaml

SETS = {
    "ucf101": "ucf101",
    "ffs": "faceforensics",
    "sky": "sky_timelapse",
    "taichi": "taichi",
}
NO_CONDITION, CLASSES = 1, 2


class LatteYaml:
    """As `Format`."""

    name = "Latte's configs (ffs_train.yaml, ucf101_sample.yaml, t2v_sample.yaml, …)"

    def recognises(self, path: Path) -> bool:
        return str(read_yaml(path).get("model", "")).startswith("Latte")

    def convert(self, path: Path, output: Path | None, overrides: Sequence[Override]) -> Imported:
        tree = read_yaml(path)
        keys = Keys(tree, path)
        if "text_prompt" in tree:
            made = text_sampling(keys)
        elif "sample_method" in tree:
            made = sampling(keys)
        else:
            made = training(keys)
        return write_configs(path, output, {str(made["task"]): made}, overrides, keys.words)


def training(keys: Keys) -> dict[str, Any]:
    name = str(keys.need("dataset"))
    kind = name.removesuffix("_img")
    if kind not in SETS:
        keys.say(f'"dataset": "{name}" is not known; "folder" stands in its place.')
    images = keys.take("use_image_num") or None
    list_file = keys.take("frame_data_txt")
    dataset = {
        "type": SETS.get(kind, "folder"),
        "path": keys.need("data_path"),
        **present(
            size=keys.take("image_size"),
            frames=keys.take("num_frames"),
            interval=keys.take("frame_interval"),
            images=images,
        ),
    }
    if list_file is not None:
        keys.say(
            f'"frame_data_txt" is {list_file}: left out, the pictures are frames of other clips, '
            'which is what it lists. Give it as "image_list" to use other ones.'
        )
    _structure(keys)
    batch, parts = keys.count("local_batch_size"), keys.count("gradient_accumulation_steps", 1)
    keys.say(f'"local_batch_size" is {batch} for each GPU: "global_batch" is that of one; multiply it by their number.')
    keys.drop("num_sampling_steps", 'it is said when samples are drawn ("steps" of the task sample)')
    keys.drop("save_ceph", "checkpoints go to the run's folder")
    keys.drop("resume_from_checkpoint", "a run goes on by itself from its last checkpoint")
    return {
        "task": "train",
        "dataset": dataset,
        "space": "latent",
        "vae": keys.take("pretrained_model_path", "stabilityai/sd-vae-ft-ema"),
        "backbone": {"type": "latte", "size": _size(keys)},
        "condition": _condition(keys),
        "diffusion": {"variance": "learned_range" if keys.take("learn_sigma", default=True) else "fixed"},
        "train": {
            "global_batch": batch * parts,
            **({"micro_batch": batch} if parts > 1 else {}),
            **present(
                steps=keys.take("max_train_steps"),
                lr=keys.take("learning_rate"),
                warm_up=keys.take("lr_warmup_steps"),
                clip=keys.take("clip_max_norm"),
                clip_from=keys.take("start_clip_iter"),
                checkpoint_every=keys.take("ckpt_every"),
                log_every=keys.take("log_every"),
                seed=keys.take("global_seed"),
                workers=keys.take("num_workers"),
                gradient_checkpointing=keys.take("gradient_checkpointing"),
                compile=keys.take("use_compile"),
                precision="fp16" if keys.take("mixed_precision", default=False) else None,
            ),
        },
        **present(pretrained=keys.take("pretrained")),
        "output_path": keys.take("results_dir", "results"),
    }


def sampling(keys: Keys) -> dict[str, Any]:
    _structure(keys)
    keys.drop("model", "a checkpoint tells its network")
    for name in ("num_frames", "image_size", "frame_interval", "learn_sigma", "extras", "num_classes"):
        keys.drop(name, "a checkpoint tells it")
    keys.drop("negative_name", "the class that means none is known")
    keys.drop("run_time", 'videos are told apart by "seed" and their number')
    keys.drop("use_compile", "sampling is not compiled")
    count, many = keys.count("num_sample", 1), keys.take("num_fvd_samples")
    if many is not None:
        keys.say(f'"num_fvd_samples" is {many}, for measuring: set "num_videos" to it, and run the task evaluate.')
    labels = keys.take("sample_names")
    videos = (len(labels) if isinstance(labels, list) else 1) * count
    checkpoint = keys.take("ckpt")
    if checkpoint is None:
        keys.say('"ckpt" is empty: put the path of the checkpoint in place of "checkpoint".')
    return {
        "task": "sample",
        "checkpoint": checkpoint or "checkpoint.pt",
        "vae": keys.take("pretrained_model_path", "stabilityai/sd-vae-ft-ema"),
        "num_videos": videos,
        **present(
            labels=labels,
            steps=keys.take("num_sampling_steps"),
            solver=_lower(keys.take("sample_method")),
            cfg_scale=keys.take("cfg_scale"),
            seed=keys.take("seed"),
            batch=keys.take("per_proc_batch_size"),
            precision="fp16" if keys.take("use_fp16", default=False) else None,
        ),
        "output_path": keys.take("save_img_path", "samples"),
    }


def text_sampling(keys: Keys) -> dict[str, Any]:
    """From text, by a `LattePipeline`."""
    keys.drop("model", "the pipeline's folder tells its network")
    for name in ("beta_start", "beta_end", "beta_schedule", "variance_type"):
        keys.drop(name, "the pipeline's scheduler tells it")
    keys.drop("run_time", 'videos are told apart by "seed" and their number')
    keys.drop("use_compile", "sampling is not compiled")
    keys.expect("enable_temporal_attentions", True, 'one picture is "frames": 1')  # noqa: FBT003  a value of YAML
    prompts = keys.need("text_prompt")
    return {
        "task": "sample",
        "checkpoint": keys.need("pretrained_model_path"),
        "prompts": prompts,
        "num_videos": len(prompts) if isinstance(prompts, list) else 1,
        **present(
            steps=keys.take("num_sampling_steps"),
            cfg_scale=keys.take("guidance_scale"),
            seed=keys.take("seed"),
            precision="fp16" if keys.take("use_fp16", default=False) else None,
        ),
        "pipeline": present(
            frames=keys.take("video_length"),
            size=keys.take("image_size"),
            scheduler=_scheduler(keys),
            temporal_decoder=keys.take("enable_vae_temporal_decoder"),
            negative_prompt=keys.take("negative_prompt"),
        ),
        "output_path": keys.take("save_img_path", "samples"),
    }


def _size(keys: Keys) -> str:
    """`LatteIMG-XL/2` and `Latte-XL/2` are one network: pictures beside clips are a field of the data set."""
    return str(keys.need("model")).partition("-")[2]


def _structure(keys: Keys) -> None:
    keys.expect("attention_bias", True, "attention has biases")  # noqa: FBT003  values of YAML
    keys.expect("fixed_spatial", False, "all blocks learn")  # noqa: FBT003
    keys.drop("enable_xformers_memory_efficient_attention", "attention is torch's own, which needs as little memory")


def _condition(keys: Keys) -> dict[str, Any]:
    extras, count = keys.take("extras", NO_CONDITION), keys.take("num_classes")
    if extras == CLASSES:
        return {"type": "class", "num_classes": count}
    if extras != NO_CONDITION:
        keys.say(
            f'"extras": {extras} is training on texts: put "condition": {{"type": "text", "encoder": …}} in, with the '
            'folder of a text encoder, and "captions": true in "dataset".'
        )
    return {"type": "none"}


def _lower(name: str | None) -> str | None:
    return None if name is None else str(name).lower()


def _scheduler(keys: Keys) -> str | None:
    """Their names are ours but for case, and for those that stand for several."""
    known = {"ddim": "ddim", "ddpm": "ddpm", "pndm": "pndm", "eulerdiscrete": "euler", "heundiscrete": "heun",
             "eulerancestraldiscrete": "euler_ancestral", "deismultistep": "deis", "dpmsolvermultistep": "dpmpp_2m",
             "dpmsolversinglestep": "dpmpp_2s"}  # fmt: skip
    name = keys.take("sample_method")
    if name is None or str(name).lower() in known:
        return None if name is None else known[str(name).lower()]
    keys.say(f'"sample_method": "{name}" is not known; the checkpoint\'s own scheduler is used.')
    return None
