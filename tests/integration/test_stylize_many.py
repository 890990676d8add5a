"""Several clips through networks that are loaded once: each comes out as it does alone."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lora_files import diffusers_state, random_deltas
from rich.console import Console
from safetensors.torch import save_file
from stylizing import Bench, half_mask, moving_clip, written
from tiny import save_tiny_t2i_adapter

from diffsynth import runner
from diffsynth.images import write_png
from diffsynth.runtime import Runtime

pytestmark = pytest.mark.usefixtures("alone")
COUNTS = {"one": 3, "two": 5, "three": 1}
CAPTIONS = {"one": "a lake", "two": "the (oil:1.4)", "three": "white trees"}


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    for seed, (name, count) in enumerate(COUNTS.items()):
        (tmp_path / name).mkdir()
        frames = moving_clip(count, 32, 40, seed=seed)
        frames[min(1, count - 1)] = frames[0]
        for position, frame in enumerate(frames):
            write_png(tmp_path / name / f"{position}.png", frame)
        (tmp_path / f"{name}.txt").write_text(CAPTIONS[name])
    return [str(tmp_path / name) for name in COUNTS]


def test_clips_do_not_hear_of_each_other(bench: Bench, clips: list[str], tmp_path: Path) -> None:
    save_tiny_t2i_adapter(tmp_path / "t2i")
    save_file(diffusers_state(random_deltas(bench.model)), tmp_path / "lora.safetensors")
    nets = [
        {"model_id": str(tmp_path / "t2i"), "processor": "canny", "scale": {"0": 0.5, "4": 1.5}},
        {"model_id": str(bench.folder / "pooled_net"), "processor": "tile", "end": 0.5},
    ]
    keys: dict[str, Any] = {
        "prompt": "{caption}, snowy",
        "background_prompt": "the oil",
        "mask": half_mask(tmp_path, 32, 40),
        "controlnets": nets,
        "lora": [{"path": str(tmp_path / "lora.safetensors"), "scale": {"0": 0.2, "3": 1.0}, "start": 0.5}],
        "keyframes": {"0": str(bench.folder / "reference.png")},
        "feature_cache": 2,
        "skip_still": 0,
        "token_merging": 0.3,
        "noise": "warped",
        "smoother": "FastBlendSmoother",
        "smoother_interval": 3,
        "num_inference_steps": 4,
        "chunk_size": 2,
    }
    path = tmp_path / "my.json"
    path.write_text(json.dumps(bench.tree(**keys, input_video=clips[0])))

    def run(inputs: list[str], output: str) -> Path:
        request = runner.Request((path,), tuple(inputs), tmp_path / output, quiet=True)
        assert runner.run(request, Runtime("cpu", threads=1), Console(file=io.StringIO())) == 0
        return tmp_path / output

    together = run(clips, "together")
    for clip in clips[1:]:
        name = Path(clip).name
        assert np.array_equal(written(together / name), written(run([clip], f"alone-{name}"))), name
