"""Files that were made to do harm, and those of others: one clear error each, and no code of theirs is run."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import config, tree

from diffsynth.errors import ModelError
from diffsynth.runtime import Runtime
from diffsynth.training.data.files import FileClips
from diffsynth.training.data.stream import Stream
from diffsynth.training.data.window import View, Window
from diffsynth.training.facts import FORMAT, Facts, facts_of, is_ours
from diffsynth.training.loading_model import load_model
from diffsynth.training.sampling import SamplePlan, draw
from diffsynth.training.wishes import Wish

CPU = Runtime(device="cpu")


def headed(path: Path, header: Any) -> Path:
    """A safetensors file of this header, and of no tensor."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


@pytest.mark.parametrize(
    "header", [[], None, {"__metadata__": ["format"]}, b"[" * 200_000, b"\xff\xff", {"__metadata__": "format"}]
)
def test_a_header_that_is_no_table_is_said(tmp_path: Path, header: Any) -> None:
    path = headed(tmp_path / "odd.safetensors", header)
    with pytest.raises(ModelError, match="is no whole safetensors file"):
        is_ours(path)


@pytest.mark.parametrize(
    "words", ["[]", "[" * 100_000, "{}", "3", 3, None, {"model": []}, {"step": "soon"}, {"step": None}, {"run": None}]
)
def test_words_that_describe_nothing_are_said(tmp_path: Path, words: Any) -> None:
    told = json.dumps({"model": {}, "step": 1, "run": {}, **words}) if isinstance(words, dict) else words
    path = headed(tmp_path / "odd.safetensors", {"__metadata__": {FORMAT: told}})
    with pytest.raises(ModelError, match="what it says of itself is damaged"):
        facts_of(path)


def saved(path: Path, **backbone: Any) -> Path:
    """The weights of a small network, whose file says that it is another one."""
    from safetensors.torch import save_file

    body = config(tree(path.parent / "run"))
    described = body.model(body.clips())
    network = described.build(CPU).network
    told = described.model_dump(mode="json", exclude_none=True)
    told["backbone"] |= backbone
    save_file(network.state_dict(), path, metadata=Facts(told, 3, {"data": "", "scaler": {}}).metadata())
    return path


def test_what_a_file_claims_to_hold_is_compared_before_it_is_made(tmp_path: Path) -> None:
    """4 TB for one layer alone, if it were."""
    with pytest.raises(ModelError, match=r"belongs to another network: .*\(1048576, 16\)|1048576"):
        load_model(saved(tmp_path / "huge.safetensors", hidden=1_048_576, depth=2), CPU)


def test_numbers_that_overflowed_are_no_video(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path / "whole.safetensors"), CPU)
    with torch.no_grad():
        model.network.final_layer.linear.bias.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(ModelError, match="overflowed"):
        draw(model, [Wish(0, 1)], SamplePlan(2, 0))


def test_guidance_needs_a_condition_that_was_left_out_at_times(tmp_path: Path) -> None:
    """Without dropout nothing was learned of the null class: what it says must not count."""
    body = tree(tmp_path / "run")
    body["condition"]["dropout"] = 0.0
    trained = config(body)
    model = trained.model(trained.clips()).build(CPU)
    for weight in model.network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    plain, guided = (draw(model, [Wish(0, 1)], SamplePlan(2, 0, scale)) for scale in (1.0, 4.0))
    assert torch.equal(plain, guided)


def test_a_link_that_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    from PIL import Image

    from diffsynth.training.data.listing import listed

    (tmp_path / "a").mkdir()
    for number in range(2):
        Image.new("RGB", (8, 8)).save(tmp_path / "a" / f"{number}.png")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "nowhere.mp4")
    clips = FileClips(tuple(listed(tmp_path, "folder")), Window(2), View(8, 8))
    assert len(clips.fingerprint) == 16
    stream = Stream(clips, 0)
    troubles = [each for index in range(2) for each in stream[index].troubles]
    assert {each.path.name for each in troubles} == {"b.mp4"}


def test_the_code_beside_a_text_encoder_is_not_run(tmp_path: Path) -> None:
    """Nor is anybody asked whether it should be."""
    from diffsynth.training.captions import Captions

    mark = tmp_path / "ran"
    settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Own: pass\n")
    with pytest.raises(ModelError, match="no text encoder with its tokenizer could be loaded"):
        Captions.load(str(tmp_path), 8, 0.1, CPU)
    assert not mark.exists()
