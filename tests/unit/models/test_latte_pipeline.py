"""Text to video against diffusers' own pipeline on the same folder, and what must hold of any video made."""

import gc
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import diffsynth  # noqa: F401  its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import diffusers
import numpy as np
import pytest
import torch
from tiny_latte import FRAMES, SENTENCES, SIDE, save_tiny_latte
from transformers import T5EncoderModel

from diffsynth.errors import MissingFileError, ModelError
from diffsynth.models import TextScheduler
from diffsynth.models.latte_pipeline import TEMPORAL_DECODER, Making, TextToVideo, Video, Wanted
from diffsynth.runtime import Runtime, torch_generator

RUNTIME = Runtime("cpu", "float32", 1)
STEPS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_latte(tmp_path_factory.mktemp("latte"))


def made(folder: Path, wanted: Sequence[Wanted], frames: int = FRAMES, **keys: Any) -> list[Video]:
    options = {key: keys.pop(key) for key in ("scheduler", "temporal_decoder") if key in keys}
    maker = TextToVideo.of(str(folder), RUNTIME, **options)
    return list(maker.videos(wanted, Making(frames, SIDE, SIDE, STEPS, **keys)))


def diffusers_own(folder: Path, wanted: Wanted, frames: int, *, temporal: bool, guidance: float) -> Video:
    pipeline = diffusers.LattePipeline.from_pretrained(str(folder), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    # The folder's names a learned variance, which the pipeline itself can't take apart for this scheduler.
    plain = diffusers.DDIMScheduler(beta_end=0.02, beta_schedule="linear", clip_sample=False)
    pipeline.register_modules(scheduler=plain)
    if temporal:
        kind = diffusers.AutoencoderKLTemporalDecoder
        pipeline.register_modules(vae=kind.from_pretrained(str(folder), subfolder=TEMPORAL_DECODER))
    noise = torch.randn(1, 4, frames, SIDE // 4, SIDE // 4, generator=torch_generator(wanted.seed, "text_to_video"))
    found = pipeline(
        wanted.prompt,
        negative_prompt=wanted.negative,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        video_length=frames,
        height=SIDE,
        width=SIDE,
        latents=noise,
        clean_caption=False,
        enable_temporal_attentions=frames > 1,
        decode_chunk_size=16,
        output_type="np",
    ).frames
    return (np.asarray(found)[0] * 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("frames", "temporal", "guidance"), [(FRAMES, False, 4.0), (FRAMES, True, 4.0), (1, False, 1.0)]
)
def test_it_makes_what_diffusers_makes(folder: Path, frames: int, temporal: bool, guidance: float) -> None:
    wanted = Wanted(SENTENCES[0], seed=3, negative="rain and snow")
    expected = diffusers_own(folder, wanted, frames, temporal=temporal, guidance=guidance)
    (video,) = made(folder, [wanted], frames, temporal_decoder=temporal, guidance=guidance)
    assert video.shape == (frames, SIDE, SIDE, 3)
    assert video.std() > 5
    # A value in the middle between two levels may be rounded either way.
    assert np.abs(video.astype(int) - expected).max() <= 1


def test_a_video_hangs_on_its_prompt_and_seed_alone(folder: Path) -> None:
    wanted = [
        Wanted(SENTENCES[0], 1),
        Wanted(SENTENCES[1], 1),
        Wanted(SENTENCES[0], 2),
        Wanted(SENTENCES[0], 1, "snow"),
    ]
    together = made(folder, wanted, scheduler="euler_ancestral")
    for number, each in enumerate(wanted):
        (alone,) = made(folder, [each], scheduler="euler_ancestral")
        np.testing.assert_array_equal(alone, together[number])
    for number in (1, 2, 3):
        assert (together[number] != together[0]).any()


@pytest.mark.parametrize("scheduler", get_args(TextScheduler))
def test_every_scheduler_makes_a_video(folder: Path, scheduler: TextScheduler) -> None:
    (video,) = made(folder, [Wanted(SENTENCES[2], 0)], scheduler=scheduler)
    assert video.std() > 5


@pytest.mark.parametrize("frames", [2, 7])
def test_any_number_of_frames(folder: Path, frames: int) -> None:
    (video,) = made(folder, [Wanted(SENTENCES[2], 0)], frames)
    assert video.shape == (frames, SIDE, SIDE, 3)


def test_steps_are_told_and_the_encoder_is_gone_by_then(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoders: list[weakref.ref[Any]] = []
    build: Callable[..., None] = T5EncoderModel.__init__

    def watched(self: Any, *args: Any, **keys: Any) -> None:
        build(self, *args, **keys)
        encoders.append(weakref.ref(self))

    monkeypatch.setattr(T5EncoderModel, "__init__", watched)
    wanted = [Wanted(SENTENCES[0], 0), Wanted(SENTENCES[1], 0)]
    maker = TextToVideo(folder, RUNTIME).ready(wanted, Making(FRAMES, SIDE, SIDE, STEPS))
    gc.collect()
    assert encoders
    assert all(each() is None for each in encoders)
    steps: list[tuple[int, Video]] = []
    video = maker.make(wanted[1], lambda step, latents: steps.append((step, maker.decode(latents))))
    assert [step for step, _ in steps] == [*range(STEPS)]
    np.testing.assert_array_equal(steps[-1][1], video)


def test_what_is_no_text_to_video_checkpoint_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"model_index\.json: was not found"):
        made(tmp_path, [Wanted("x", 0)])
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ModelError, match='is a "StableDiffusionPipeline"'):
        made(tmp_path, [Wanted("x", 0)])
    with pytest.raises(ModelError, match="whose sides 8 divides; 4 of 32×36"):
        TextToVideo(folder, RUNTIME).ready([Wanted("x", 0)], Making(4, 36, 32))
