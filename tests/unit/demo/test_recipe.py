"""The recipe: small parts against oracles, and training that a kill doesn't change."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.recipe import joint_stage, vae_stage
from demo.recipe.models import LATENT_CHANNELS, TOKENS, new_controlnet, new_scheduler, new_unet
from demo.recipe.optim import Average, course, orthogonal
from demo.recipe.pictures import WAYS, PictureSet
from demo.recipe.words import all_words, learn_merges, write_tokenizer


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(2, 24), columns=st.integers(2, 24), seed=st.integers(0, 1000))
def test_orthogonal_keeps_directions_and_evens_out_lengths(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    core = u.T @ orthogonal(matrix) @ vh.T
    lengths = torch.diagonal(core)
    assert torch.allclose(core, torch.diag(lengths), atol=1e-9)
    # The range of the polynomial, applied three times, from a fiftieth of the norm to the norm.
    assert (lengths[s / s.norm() > 0.02] > 0.6).all()
    assert (lengths.abs() < 1.3).all()


def test_course_rises_stays_and_ends_near_zero() -> None:
    values = [course(step, 1000, warm_up=50, cool_down=0.4) for step in range(1000)]
    assert values[0] == pytest.approx(1 / 50)
    assert values[100] == values[500] == 1.0
    assert np.all(np.diff(values[600:]) <= 0)
    assert values[-1] < 0.02


def test_swapping_twice_changes_nothing() -> None:
    param = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    average = Average([param])
    with torch.no_grad():
        param.add_(1.0)
    average.swap()
    assert param.tolist() == [1.0, 2.0]
    average.swap()
    assert param.tolist() == [2.0, 3.0]


def test_merges_spell_every_word_as_one_token() -> None:
    merges = learn_merges(all_words(50))
    joined = {"".join(pair) for pair in merges}
    assert {word + "</w>" for word in ("winter", "watercolor", "night", "landscape")} <= joined


def test_tokenizer_knows_the_captions_and_survives_strange_words(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    text = "watercolor painting of a house and trees in snowy winter at moonlight, best quality"
    assert [token.removesuffix("</w>") for token in tokenizer.tokenize(text)] == text.replace(",", " ,").split()
    strange = tokenizer("zebra ünicode 猫").input_ids
    assert tokenizer.unk_token_id not in strange[1:-1]
    assert tokenizer.model_max_length == TOKENS
    assert len(tokenizer) < 1000


def test_the_prompt_steers_every_layer() -> None:
    unet = new_unet()
    assert unet.config.addition_embed_type == "text"
    x, t = torch.randn(1, LATENT_CHANNELS, 8, 8), torch.tensor([500])
    with torch.no_grad():
        one, other = (unet(x, t, torch.randn(1, TOKENS, 128)).sample for _ in range(2))
    assert not torch.allclose(one, other)


def test_scheduler_starts_from_pure_noise_and_lands_on_the_prediction() -> None:
    scheduler = new_scheduler()
    scheduler.set_timesteps(8)
    assert scheduler.timesteps[0] == 999
    assert scheduler.alphas_cumprod[999].item() == pytest.approx(0, abs=1e-6)
    clean = torch.randn(1, 4, 8, 8)
    noise = torch.randn(1, 4, 8, 8)
    x = noise
    for step in scheduler.timesteps:
        signal = scheduler.alphas_cumprod[step]
        x = signal.sqrt() * clean + (1 - signal).sqrt() * noise
        velocity = signal.sqrt() * noise - (1 - signal).sqrt() * clean
        x = scheduler.step(velocity, step, x).prev_sample
    assert torch.allclose(x, clean, atol=1e-4)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    small = PictureSet(tmp_path_factory.mktemp("pictures") / "set", size=96, scenes=6, first_seed=0)
    small.paint()
    return small


def test_pictures_come_with_what_the_processors_see(pictures: PictureSet) -> None:
    assert pictures.array("target").shape == (6 * WAYS, 96, 96, 3)
    assert len(pictures.captions) == 6 * WAYS
    for name in ("soft", "canny", "depth"):
        assert pictures.array(name).shape == (6, 96, 96)
        assert pictures.array(name).max() > 200


def test_pictures_are_the_same_when_painted_again(pictures: PictureSet, tmp_path: Path) -> None:
    again = PictureSet(tmp_path / "set", 96, 6, 0)
    again.paint()
    assert again.captions == pictures.captions
    assert np.array_equal(again.array("target"), pictures.array("target"))


@pytest.mark.slow
def test_a_killed_autoencoder_goes_on_as_if_nothing_had_happened(pictures: PictureSet, tmp_path: Path) -> None:
    whole = vae_stage.train_vae(pictures, tmp_path / "whole.pt", 3, seed=1, device="cpu", every=1e9)

    class KilledError(RuntimeError):
        pass

    drawn = vae_stage.draw_batch

    def dies_at_two(targets: np.ndarray, seed: int, step: int) -> np.ndarray:
        if step == 2:
            raise KilledError
        return drawn(targets, seed, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vae_stage, "draw_batch", dies_at_two)
        with pytest.raises(KilledError):
            vae_stage.train_vae(pictures, tmp_path / "cut.pt", 3, seed=1, device="cpu", every=0.0)
    resumed = vae_stage.train_vae(pictures, tmp_path / "cut.pt", 3, seed=1, device="cpu", every=1e9)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
def test_standardised_latents_are_centred_and_still_decode(pictures: PictureSet) -> None:
    torch.manual_seed(0)
    vae = vae_stage.fresh_vae().eval()
    x = vae_stage.as_tensor(pictures.array("target")[:2].copy())
    with torch.no_grad():
        before = vae.decode(vae.encode(x).latent_dist.mean).sample
        vae_stage.standardise(vae, pictures.array("target"), "cpu")
        latents = torch.cat(
            [vae.encode(vae_stage.as_tensor(p[None])).latent_dist.mean for p in pictures.array("target")]
        )
        after = vae.decode(vae.encode(x).latent_dist.mean).sample
    assert latents.mean((0, 2, 3)).abs().max() < 0.05
    assert latents.std((0, 2, 3)).square().mean().item() == pytest.approx(1, abs=0.1)
    assert torch.allclose(before, after, atol=1e-3)


@pytest.mark.slow
def test_joint_training_resumes_bit_for_bit(pictures: PictureSet, tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    vae = vae_stage.fresh_vae().eval().requires_grad_(requires_grad=False)
    plan = joint_stage.Plan(steps=2, vae_steps=0, depth_steps=0, scenes=6, batch=2, seed=0)
    sets = {64: pictures, 96: pictures}

    def run(work: Path, times: int) -> dict[str, torch.Tensor]:
        work.mkdir(exist_ok=True)
        shop = joint_stage.Workshop(plan, sets, vae, tokenizer, work)
        models = [joint_stage.train_joint(shop, every=0.0) for _ in range(times)]
        return models[-1].unet.state_dict()

    whole = run(tmp_path / "whole", 1)
    again = run(tmp_path / "whole", 1)  # finished: loads, trains nothing
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    cut = tmp_path / "cut"
    drawn = joint_stage.Source.batch

    def dies(self: joint_stage.Source, count: int, seed: int, step: int, maps: dict[str, float]) -> joint_stage.Batch:
        if step == 1:
            raise KeyboardInterrupt
        return drawn(self, count, seed, step, maps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_stage.Source, "batch", dies)
        with pytest.raises(KeyboardInterrupt):
            run(cut, 1)
    resumed = run(cut, 1)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_the_edge_net_speaks_from_the_start() -> None:
    unet = new_unet()
    net = new_controlnet(unet)
    joint_stage.wake(net)
    x, t, words = torch.randn(1, LATENT_CHANNELS, 8, 8), torch.tensor([10]), torch.randn(1, TOKENS, 128)
    with torch.no_grad():
        with_edges, without = (
            net(x, t, words, c, return_dict=False)[1] for c in (torch.rand(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
        )
    assert not torch.allclose(with_edges, without)
