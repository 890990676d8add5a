"""The tiny checkpoints are what they say: whole, small, repeatable, and alive."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_tiny_sd(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def sd2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_tiny_sd2(tmp_path_factory.mktemp("sd2"))


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What diffusers and transformers log as warnings or worse; their loggers pass nothing on by themselves."""
    for name in ("diffusers", "transformers"):
        logging.getLogger(name).addHandler(caplog.handler)
    caplog.set_level(logging.WARNING)
    yield caplog.records
    for name in ("diffusers", "transformers"):
        logging.getLogger(name).removeHandler(caplog.handler)


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("model", ["sd", "sd2"])
def test_every_part_loads_whole(
    model: str, request: pytest.FixtureRequest, complaints: list[logging.LogRecord]
) -> None:
    folder: Path = request.getfixturevalue(model)
    for network, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"), (CLIPTextModel, "text_encoder")):
        _, found = network.from_pretrained(folder / part, output_loading_info=True)
        assert not any(found.values()), (part, found)
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    assert pipeline.vae_scale_factor == tiny.VAE_SCALE
    assert [record.getMessage() for record in complaints] == []


@pytest.mark.parametrize("pooled", [False, True])
def test_a_controlnet_loads_whole(pooled: bool, sd: Path, tmp_path: Path, complaints: list[logging.LogRecord]) -> None:
    folder = tiny.save_tiny_controlnet(tmp_path, sd, global_pool_conditions=pooled)
    net, found = ControlNetModel.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values()), found
    assert net.config.global_pool_conditions == pooled
    assert [record.getMessage() for record in complaints] == []


def test_a_seed_gives_the_same_files_and_leaves_torchs_generator_alone(sd: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    again = tiny.save_tiny_sd(tmp_path / "again")
    other = tiny.save_tiny_sd(tmp_path / "other", seed=1)
    nets = [tiny.save_tiny_controlnet(tmp_path / name, sd) for name in ("net", "net again")]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert bytes_of(again) == bytes_of(sd)
    assert bytes_of(nets[0]) == bytes_of(nets[1])
    weights = Path("unet", "diffusion_pytorch_model.safetensors")
    assert bytes_of(other)[weights] != bytes_of(sd)[weights]


def test_checkpoints_are_small(sd: Path, sd2: Path, tmp_path: Path) -> None:
    for folder in (sd, sd2, tiny.save_tiny_controlnet(tmp_path, sd)):
        assert sum(map(len, bytes_of(folder).values())) < 3_000_000


def test_checkpoints_differ_as_their_arguments_do(tmp_path: Path, sd2: Path) -> None:
    tiny.save_tiny_sd(tmp_path, latent_channels=8, scheduler={"_class_name": "DDIMScheduler", "beta_end": 0.02})
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path)
    assert (pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels) == (8, 8)
    assert (type(pipeline.scheduler).__name__, pipeline.scheduler.config.beta_end) == ("DDIMScheduler", 0.02)
    second = StableDiffusionPipeline.from_pretrained(sd2)
    assert (second.scheduler.config.prediction_type, second.unet.config.cross_attention_dim) == ("v_prediction", 48)


def test_words_are_merged_and_padded_as_clip_does(sd: Path, sd2: Path) -> None:
    tokens = {}
    for folder in (sd, sd2):
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        assert tokenizer.model_max_length == 77
        ids = tokenizer("The  OIL, 7é", padding="max_length").input_ids
        assert len(ids) == 77
        tokens[folder] = tokenizer.convert_ids_to_tokens(ids)
    prompt = [tiny.BEGIN, "the</w>", "oil</w>", ",</w>", "7</w>", "Ã", "©</w>", tiny.END]
    assert tokens[sd] == prompt + [tiny.END] * 69
    assert tokens[sd2] == prompt + ["!"] * 69


@pytest.mark.parametrize("model", ["sd", "sd2"])
def test_pictures_are_neither_black_nor_white(model: str, request: pytest.FixtureRequest) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(request.getfixturevalue(model))
    pipeline.set_progress_bar_config(disable=True)
    for steps in (5, 10):
        latents, picture = (
            pipeline(
                "a red cat",
                num_inference_steps=steps,
                height=64,
                width=64,
                generator=torch.Generator().manual_seed(0),
                output_type=kind,
            ).images[0]
            for kind in ("latent", "np")
        )
        assert 0.1 < latents.std() < 5
        assert picture.std() > 0.1
        assert ((picture <= 0) | (picture >= 1)).mean() < 0.1
