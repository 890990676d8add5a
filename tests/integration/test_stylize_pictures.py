"""Pictures as prompts (IP-Adapter) and T2I-Adapters, against diffusers' pipelines."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionAdapterPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from ip_files import SIDE, save_tiny_ip_adapter, save_tiny_vision
from lora_files import kohya_state, random_deltas
from PIL import Image as Picture
from safetensors.torch import load_file, save_file
from stylizing import NEGATIVE, PROMPT, Bench, moving_clip, run
from tiny import save_tiny_controlnet, save_tiny_sd, save_tiny_sdxl, save_tiny_t2i_adapter
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection

from diffsynth.errors import DiffSynthError, MissingFileError, ModelError
from diffsynth.frames import Image
from diffsynth.images import write_png

GREY_LEVELS = 0.05
"""Two orders of the same float32 sums differ in the last bits; where a value lies between two levels, one flips."""
COUNT, HEIGHT, WIDTH = 2, 32, 48


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A clip, checkpoints `model` and `xl`, an image encoder, and two pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    frames = moving_clip(COUNT, HEIGHT, WIDTH)
    (folder / "clip").mkdir()
    for position, frame in enumerate(frames):
        write_png(folder / "clip" / f"{position:03}.png", frame)
    sd = save_tiny_sd(folder / "model")
    save_tiny_sdxl(folder / "xl")
    save_tiny_controlnet(folder / "net", sd)
    save_tiny_vision(folder / "image_encoder")
    for number in range(2):
        write_png(folder / f"picture-{number}.png", moving_clip(1, 50, 40, seed=number + 7)[0])
    return Bench(folder, frames)


def pictures(bench: Bench, count: int) -> list[str]:
    return [str(bench.folder / f"picture-{number}.png") for number in range(count)]


def rendered(bench: Bench, folder: Path, **keys: Any) -> Image:
    plain = {"combine_pattern": "self", "num_inference_steps": 2, "guidance_scale": 3, "scheduler": "ddim"}
    return run(bench.config(str(folder), **{**plain, **keys}))


def close(found: Image, expected: Image) -> bool:
    return bool(np.abs(found.astype(int) - expected).mean() < GREY_LEVELS)


def frames_of(pipe: Any, **keys: Any) -> Image:
    pipe.set_progress_bar_config(disable=True)
    settings = {key: value for key, value in pipe.scheduler.config.items() if not key.startswith("_")}
    pipe.scheduler = DDIMScheduler.from_config({**settings, "clip_sample": False})
    found = []
    for position in range(COUNT):
        own = {key: value(position) if callable(value) else value for key, value in keys.items()}
        noise = torch.randn((1, 4, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(0))
        plain = {"num_inference_steps": 2, "guidance_scale": 3, "height": HEIGHT, "width": WIDTH, "output_type": "np"}
        found.append(pipe(PROMPT, negative_prompt=NEGATIVE, latents=noise, **{**plain, **own}).images[0])
    return np.rint(np.stack(found) * 255).astype(np.uint8)


def piped(bench: Bench, kind: str, file: Path, **keys: Any) -> Any:
    pipe_class = StableDiffusionXLPipeline if kind == "xl" else StableDiffusionPipeline
    pipe = pipe_class.from_pretrained(
        bench.folder / kind,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(bench.folder / "image_encoder"),
        feature_extractor=CLIPImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        **keys,
    )
    pipe.load_ip_adapter(str(file.parent), subfolder="", weight_name=file.name, image_encoder_folder=None)
    return pipe


def opened(paths: list[str]) -> Any:
    return [[Picture.open(path).convert("RGB") for path in paths]]


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("layout", ["plain", "plus", "full"])
@pytest.mark.parametrize("kind", ["model", "xl"])
def test_pictures_are_diffusers(bench: Bench, kind: str, layout: str, suffix: str, tmp_path: Path) -> None:
    if (kind, suffix) == ("xl", ".bin"):
        suffix = ".safetensors"
    count = 2 if layout == "plus" else 1
    file = save_tiny_ip_adapter(bench.folder / kind, tmp_path / f"ip{suffix}", layout)
    adapter = {"path": str(file), "image": pictures(bench, count), "scale": 0.7}
    adapter["image_encoder"] = str(bench.folder / "image_encoder")
    found = rendered(bench, tmp_path / "out", model_id=str(bench.folder / kind), ip_adapter=[adapter])
    pipe = piped(bench, kind, file)
    pipe.set_ip_adapter_scale(0.7)
    assert close(found, frames_of(pipe, ip_adapter_image=opened(pictures(bench, count))))
    assert not close(found, rendered(bench, tmp_path / "plain", model_id=str(bench.folder / kind)))


@pytest.fixture(scope="module")
def adapter(bench: Bench) -> Callable[..., dict[str, Any]]:
    file = save_tiny_ip_adapter(bench.model, bench.folder / "adapter.safetensors")
    return lambda **keys: {"path": str(file), "image": pictures(bench, 1)[0], **keys}


def test_pictures_across_frames_and_beside_nets(
    bench: Bench, adapter: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Self-attention still goes across frames; both modes show the pictures; nets don't see them."""
    nets = [{"model_id": str(bench.folder / "net"), "processor": "tile"}]
    keys: dict[str, Any] = {"ip_adapter": [adapter()], "controlnets": nets, "combine_pattern": [-1, 0]}
    shared = rendered(bench, tmp_path / "1", **keys)
    alone = rendered(bench, tmp_path / "2", **{**keys, "combine_pattern": "self"})
    assert not close(shared, alone)
    window = rendered(bench, tmp_path / "3", **{**keys, "combine_pattern": "self"}, attention_mode="window")
    assert close(window, alone)
    assert close(rendered(bench, tmp_path / "4", **keys, attention_backend="plain"), shared)


def test_where_and_when_a_picture_acts(bench: Bench, adapter: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    for name, level in (("white", 255), ("black", 0)):
        write_png(tmp_path / f"{name}.png", np.full((16, 24, 3), level, np.uint8))
    half = np.zeros((16, 24, 3), np.uint8)
    half[:, 12:] = 255
    write_png(tmp_path / "half.png", half)

    def painted(name: str, **keys: Any) -> Image:
        return rendered(bench, tmp_path / name, ip_adapter=[adapter(**keys)], num_inference_steps=1)

    without = rendered(bench, tmp_path / "none", num_inference_steps=1)
    whole = painted("whole")
    assert np.array_equal(painted("1", mask=str(tmp_path / "black.png")), without)
    assert np.array_equal(painted("2", mask=str(tmp_path / "white.png")), whole)
    right = painted("3", mask=str(tmp_path / "half.png"))
    assert not close(right, without)
    assert not close(right, whole)
    assert np.array_equal(painted("4", scale=0), without)
    both = rendered(bench, tmp_path / "5", ip_adapter=[adapter(end=0.5), adapter(start=0.5)])
    assert close(both, rendered(bench, tmp_path / "6", ip_adapter=[adapter()]))
    assert not close(both, rendered(bench, tmp_path / "7", ip_adapter=[adapter(end=0.5)]))


def test_adapters_that_come_and_go_through_an_interruption(
    bench: Bench, adapter: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its second step, a run goes on to the same bytes."""
    lora = tmp_path / "lora.safetensors"
    save_file(kohya_state(random_deltas(bench.model)), lora)
    keys: dict[str, Any] = {"ip_adapter": [adapter(start=0.5)], "lora": [{"path": str(lora), "end": 0.5}]}
    keys |= {"chunk_size": 1, "halo": 0, "combine_pattern": [-1, 0], "num_inference_steps": 3}
    whole = rendered(bench, tmp_path / "whole", **keys)
    forward, calls = UNet2DConditionModel.forward, []

    def stopped(*values: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return forward(*values, **named)

    with monkeypatch.context() as patch:
        patch.setattr(UNet2DConditionModel, "forward", stopped)
        with pytest.raises(KeyboardInterrupt):
            rendered(bench, tmp_path / "out", **keys)
    assert np.array_equal(rendered(bench, tmp_path / "out", **keys), whole)


def refused(bench: Bench, folder: Path, kind: type[DiffSynthError] = ModelError, **keys: Any) -> str:
    with pytest.raises(kind) as caught:
        rendered(bench, folder, **keys)
    return str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_adapters_that_do_not_fit(
    bench: Bench, adapter: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = iter(range(99))

    def said(kind: type[DiffSynthError] = ModelError, **keys: Any) -> str:
        return refused(bench, tmp_path / f"out-{next(numbers)}", kind, ip_adapter=[adapter(**keys)])

    xl = save_tiny_ip_adapter(bench.folder / "xl", tmp_path / "xl.safetensors")
    encoder = str(bench.folder / "image_encoder")
    assert "layers, but model is" in said(path=str(xl), image_encoder=encoder)
    other = save_tiny_vision(tmp_path / "vision", projected=12)
    assert "reads pictures of width 24, but the image encoder in" in said(image_encoder=str(other))
    assert 'there is no folder "image_encoder" beside it' in said(MissingFileError, path=str(xl))
    state = load_file(xl)
    face = {name: each for name, each in state.items() if "proj.weight" not in name}
    face |= {"image_proj.proj.0.weight": torch.zeros(4, 4), "image_proj.proj.2.bias": torch.zeros(4)}
    save_file(face, tmp_path / "face.safetensors")
    assert "FaceID" in said(path=str(tmp_path / "face.safetensors"), image_encoder=encoder)
    save_file({"lora_unet_x.alpha": torch.zeros(1)}, tmp_path / "lora.safetensors")
    assert "is no IP-Adapter" in said(path=str(tmp_path / "lora.safetensors"), image_encoder=encoder)
    (tmp_path / "cut.safetensors").write_bytes(xl.read_bytes()[:-9])
    assert "cut short" in said(path=str(tmp_path / "cut.safetensors"), image_encoder=encoder)
    torch.save({"image_proj": Bomb()}, tmp_path / "bomb.bin")
    assert "none of it is run" in said(path=str(tmp_path / "bomb.bin"), image_encoder=encoder)
    assert not (tmp_path / "exploded").exists()


# T2I-Adapters


SHAPES = ("full", "of one channel", "two of them")


@pytest.mark.parametrize(
    ("kind", "shape"), [("model", "light"), *((kind, shape) for kind in ("model", "xl") for shape in SHAPES)]
)
def test_t2i_adapters_are_diffusers(bench: Bench, kind: str, shape: str, tmp_path: Path) -> None:
    """There is no light one for XL."""
    channels = 1 if shape == "of one channel" else 3
    folder = save_tiny_t2i_adapter(tmp_path / "t2i", xl=kind == "xl", light=shape == "light", in_channels=channels)
    scales = [0.6, 0.3] if shape == "two of them" else [0.6]
    nets = [{"model_id": str(folder), "processor": "tile", "scale": scale} for scale in scales]
    found = rendered(bench, tmp_path / "out", model_id=str(bench.folder / kind), controlnets=nets)
    assert not close(found, rendered(bench, tmp_path / "plain", model_id=str(bench.folder / kind)))
    pipe_class = StableDiffusionXLAdapterPipeline if kind == "xl" else StableDiffusionAdapterPipeline
    pipe = pipe_class.from_pretrained(bench.folder / kind, adapter=T2IAdapter.from_pretrained(folder))

    def seen(position: int) -> torch.Tensor:
        picture = torch.from_numpy(bench.frames[position]).permute(2, 0, 1)[None].float() / 255
        return picture.mean(1, keepdim=True) if channels == 1 else picture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of how this pipeline decodes
        # Twice the same adapter says what one of both weights does.
        expected = frames_of(pipe, image=seen, adapter_conditioning_scale=sum(scales))
    assert close(found, expected)


def test_t2i_adapters_beside_controlnets_across_frames(bench: Bench, tmp_path: Path) -> None:
    adapter = {"model_id": str(save_tiny_t2i_adapter(tmp_path / "t2i")), "processor": "tile", "scale": 0.5}
    nets = [{"model_id": str(bench.folder / "net"), "processor": "tile"}, adapter]
    keys: dict[str, Any] = {"combine_pattern": [-1, 0], "num_inference_steps": 2}
    both = rendered(bench, tmp_path / "1", controlnets=nets, **keys)
    assert np.array_equal(rendered(bench, tmp_path / "2", controlnets=nets, memory="low", **keys), both)
    assert close(rendered(bench, tmp_path / "3", controlnets=nets[::-1], **keys), both)
    for number, other in enumerate([nets[:1], nets[1:], [nets[0], {**adapter, "end": 0.5}]]):
        assert not close(rendered(bench, tmp_path / f"other-{number}", controlnets=other, **keys), both)


@pytest.mark.parametrize("kind", ["model", "xl"])
def test_t2i_adapters_of_odd_sizes(bench: Bench, kind: str, tmp_path: Path) -> None:
    """40 x 56 pixels are no whole squares of 16: the map is continued beyond its edge."""
    folder = save_tiny_t2i_adapter(tmp_path / "t2i", xl=kind == "xl")
    nets = [{"model_id": str(folder), "processor": "tile"}]
    keys: dict[str, Any] = {"model_id": str(bench.folder / kind), "frame_height": 40, "frame_width": 56}
    found = rendered(bench, tmp_path / "1", controlnets=nets, **keys)
    assert not close(found, rendered(bench, tmp_path / "2", **keys))


def test_t2i_adapters_that_do_not_fit(bench: Bench, tmp_path: Path) -> None:
    xl = save_tiny_t2i_adapter(tmp_path / "xl", xl=True)
    said = refused(bench, tmp_path / "1", controlnets=[{"model_id": str(xl), "processor": "tile"}])
    assert f"{xl}: this T2I-Adapter is for another denoiser" in said
    assert "32 channels at 1/16, 32 channels at 1/16" in said
    one = save_tiny_t2i_adapter(tmp_path / "one")
    nets = [{"model_id": str(one), "processor": "tile"}]
    assert "another denoiser" in refused(bench, tmp_path / "2", controlnets=nets, model_id=str(bench.folder / "xl"))
    settings = json.loads((one / "config.json").read_text())
    (one / "config.json").write_text(json.dumps({**settings, "_class_name": "ControlNetUnionModel"}))
    said = refused(bench, tmp_path / "3", controlnets=nets)
    assert "is a ControlNetUnionModel; a ControlNetModel or T2IAdapter is needed" in said
