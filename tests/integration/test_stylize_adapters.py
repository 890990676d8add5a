"""LoRAs and learned words: against checkpoints whose own weights were changed, and against diffusers' loaders."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import diffsynth  # noqa: F401 - its guard lets diffusers be imported beside a torchvision that doesn't fit torch

# isort: split
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from lora_files import (
    ALPHA,
    RANK,
    Deltas,
    changed_checkpoint,
    diffusers_state,
    earlier_diffusers_state,
    kohya_state,
    original_names,
    random_deltas,
)
from safetensors.torch import save_file
from stylizing import NEGATIVE, Bench, moving_clip, run
from tiny import save_tiny_sd, save_tiny_sdxl

from diffsynth.cli import main
from diffsynth.errors import ConfigError, DiffSynthError, ModelError, RunFolderError
from diffsynth.frames import Image
from diffsynth.images import write_png

GREY_LEVELS = 0.05
"""Two orders of the same float32 sums differ in the last bits; where a value lies between two levels, one flips."""
COUNT, HEIGHT, WIDTH = 2, 32, 40


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A clip, in `model` a checkpoint of the first generation, and in `xl` one of XL."""
    folder = tmp_path_factory.mktemp("adapters")
    frames = moving_clip(COUNT, HEIGHT, WIDTH)
    (folder / "clip").mkdir()
    for position, frame in enumerate(frames):
        write_png(folder / "clip" / f"{position:03}.png", frame)
    save_tiny_sd(folder / "model")
    save_tiny_sdxl(folder / "xl")
    return Bench(folder, frames)


def rendered(bench: Bench, folder: Path, **keys: Any) -> Image:
    plain = {"combine_pattern": [-1, 0], "num_inference_steps": 2, "guidance_scale": 3}
    return run(bench.config(str(folder), **{**plain, **keys}))


def close(found: Image, expected: Image) -> bool:
    return bool(np.abs(found.astype(int) - expected).mean() < GREY_LEVELS)


def saved(state: dict[str, torch.Tensor], path: Path) -> str:
    state = {name: each.contiguous() for name, each in state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


LAYOUTS = ("diffusers", "diffusers' first", "kohya", "kohya on the original names", "kohya as .pt")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["model", "xl"])
def test_a_lora_is_a_change_of_weights(bench: Bench, kind: str, layout: str, tmp_path: Path) -> None:
    folder = bench.folder / kind
    deltas: Deltas = random_deltas(folder)
    factor = ALPHA / RANK if "kohya" in layout else 1.0
    if layout == "diffusers' first":
        deltas = {"unet": {name: each for name, each in deltas["unet"].items() if ".attn" in name}}
        state = earlier_diffusers_state(deltas)
    elif layout == "diffusers":
        state = diffusers_state(deltas)
    else:
        state = kohya_state(deltas, original_names(folder) if "original" in layout else str)
    file = saved(state, tmp_path / f"lora{'.pt' if 'pt' in layout else '.safetensors'}")
    lora = {"path": file, "scale": 0.7, "text_encoder_scale": 0.4}
    found = rendered(bench, tmp_path / "1", model_id=str(folder), lora=[lora])
    changed = changed_checkpoint(folder, tmp_path / "c", deltas, factor=0.7 * factor, text_factor=0.4 * factor)
    assert close(found, rendered(bench, tmp_path / "2", model_id=str(changed)))
    assert not close(found, rendered(bench, tmp_path / "3", model_id=str(folder)))


def test_several_loras_add_up(bench: Bench, tmp_path: Path) -> None:
    one, other = (random_deltas(bench.model, seed=seed) for seed in (1, 2))
    files = [saved(diffusers_state(each), tmp_path / f"{k}.safetensors") for k, each in enumerate((one, other))]
    loras = [{"path": files[0], "scale": 0.5}, {"path": files[1], "scale": -0.6}]
    found = rendered(bench, tmp_path / "out", lora=loras)
    half = changed_checkpoint(bench.model, tmp_path / "half", one, factor=0.5)
    whole = changed_checkpoint(half, tmp_path / "whole", other, factor=-0.6)
    assert close(found, rendered(bench, tmp_path / "out2", model_id=str(whole)))


def test_a_lora_comes_and_goes(bench: Bench, tmp_path: Path) -> None:
    """diffusers' own loader and scales, switched between two steps, beside ours that acts in the second half."""
    deltas = random_deltas(bench.model)
    early = saved(kohya_state({"unet": deltas["unet"]}), tmp_path / "early.safetensors")
    other = {"unet": random_deltas(bench.model, seed=5)["unet"]}
    always = saved(diffusers_state(other), tmp_path / "always.safetensors")
    loras = [{"path": early, "scale": 0.8, "end": 0.5}, {"path": always, "scale": 0.5}]
    found = rendered(bench, tmp_path / "out", lora=loras, combine_pattern="self", scheduler="ddim")
    pipe = StableDiffusionPipeline.from_pretrained(bench.model)
    pipe.set_progress_bar_config(disable=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's, of two LoRAs on one network
        pipe.load_lora_weights(always, adapter_name="always")
        pipe.load_lora_weights(early, adapter_name="early")

    def switch(pipe: Any, step: int, timestep: int, values: dict[str, Any]) -> dict[str, Any]:
        pipe.unet.set_adapters(["always", "early"], [0.5, 0.0])
        return values

    pipe.unet.set_adapters(["always", "early"], [0.5, 0.8])
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    picture = pipe(
        bench.config().prompt,
        negative_prompt=NEGATIVE,
        num_inference_steps=2,
        guidance_scale=3,
        height=HEIGHT,
        width=WIDTH,
        latents=torch.randn((1, 4, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(0)),
        callback_on_step_end=switch,
        output_type="np",
    ).images[0]
    assert close(found, np.rint(picture * 255).astype(np.uint8)[None])
    for part in ({"start": 0.5}, {"start": 0.0, "end": 1.0}):
        loras[0] = {"path": early, "scale": 0.8, **part}
        again = rendered(bench, tmp_path / str(part), lora=loras, combine_pattern="self", scheduler="ddim")
        assert not close(found, again)


def test_passing_layers_compute_what_settled_ones_do(bench: Bench, tmp_path: Path) -> None:
    """An `end` after the last step but short of the whole leaves a LoRA beside the layers all the time."""
    file = saved(kohya_state(random_deltas(bench.folder / "xl")), tmp_path / "lora.safetensors")
    keys: dict[str, Any] = {"model_id": str(bench.folder / "xl")}
    settled = rendered(bench, tmp_path / "1", lora=[{"path": file}], **keys)
    beside = rendered(bench, tmp_path / "2", lora=[{"path": file, "end": 0.9999999999}], **keys)
    assert close(beside, settled)


def refused(bench: Bench, folder: Path, kind: type[DiffSynthError] = ModelError, **keys: Any) -> str:
    with pytest.raises(kind) as caught:
        rendered(bench, folder, **keys)
    assert not (folder / "frames").exists()
    shutil.rmtree(folder)
    return str(caught.value)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_loras_that_do_not_fit(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def said(state: Any, name: str = "x.safetensors", **keys: Any) -> str:
        path = tmp_path / name
        path.unlink(missing_ok=True)
        if isinstance(state, bytes):
            path.write_bytes(state)
        else:
            saved(state, path)
        text = refused(bench, tmp_path / "out", lora=[{"path": str(path)}], **keys)
        assert str(path) in text
        return text

    one, xl = kohya_state(random_deltas(bench.model)), kohya_state(random_deltas(bench.folder / "xl"))
    assert "is for a checkpoint of text width 56, but model is a checkpoint of text width 32" in said(xl)
    assert "but xl is" in said(one, model_id=str(bench.folder / "xl"))
    wide = {name: torch.cat([each, each], 1) if "ff_net_2.lora_down" in name else each for name, each in one.items()}
    assert "changes a layer from 256 to 32, but the checkpoint's is from 128 to 32" in said(wide)
    strange = {name.replace("_unet_", "_dit_"): each for name, each in one.items() if "_te" not in name}
    assert "none of the" in said(strange)
    assert "a LoHa" in said({"lora_unet_x.hada_w1_a": torch.zeros(1)})
    assert "a DoRA" in said({**one, "lora_unet_x.dora_scale": torch.zeros(1)})
    assert "holds no LoRA" in said({"emb_params": torch.zeros(1, 32)})
    lonely = {name: each for name, each in one.items() if "lora_up" not in name}
    assert "only one of two matrices" in said(lonely)
    whole = Path(saved(one, tmp_path / "whole.safetensors")).read_bytes()
    assert "cut short" in said(whole[:-10])
    torch.save({**one, "x": Bomb()}, tmp_path / "bomb.pt")
    assert "none of it is run" in refused(bench, tmp_path / "out", lora=[{"path": str(tmp_path / "bomb.pt")}])
    assert not (tmp_path / "exploded").exists()


def test_a_lora_of_which_a_part_fits_is_told(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = kohya_state({"unet": random_deltas(bench.model)["unet"]})
    state |= {name.replace("down_blocks_0", "down_blocks_7"): each.clone() for name, each in state.items()}
    file = saved(state, tmp_path / "lora.safetensors")
    tree = bench.tree(str(tmp_path / "out"), lora=[{"path": file}], num_inference_steps=1)
    (tmp_path / "my.json").write_text(json.dumps(tree))
    assert main(["run", str(tmp_path / "my.json")]) == 0
    told = capsys.readouterr()
    words = " ".join((told.out + told.err).split())
    assert "layers that lora.safetensors changes are there" in words
    assert "lora_unet_down_blocks_7" in words


def test_what_a_config_can_get_wrong(bench: Bench, tmp_path: Path) -> None:
    file = saved(kohya_state(random_deltas(bench.model)), tmp_path / "x.safetensors")
    for lora, words in (
        ({"path": file, "start": 0.5, "end": 0.5}, 'lora[0]: "end" (0.5) must come after "start" (0.5)'),
        ({"path": file, "weight_name": "y"}, 'leave "weight_name" out'),
        ({"path": str(tmp_path / "none.safetensors")}, "was not found"),
        ({"path": file, "strength": 2}, "strength"),
    ):
        with pytest.raises(ConfigError) as caught:
            bench.config(lora=[lora])
        assert words in str(caught.value)
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        (tmp_path / "folder" / f"{name}.safetensors").write_bytes(Path(file).read_bytes())
    said = refused(bench, tmp_path / "out", DiffSynthError, lora=[{"path": str(tmp_path / "folder")}])
    assert 'there are a.safetensors, b.safetensors. Name one as "weight_name"' in said
    named = {"path": str(tmp_path / "folder"), "weight_name": "b.safetensors"}
    found = rendered(bench, tmp_path / "named", lora=[named])
    assert np.array_equal(found, rendered(bench, tmp_path / "file", lora=[{"path": file}]))


def interrupted(*values: Any, **keys: Any) -> None:
    raise KeyboardInterrupt


def test_other_adapters_are_no_continuation(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.safetensors"
    saved(kohya_state(random_deltas(bench.model)), file)
    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderKL, "decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rendered(bench, tmp_path / "out", lora=[{"path": str(file)}])
    saved(kohya_state(random_deltas(bench.model, seed=9)), file)
    with pytest.raises(RunFolderError, match=r"lora\[0\]\.path"):
        rendered(bench, tmp_path / "out", lora=[{"path": str(file)}])


# Learned words


def word_files(kind: str, folder: Path) -> tuple[str, tuple[torch.Tensor, ...], dict[str, Any]]:
    """A file in one of the layouts, its vectors, and the keys that name it."""
    generator = torch.Generator().manual_seed(3)
    vectors = torch.randn((2, 32), generator=generator)
    path = folder / "mywords.safetensors"
    if kind == "web ui":
        torch.save({"string_to_param": {"*": vectors}, "string_to_token": {"*": 265}, "name": "snowy"}, folder / "m.pt")
        return "snowy", (vectors,), {"path": str(folder / "m.pt")}
    if kind == "web ui, safetensors":
        save_file({"emb_params": vectors}, path)
        return "mywords", (vectors,), {"path": str(path)}
    if kind == "diffusers, one vector":
        torch.save({"<snow>": vectors[0]}, folder / "learned_embeds.bin")
        return "<snow>", (vectors[:1],), {"path": str(folder)}
    save_file({"<snow>": vectors}, path)
    return "<ice>", (vectors,), {"path": str(path), "token": "<ice>"}


WORDS = ("web ui", "web ui, safetensors", "diffusers, one vector", "diffusers, renamed")


@pytest.mark.parametrize("kind", WORDS)
def test_learned_words_are_diffusers(bench: Bench, kind: str, tmp_path: Path) -> None:
    word, (vectors,), keys = word_files(kind, tmp_path)
    prompt = f"a lake, {word}, trees"
    found = rendered(
        bench,
        tmp_path / "out",
        prompt=prompt,
        textual_inversion=[keys],
        combine_pattern="self",
        scheduler="ddim",
        negative_prompt="",
    )
    pipe = StableDiffusionPipeline.from_pretrained(bench.model)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_textual_inversion({word: vectors}, token=word)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    picture = pipe(
        prompt,
        num_inference_steps=2,
        guidance_scale=3,
        height=HEIGHT,
        width=WIDTH,
        latents=torch.randn((1, 4, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(0)),
        output_type="np",
    ).images[0]
    assert close(found, np.rint(picture * 255).astype(np.uint8)[None])
    assert not close(found, rendered(bench, tmp_path / "plain", prompt=prompt, combine_pattern="self"))


def test_learned_words_of_both_encoders(bench: Bench, tmp_path: Path) -> None:
    """The word stands for what the encoders have for a word of their own: the picture is that word's."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    folder = bench.folder / "xl"
    number = CLIPTokenizer.from_pretrained(folder / "tokenizer").convert_tokens_to_ids("q</w>")
    kinds = {"clip_l": (CLIPTextModel, "text_encoder"), "clip_g": (CLIPTextModelWithProjection, "text_encoder_2")}
    rows = {
        name: kind.from_pretrained(folder / part).get_input_embeddings().weight[[number]].detach().clone()
        for name, (kind, part) in kinds.items()
    }
    save_file(rows, tmp_path / "learned.safetensors")
    keys: dict[str, Any] = {"model_id": str(folder)}
    learned = [{"path": str(tmp_path / "learned.safetensors")}]
    found = rendered(bench, tmp_path / "1", prompt="a Learned lake", textual_inversion=learned, **keys)
    assert close(found, rendered(bench, tmp_path / "2", prompt="a q lake", **keys))
    assert not close(found, rendered(bench, tmp_path / "3", prompt="a w lake", **keys))


def test_words_that_do_not_fit(bench: Bench, tmp_path: Path) -> None:
    def said(state: dict[str, Any], **keys: Any) -> str:
        torch.save(state, tmp_path / "x.pt")
        return refused(bench, tmp_path / "out", textual_inversion=[{"path": str(tmp_path / "x.pt")}], **keys)

    assert "are of width 768, for Stable Diffusion 1.x, but model reads 32" in said({"a": torch.zeros(768)})
    assert "but xl reads 24 and 32" in said({"a": torch.zeros(32)}, model_id=str(bench.folder / "xl"))
    pair = {"clip_l": torch.zeros(1, 24), "clip_g": torch.zeros(1, 32)}
    assert "for Stable Diffusion XL, but model reads 32" in said(pair)
    assert "is no textual inversion" in said({"a": torch.zeros(32), "b": torch.zeros(32)})
    assert "none of it is run" in said({"a": Bomb()})


def test_a_word_in_no_prompt_is_told(bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, keys = word_files("web ui", tmp_path)
    tree = bench.tree(str(tmp_path / "out"), textual_inversion=[keys], prompt="a snowylake", num_inference_steps=1)
    (tmp_path / "my.json").write_text(json.dumps(tree))
    assert main(["run", str(tmp_path / "my.json")]) == 0
    told = capsys.readouterr()
    assert '"snowy" (m.pt) stands in no prompt' in " ".join((told.out + told.err).split())
