"""What a check foresees: disk, memory, downloads, and settings without effect."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from stylizing import Bench, plain, run

from diffsynth.cli import main
from diffsynth.frames import FrameWriter

ROOT = Path(__file__).parents[2]
COUNT = 4
pytestmark = pytest.mark.usefixtures("alone")


def predicted(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], **keys: Any) -> dict[str, Any]:
    path = tmp_path / "predicted.json"
    path.write_text(json.dumps(bench.tree(str(tmp_path / "predicted"), **keys)))
    assert main(["check", str(path), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["prediction"]
    return found


def test_models_of_the_hub_tell_no_memory(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    nets = [{"model_id": "owner/net", "processor": "tile"}]
    found = predicted(bench, tmp_path, capsys, model_id="owner/model", controlnets=nets)
    assert found["memory_bytes"] is None
    assert found["disk_bytes"] > 0
    assert found["downloads"] == ["owner/model", "owner/net"]


def test_copies_of_the_weights_need_no_more_memory(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder holds them in full precision, in both, or in half: on the device all are of the run's."""
    shutil.copytree(bench.model, tmp_path / "model")
    found = [predicted(bench, tmp_path, capsys, model_id=str(tmp_path / "model"))["memory_bytes"]]
    files = [tmp_path / "model" / part / "diffusion_pytorch_model.safetensors" for part in ("unet", "vae")]
    for file in files:
        half = {name: each.half() for name, each in load_file(file).items()}
        save_file(half, file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    found.append(predicted(bench, tmp_path, capsys, model_id=str(tmp_path / "model"))["memory_bytes"])
    for file in files:
        file.unlink()
    found.append(predicted(bench, tmp_path, capsys, model_id=str(tmp_path / "model"))["memory_bytes"])
    assert found[1] == found[0]
    assert abs(found[2] / found[0] - 1) < 0.1, "the header is not halved"


PICTURE = "a picture"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"halo": 3, "attention_mode": "window"}, '"halo" makes no difference to "attention_mode": "window".'),
        ({"smoother_interval": 5}, '"smoother_interval" makes no difference without a "smoother".'),
        ({"ignore_smoother_steps": 1}, '"ignore_smoother_steps" makes no difference without a "smoother".'),
        (
            {"smoother": "FastBlendSmoother", "ignore_smoother_steps": 2, "img2img_strength": 0.5},
            '"ignore_smoother_steps" is 2 of 2 steps: "smoother" is never asked.',
        ),
        (
            {"frames_reference": [PICTURE]},
            '"frames_reference" makes no difference: "combine_pattern" names none of them.',
        ),
        (
            {"guidance_scale": {"0": 2, "4": 3}},
            '"guidance_scale" names frame 4, but the clip has 4 frames, counted from 0: its value is never reached.',
        ),
        (
            {"keyframes": {"0": PICTURE, "7": PICTURE}},
            '"keyframes" holds frame 7, but the clip has 4 frames: a run would stop with an error.',
        ),
        (
            {"skip_still": 0, "prompt": {"0": "spring", "3": "winter"}},
            '"skip_still" looks at the clip alone: where that stands still, so does "prompt" by frame.',
        ),
        ({"skip_still": 0, "preview": 2}, '"skip_still" makes no difference to a "preview".'),
        ({"style_image": PICTURE}, '"style_image" makes no difference: no ControlNet has the shuffle processor.'),
    ],
)
def test_settings_without_effect_are_told(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, Any], words: str
) -> None:
    text = json.dumps(keys).replace(PICTURE, str(bench.folder / "reference.png"))
    assert words in predicted(bench, tmp_path, capsys, **json.loads(text))["remarks"]
    fitting = {"halo": 3, "smoother": "FastBlendSmoother", "smoother_interval": 5, "ignore_smoother_steps": 1}
    assert len(predicted(bench, tmp_path, capsys, **fitting)["remarks"]) == 1, "that of the memory"


@pytest.mark.parametrize("distilled", [False, True])
def test_a_background_is_one_more_prompt(bench: Bench, *, distilled: bool) -> None:
    unet = {"time_cond_proj_dim": 8 if distilled else None}
    mask = {"mask": str(bench.folder / "reference.png")}
    assert bench.config()._load().sides(unet) == (1 if distilled else 2)
    assert bench.config(guidance_scale=1)._load().sides(unet) == 1
    assert bench.config(**mask, background_prompt="oil")._load().sides(unet) == (2 if distilled else 3)
    assert bench.config(**mask, background_prompt="oil", guidance_scale={"0": 1})._load().sides(unet) == 2


MORE: dict[str, Any] = {
    "feature_cache": 2,
    "noise": "warped",
    "scheduler": "unipc",
    "mask": PICTURE,
    "background_prompt": "oil",
}


@pytest.mark.parametrize("more", [{}, MORE, {"mask": PICTURE, "skip_still": 0}], ids=["plain", "more", "still"])
def test_latents_of_two_steps_and_no_more(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, Any],
) -> None:
    """And the disk that was foreseen holds all of it."""
    stores: list[set[str]] = []
    held: list[int] = []
    keys: dict[str, Any] = {"controlnets": [plain(bench)], "smoother": "FastBlendSmoother", "num_inference_steps": 4}
    keys |= {"frame_height": 96, "frame_width": 128, "post_smoother": "FastBlendSmoother"}
    keys |= json.loads(json.dumps(more).replace(PICTURE, str(bench.folder / "reference.png")))
    output = tmp_path / "out"

    def looked(original: Callable[..., Any]) -> Callable[..., Any]:
        def looking(*values: Any, **named: Any) -> Any:
            stores.append({each.name for each in (output / ".work" / "latents").glob("*")})
            held.append(sum(each.stat().st_size for each in output.rglob("*") if each.is_file()))
            return original(*values, **named)

        return looking

    foreseen = predicted(bench, tmp_path, capsys, **keys)["disk_bytes"]
    monkeypatch.setattr(UNet2DConditionModel, "forward", looked(UNet2DConditionModel.forward))
    monkeypatch.setattr(AutoencoderKL, "encode", looked(AutoencoderKL.encode))
    monkeypatch.setattr(FrameWriter, "append", looked(FrameWriter.append))
    run(bench.config(str(output), **keys))
    assert max(map(len, stores)) <= 4, "two stores of latents, the edit of the step, and that of the one before"
    assert max(held) < foreseen < 8 * max(held)


@pytest.mark.slow
def test_a_longer_clip_takes_no_more_memory() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "stylize_memory.py"), "--frames", "16", "192"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert float(said.split()[-2]) < 50, said
