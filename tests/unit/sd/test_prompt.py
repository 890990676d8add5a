"""The notation of prompts, and what weights and left-out layers do to what an encoder says."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import save_tiny_sd
from transformers import AutoTokenizer, CLIPTextModel

from diffsynth.errors import ModelError
from diffsynth.sd.prompt import Phrase, phrases, plain
from diffsynth.sd.text import Script, encode_prompts
from diffsynth.tracks import Track


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a fox", [("a fox", 1.0)]),
        ("", [("", 1.0)]),
        ("a (red:1.3) fox", [("a ", 1.0), ("red", 1.3), (" fox", 1.0)]),
        ("(best quality), ((masterpiece))", [("(best quality), ((masterpiece))", 1.0)]),
        ("(a (b:2) c:1.5)", [("a ", 1.5), ("b", 3.0), (" c", 1.5)]),
        (r"\(a:1.3\) (b\):.5)", [("(a:1.3) ", 1.0), ("b)", 0.5)]),
        ("(ratio 16:9:0)", [("ratio 16:9", 0.0)]),
        ("(a:1.2", [("(a:1.2", 1.0)]),
        ("(a:-1)", [("(a:-1)", 1.0)]),
        ("(a:1)(b:1)", [("ab", 1.0)]),
    ],
)
def test_a_prompt_falls_into_parts(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert phrases(prompt) == tuple(Phrase(*each) for each in parts)


@given(st.text(alphabet="ab:(.1 ", max_size=40))
def test_no_text_gets_lost(prompt: str) -> None:
    kept = plain(prompt)
    assert [each for each in kept if each in "ab"] == [each for each in prompt if each in "ab"]
    assert all(each.weight >= 0 for each in phrases(prompt))


def test_a_hostile_prompt_takes_no_time() -> None:
    assert len(phrases("(" * 200_000 + ":1.1)" * 200_000)) >= 1


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[AutoTokenizer, CLIPTextModel]:
    folder = save_tiny_sd(tmp_path_factory.mktemp("model"))
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True).eval()
    return AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True), encoder


def states(reader: tuple[AutoTokenizer, CLIPTextModel], prompt: str, skip: int = 0) -> torch.Tensor:
    return encode_prompts(*reader, ((prompt,),), skip=skip).together[0]


def test_a_weight_says_how_far_a_word_goes_from_the_empty_prompt(reader: tuple[AutoTokenizer, CLIPTextModel]) -> None:
    tokenizer, _ = reader
    plain_states, empty = states(reader, "a red fox"), states(reader, "")
    found = states(reader, "a (red:1.5) fox")
    ids = tokenizer("a red fox").input_ids
    red = [place for place, token in enumerate(ids) if token in tokenizer(" red", add_special_tokens=False).input_ids]
    assert red
    expected = plain_states.clone()
    expected[red] = empty[red] + 1.5 * (plain_states[red] - empty[red])
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(states(reader, "a (red:1) fox"), plain_states)
    assert torch.allclose(states(reader, "(a red fox:0)"), empty, atol=1e-6) or len(ids) > 2


def test_weights_reach_a_long_prompts_last_piece(reader: tuple[AutoTokenizer, CLIPTextModel]) -> None:
    words = "a fox in the snow, " * 30
    plain_states, found = states(reader, words + "red"), states(reader, f"{words}(red:2)")
    assert plain_states.shape == found.shape
    assert len(plain_states) > 77
    assert torch.equal(plain_states[:77], found[:77])
    assert not torch.equal(plain_states[77:], found[77:])


@torch.inference_mode()
def test_left_out_layers_are_those_that_diffusers_leaves_out(reader: tuple[AutoTokenizer, CLIPTextModel]) -> None:
    tokenizer, encoder = reader
    ids = torch.tensor([tokenizer("a fox", padding="max_length", max_length=77).input_ids])
    hidden = encoder(ids, output_hidden_states=True).hidden_states
    for skip in range(1, len(hidden) - 1):
        assert torch.equal(states(reader, "a fox", skip), encoder.final_layer_norm(hidden[-(skip + 1)])[0])
    with pytest.raises(ModelError, match='"clip_skip" is 9'):
        states(reader, "a fox", 9)


def test_frames_between_key_frames_hear_a_mixture(reader: tuple[AutoTokenizer, CLIPTextModel]) -> None:
    long = "a fox in the snow, " * 30
    words = encode_prompts(*reader, (("",), ("a fox", long)))
    script = Script(words, (Track.of(0), Track.of({0: 0, 4: 1})))
    found = script.states((0, 1), [0, 1, 4])
    assert found.shape[0] == 6
    negative, fox, other = words.together
    assert torch.equal(found[:3], negative.expand(3, -1, -1))
    assert torch.equal(found[3], fox)
    assert torch.allclose(found[4], 0.75 * fox + 0.25 * other, atol=1e-6)
    assert torch.equal(found[5], other)
    assert torch.equal(script.states((1,), [4])[0], words.apart[1][1])
    assert torch.equal(script.among([4]).states((1,), [0])[0], words.apart[1][1])
