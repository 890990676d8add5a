"""The table of options in the docs: each cell is run, on tiny checkpoints of each generation and in both modes."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ip_files import save_tiny_ip_adapter, save_tiny_vision
from lora_files import diffusers_state, random_deltas
from safetensors.torch import save_file
from stylizing import Bench, moving_clip, run
from tiny import (
    save_tiny_controlnet,
    save_tiny_sd,
    save_tiny_sd2,
    save_tiny_sdxl,
    save_tiny_t2i_adapter,
    save_tiny_taesd,
)
from torch import nn

from diffsynth.errors import ConfigError
from diffsynth.frames import Image
from diffsynth.images import write_png

COUNT, HEIGHT, WIDTH = 3, 32, 48
KINDS = {"1.x": save_tiny_sd, "2.x": save_tiny_sd2, "XL": save_tiny_sdxl}
MODES = ("shared", "window")
DOCS = Path(__file__).parents[2] / "docs" / "controls.md"


@cache
def table() -> dict[str, dict[str, str]]:
    """The cells of each option, by the column."""
    rows = [line.strip("| ").split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines() if "|" in line]
    head = rows.index(["option", *MODES, *KINDS])
    cells = {}
    for row in rows[head + 2 :]:
        cells[row[0]] = dict(zip(rows[head][1:], row[1:], strict=True))
    return cells


@pytest.fixture(scope="module", params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A clip of two shots, a checkpoint of one generation, and everything that can be brought beside it."""
    kind, folder = str(request.param), tmp_path_factory.mktemp("table")
    frames = moving_clip(COUNT, HEIGHT, WIDTH)
    frames[2] = 255 - frames[2]
    (folder / "clip").mkdir()
    for position, frame in enumerate(frames):
        write_png(folder / "clip" / f"{position}.png", frame)
    write_png(folder / "other.png", moving_clip(1, HEIGHT, WIDTH, seed=7)[0])
    half = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    half[:, WIDTH // 2 :] = 255
    write_png(folder / "half.png", half)
    model = KINDS[kind](folder / "model")
    save_tiny_controlnet(folder / "net", model)
    save_tiny_t2i_adapter(folder / "t2i", xl=kind == "XL")
    save_tiny_taesd(folder / "taesd")
    save_file(diffusers_state(random_deltas(model)), folder / "lora.safetensors")
    save_tiny_vision(folder / "image_encoder")
    save_tiny_ip_adapter(model, folder / "ip.safetensors")
    generator = torch.Generator().manual_seed(3)
    widths = {"1.x": {"emb_params": 32}, "2.x": {"emb_params": 48}, "XL": {"clip_l": 24, "clip_g": 32}}[kind]
    learned = {name: torch.randn((1, width), generator=generator) for name, width in widths.items()}
    save_file(learned, folder / "word.safetensors")
    (folder / "kind").write_text(kind)
    return Bench(folder, frames)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # threads that wait for a busy core take long


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are captured as graphs, where modes and generations differ, and run as they are: to make machine code of
    them takes minutes, and test_stylize_controls does it once."""
    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network: compile_(network, backend="eager"))


def net(folder: Path, scale: Any = 1.0, name: str = "net") -> list[dict[str, Any]]:
    return [{"model_id": str(folder / name), "processor": "canny", "scale": scale}]


Keys = dict[str, Any]
OPTIONS: dict[str, Callable[[Path], list[Keys]]] = {
    "`controlnets`, also T2I-Adapters": lambda at: [{"controlnets": net(at)}, {"controlnets": net(at, name="t2i")}],
    "`lora`": lambda at: [{"lora": [{"path": str(at / "lora.safetensors"), "end": 0.5}]}],
    "`textual_inversion`": lambda at: [
        {"textual_inversion": [{"path": str(at / "word.safetensors"), "token": "learned"}], "prompt": "a learned lake"}
    ],
    "`ip_adapter`": lambda at: [{"ip_adapter": [{"path": str(at / "ip.safetensors"), "image": str(at / "other.png")}]}],
    "`vae`: `AutoencoderTiny`": lambda at: [{"vae": str(at / "taesd")}],
    "prompt weights": lambda at: [{"prompt": "a (snowy:1.6) lake"}],
    "`clip_skip`": lambda at: [{"clip_skip": 1}],
    "`prompt` by frame": lambda at: [{"prompt": {"0": "a lake", "2": "the oil"}}],
    "`prompt` by shot": lambda at: [{"prompt": ["a lake", "the oil"]}],
    "`{caption}`": lambda at: [{"prompt": "{caption}, the oil", "input_video": str(captioned(at))}],
    "`guidance_scale` by frame": lambda at: [{"guidance_scale": {"0": 2.0, "2": 9.0}}],
    "`controlnets[].scale` by frame": lambda at: [
        {"controlnets": net(at, {"0": 0.5, "2": 1.5}, name)} for name in ("net", "t2i")
    ],
    "`lora[].scale` by frame": lambda at: [
        {"lora": [{"path": str(at / "lora.safetensors"), "scale": {"0": 0.2, "2": 1.0}}]}
    ],
    "`img2img_strength` by frame": lambda at: [{"img2img_strength": {"0": 0.5, "2": 1.0}}],
    "`seed_of_noise` by frame": lambda at: [{"seed_of_noise": {"0": 1, "2": 2}}],
    "`scheduler`: each": lambda at: [{"scheduler": each} for each in ("ddim", "dpmpp_2m", "unipc", "euler", "lcm")],
    "smoothing between steps": lambda at: [{"smoother": "FastBlendSmoother"}],
    '`noise`: `"warped"`': lambda at: [{"noise": "warped"}],
    "`mask`": lambda at: [{"mask": str(at / "half.png")}],
    "`background_prompt`": lambda at: [{"mask": str(at / "half.png"), "background_prompt": "the oil"}],
    "`keyframes`": lambda at: [{"keyframes": {"1": str(at / "other.png")}}],
    "`frames_reference`": lambda at: [
        {"frames_reference": [str(at / "other.png")], "combine_pattern": [0, "reference_0"]}
    ],
    "`feature_cache`": lambda at: [{"feature_cache": 2}],
    "`token_merging`": lambda at: [{"token_merging": 0.5}],
    "`skip_still`": lambda at: [{"skip_still": 20}],
    "`compile`": lambda at: [{"compile": True, "num_inference_steps": 1}],
}


def captioned(folder: Path) -> Path:
    clip = folder / "captioned"
    if not clip.is_dir():
        shutil.copytree(folder / "clip", clip)
        (clip / "caption.txt").write_text("a snowy lake")
    return clip


def rendered(bench: Bench, output: Path, keys: Keys) -> Image:
    return run(bench.config(str(output), **{"num_inference_steps": 2, "combine_pattern": [-1, 0], **keys}))


def test_the_table_holds_every_option() -> None:
    assert set(table()) == set(OPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.usefixtures("captured")
def test_each_option_works_where_the_table_says_so(bench: Bench, option: str, tmp_path: Path) -> None:
    kind = (bench.folder / "kind").read_text()
    assert table()[option][kind] == "yes"
    for mode in MODES if kind == "1.x" else MODES[:1]:
        for number, keys in enumerate(OPTIONS[option](bench.folder)):
            output = tmp_path / f"{mode}-{number}"
            if table()[option][mode] != "yes":
                with pytest.raises(ConfigError):
                    bench.config(str(output), attention_mode=mode, **keys)
                continue
            found = rendered(bench, output, {"attention_mode": mode, **keys})
            plain = {"attention_mode": mode, "num_inference_steps": keys.get("num_inference_steps", 2)}
            same = np.array_equal(found, rendered(bench, tmp_path / f"{mode}-{number}-plain", plain))
            # What changes nothing but the time may come out the same; and of what predicts velocity, `auto` is `ddim`.
            by_itself = kind == "2.x" and keys.get("scheduler") == "ddim"
            assert not same or by_itself or option in ("`compile`", "`skip_still`")
