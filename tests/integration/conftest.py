"""Fixtures of tests that run whole tasks. `bench`, a small clip with checkpoints, may be another in a file."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import vae_runs
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from refusals import Case
from stylizing import LEFT, LEFT_OF_PREVIEW, Bench, run
from transformers import CLIPTextModel

from diffsynth.frames import Image
from diffsynth.processors.base import PerFrame


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.make(tmp_path_factory.mktemp("bench"), count=4, height=32, width=40)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache of its own, and one thread."""
    monkeypatch.setenv("DIFFSYNTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})  # threads that wait for a busy core take long


@pytest.fixture
def steps() -> int:
    """So many does a run take that doesn't say it."""
    return 2


@pytest.fixture
def render(bench: Bench, steps: int, alone: None, tmp_path: Path) -> Iterator[Callable[..., Image]]:
    """Runs a config in a folder of its own."""
    made: list[Path] = []

    def rendered(**keys: Any) -> Image:
        output = tmp_path / f"out-{len(made)}"
        found = run(bench.config(str(output), **{"num_inference_steps": steps, **keys}))
        made.append(output)
        return found

    yield rendered
    for output in made:
        left = {each.name for each in output.iterdir()}
        assert left in (LEFT, LEFT_OF_PREVIEW), "and nothing of what the stages hand to each other"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each network, and the processors, were asked."""
    counted: Counter[str] = Counter()

    def count(kind: Any, method: str, name: str) -> None:
        original = getattr(kind, method)

        def counting(self: Any, *values: Any, **keys: Any) -> Any:
            counted[name] += 1
            return original(self, *values, **keys)

        monkeypatch.setattr(kind, method, counting)

    count(UNet2DConditionModel, "forward", "unet")
    count(ControlNetModel, "forward", "controlnet")
    count(ControlNetConditioningEmbedding, "forward", "embedding")
    count(CLIPTextModel, "forward", "text")
    count(AutoencoderKL, "encode", "encode")
    count(AutoencoderKL, "decode", "decode")
    count(PerFrame, "process", "processor")
    return counted


@pytest.fixture
def case(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Case:
    return Case(bench, tmp_path, capsys)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `train_vae`."""
    body = vae_runs.vae_tree(tmp_path_factory.mktemp("vae") / "run", show_every=3, show_frames=2)
    return vae_runs.run(body)


@pytest.fixture(scope="module")
def latents(vae: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `save_latents` by it."""
    return vae_runs.run(vae_runs.latents_tree(tmp_path_factory.mktemp("latents") / "run", vae))
