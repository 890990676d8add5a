"""The published face: what it computes, what was wrong in the published one, and what it says of bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_bert import save_tiny_bert
from tiny_gifs import write_gifs
from torch import Tensor

from diffsynth.cli import main
from diffsynth.errors import ConfigError, DiffSynthError, MediaError, MissingFileError, ModelError, StoreError
from diffsynth.video_diffusion import GaussianDiffusion, Trainer, Unet3D

SMALL: dict[str, Any] = {"dim": 8, "dim_mults": (1, 2), "attn_heads": 2, "attn_dim_head": 8}


def diffusion(timesteps: int = 8, cond_dim: int | None = None, **keys: Any) -> GaussianDiffusion:
    torch.manual_seed(0)
    network = Unet3D(cond_dim=cond_dim, **SMALL)
    return GaussianDiffusion(network, image_size=8, num_frames=3, timesteps=timesteps, **keys)


def signals(timesteps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The cosine schedule, restated."""
    cosine = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - cosine[1:] / cosine[:-1], 0.999))


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_the_loss_is_the_error_of_the_noise(kind: Any) -> None:
    model = diffusion(20, loss_type=kind).eval()
    x, noise, t = torch.randn(2, 3, 3, 8, 8), torch.randn(2, 3, 3, 8, 8), torch.tensor([4, 19])
    kept = torch.from_numpy(signals(20)[t.numpy()]).float()[:, None, None, None, None]
    with torch.no_grad():
        # The network is told the timestep itself, and not its share of 1000.
        off = model.denoise_fn(kept.sqrt() * x + (1 - kept).sqrt() * noise, t) - noise
        expected = off.abs().mean() if kind == "l1" else off.square().mean()
        torch.testing.assert_close(model.p_losses(x, t, noise=noise), expected)
        scaled = diffusion(20, loss_type=kind, video_range=(0.0, 1.0)).eval()
        scaled.load_state_dict(model.state_dict())
        torch.manual_seed(3)
        one = scaled((x + 1) / 2, noise=noise)
        torch.manual_seed(3)
        torch.testing.assert_close(model(x, noise=noise), one)


@pytest.mark.parametrize("share", [None, 0.7])
def test_sampling_is_the_published_walk(share: float | None) -> None:
    """Restated in float64: the mean and variance of each step's posterior, the video held within its bounds."""
    model = diffusion(6, use_dynamic_thres=share is not None, dynamic_thres_percentile=share or 0.9).double()
    kept = signals(6)
    torch.manual_seed(5)
    found = model.sample(batch_size=2)
    torch.manual_seed(5)
    # Drawn frames first.
    x = torch.randn(2, 3, 3, 8, 8, dtype=torch.float64)
    for t in range(5, -1, -1):
        with torch.no_grad():
            said = model.denoise_fn(x.transpose(1, 2), torch.full((2,), float(t)).double()).transpose(1, 2)
        clean = (x - np.sqrt(1 - kept[t]) * said) / np.sqrt(kept[t])
        most = torch.ones(2, 1, 1, 1, 1).double()
        if share is not None:
            most = clean.flatten(1).abs().quantile(share, 1).clamp(min=1).view(-1, 1, 1, 1, 1)
        clean = clean.clamp(-most, most) / most
        before = kept[t - 1] if t else 1.0
        beta = 1 - kept[t] / before
        x = (np.sqrt(before) * beta * clean + np.sqrt(kept[t] / before) * (1 - before) * x) / (1 - kept[t])
        if t:
            x = x + np.sqrt(beta * (1 - before) / (1 - kept[t])) * torch.randn(2, 3, 3, 8, 8, dtype=torch.float64)
    # Timesteps reach the network as float32: 700 / 1000 · 6 is exact to 1e-7 of it.
    torch.testing.assert_close(found, (x.transpose(1, 2) + 1) / 2, rtol=1e-4, atol=1e-4)


def test_between_two_videos_lies_each_of_them() -> None:
    model = diffusion(8)
    one, two = torch.zeros(1, 3, 3, 8, 8) + 0.5, torch.zeros(1, 3, 3, 8, 8) - 0.5
    torch.manual_seed(0)
    found = model.interpolate(one, two, t=0, lam=0.25)
    assert found.shape == one.shape
    # At the first timestep hardly any noise is on them: their mix comes back, and not more than the network adds.
    assert float((found - 0.25).abs().mean()) < 0.2


def test_training_leaves_the_condition_out_now_and_then() -> None:
    """In training and only there; without it the vector for nothing is never learned."""
    model = diffusion(cond_dim=4, cond_dropout=0.5)
    told, x = torch.randn(8, 4), torch.randn(8, 3, 3, 8, 8)
    model(x, cond=told).backward()
    assert model.denoise_fn.null_cond_emb is not None
    assert float(model.denoise_fn.null_cond_emb.grad.abs().sum()) > 0  # type: ignore[union-attr]
    model.zero_grad()
    model.eval()(x, cond=told).backward()
    assert model.denoise_fn.null_cond_emb.grad is None or not model.denoise_fn.null_cond_emb.grad.any()


def trainer(data: Path, folder: Path, model: GaussianDiffusion | None = None, **keys: Any) -> Trainer:
    settings = {"train_batch_size": 2, "train_num_steps": 4, "save_and_sample_every": 2, "num_sample_rows": 1}
    return Trainer(model or diffusion(), data, results_folder=folder, **{**settings, **keys})


def test_a_training_that_is_gone_on_with_ends_in_the_same_weights(tmp_path: Path) -> None:
    """With the optimizer in the checkpoint; and the task `sample` draws from what was trained."""
    data = write_gifs(tmp_path / "data", 3, side=8, frames=3)
    heard: list[Any] = []
    trainer(data, tmp_path / "whole").train(log_fn=heard.append)
    assert [each["step"] for each in heard] == [1, 2, 3, 4]
    trainer(data, tmp_path / "parts", train_num_steps=2).train()
    second = trainer(data, tmp_path / "parts")
    second.load(-1)
    assert second.step == 2
    second.train()
    whole, parts = (load_file(tmp_path / each / "checkpoints" / "00000004.safetensors") for each in ("whole", "parts"))
    assert any(name.startswith("optimizer.exp_avg.") for name in whole)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    second.save(7)
    third = trainer(data, tmp_path / "parts")
    third.load(7)
    assert third.step == 4
    with pytest.raises(MissingFileError, match=r"Milestone 9.*model-9\.pt"):
        third.load(9)
    config = {"task": "sample", "checkpoint": str(tmp_path / "whole"), "num_videos": 2, "steps": 2, "formats": ["gif"]}
    (tmp_path / "sample.json").write_text(json.dumps({**config, "output_path": str(tmp_path / "drawn")}))
    assert main(["run", str(tmp_path / "sample.json"), "--quiet", "--device", "cpu"]) == 0
    assert len(list((tmp_path / "drawn" / "videos").glob("*.gif"))) == 2


def test_the_average_starts_late_and_looks_now_and_then(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 2, side=8, frames=3)
    found = trainer(data, tmp_path / "run", step_start_ema=2, update_ema_every=2, ema_decay=0.5)
    weights: list[Tensor] = []

    def look(_entry: Any) -> None:
        weights.append(found.model.denoise_fn.init_conv.weight.detach().clone())

    found.train(log_fn=look)
    # After the steps counted 0 and 2 it looks: first it is the weights, then half way to those of step 2.
    expected = weights[0].lerp(weights[2], 1 - min(0.5, 3 / 12))
    torch.testing.assert_close(found.ema_model.denoise_fn.init_conv.weight.detach(), expected)
    torch.testing.assert_close(found.model.denoise_fn.init_conv.weight.detach(), weights[3])


def test_text_beside_the_gifs_reaches_the_network(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 2, side=8, frames=3, captions=True)
    (data / "clip1.txt").write_text("a girl")
    bert = save_tiny_bert(tmp_path / "bert", 16)
    model = diffusion(cond_dim=16, text_encoder=str(bert))
    run = trainer(data, tmp_path / "run", model, train_num_steps=1, gradient_accumulate_every=1)
    batch = run.loop.stream[0]
    told = run.loop.model.network.told(run.loop.model.conditioner.told([[None]], [[batch.captions[0]]])[:, 0])  # type: ignore[index, operator]
    torch.testing.assert_close(told[:, 0], model.told([str(batch.captions[0])]))
    assert not torch.equal(model.told(["a blue whale"]), model.told(["a girl"]))  # type: ignore[arg-type]
    run.train(prob_focus_present=0.5)
    assert run.step == 1
    # What is kept of a text comes back as it was, padding and all.
    assert torch.equal(model.captions.encoded("a cake"), model.captions.encoded("a cake"))
    assert run.ema_model.captions is model.captions


def test_whose_frames_are_apart_may_be_said(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 2, side=8, frames=3)
    found = trainer(data, tmp_path / "run", train_num_steps=1)
    found.train(focus_present_mask=torch.tensor([True, False]))
    with pytest.raises(ModelError, match="is \\(3,\\), but a batch has 2 videos"):
        trainer(data, tmp_path / "other").train(focus_present_mask=torch.tensor([True, False, True]))


def test_gifs_are_cut_or_gone_on_with_in_black(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 1, side=8, frames=5)
    write_gifs(tmp_path / "data" / "short", 1, side=8, frames=2)
    found = trainer(data, tmp_path / "run")
    shown = {found.loop.stream[index].pixels.shape: found.loop.stream[index].pixels for index in range(2)}
    assert list(shown) == [(3, 8, 8, 3)]
    black = [found.loop.stream[index].pixels[2].max() == 0 for index in range(2)]
    assert sorted(black) == [False, True]


def test_bad_folders_are_told_of(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 3, side=8, frames=3)
    with pytest.raises(MissingFileError, match=r"nowhere: is no folder"):
        trainer(tmp_path / "nowhere", tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match=r"empty: holds no \.gif"):
        trainer(tmp_path / "empty", tmp_path / "run")
    write_gifs(data / "large", 1, side=16, frames=3)
    (data / "broken.gif").write_bytes(b"not a picture")
    with pytest.raises(MediaError, match=r"(?s)2 of 5 GIFs are not 8×8.*broken\.gif: no GIF.*clip0\.gif: 16×16"):
        trainer(data, tmp_path / "run")
    some = write_gifs(tmp_path / "some", 3, side=8, frames=3, captions=True)
    (some / "clip1.txt").unlink()
    bert = save_tiny_bert(tmp_path / "bert", 16)
    with pytest.raises(MediaError, match=r"1 of 3 GIFs have none beside them: .*clip1\.txt is missing"):
        trainer(some, tmp_path / "run", diffusion(cond_dim=16, text_encoder=str(bert)))
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    model = diffusion()
    with pytest.raises(ModelError, match=r"expected \(batch.*\(3, 3, 8, 8\)"):
        model(torch.zeros(1, 3, 4, 8, 8))
    with pytest.raises(ModelError, match="one text for each"):
        model.sample(cond="a whale")
    with pytest.raises(DiffSynthError, match='known are "l1" and "l2"'):
        diffusion(loss_type="huber")
    with pytest.raises(ModelError, match='but "channels" is 1'):
        diffusion(channels=1)
    with pytest.raises(ModelError, match="is 16, but the model is for 3 frames"):
        trainer(tmp_path, tmp_path / "run", num_frames=16)
    told = diffusion(cond_dim=5, text_encoder=str(save_tiny_bert(tmp_path / "bert", 16)))
    with pytest.raises(ModelError, match="16 wide, but the network is told 5"):
        told.sample(cond=["a whale"])


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"train_batch_size": 0}, '"train_batch_size" is 0; it must be at least 1'),
        ({"train_lr": -1.0}, r'"train_lr" is -1\.0; it must be greater than 0'),
        ({"ema_decay": 1.0}, r'"ema_decay" is 1\.0; it must be less than 1'),
        ({"num_sample_rows": 17}, '"num_sample_rows²" is 289; it must be at most 256'),
        ({"save_and_sample_every": 0}, '"save_and_sample_every" is 0'),
    ],
)
def test_arguments_are_called_as_published(tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    data = write_gifs(tmp_path / "data", 1, side=8, frames=3)
    with pytest.raises(ConfigError, match=f"Trainer: {sentence}"):
        trainer(data, tmp_path / "run", **keys)
    with pytest.raises(ConfigError, match='"prob_focus_present" is 2'):
        trainer(data, tmp_path / "run").train(prob_focus_present=2.0)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file: cannot be written"):
        trainer(data, tmp_path / "file")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"timesteps": 0}, '"timesteps" is 0'),
        ({"dynamic_thres_percentile": 2.0}, '"dynamic_thres_percentile" is 2'),
        ({"cond_dropout": 3.0}, '"cond_dropout" is 3'),
        ({"video_range": (1.0, 1.0)}, "what black is"),
        ({"text_encoder": "./nowhere/bert"}, r"\./nowhere/bert: was not found"),
    ],
)
def test_numbers_that_make_no_noise_are_told(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DiffSynthError, match=sentence):
        diffusion(**keys)


def test_conditions_that_do_not_fit_are_told() -> None:
    model, videos = diffusion(cond_dim=4), torch.zeros(2, 3, 3, 8, 8)
    for told in (torch.zeros(3, 4), torch.zeros(4), torch.zeros(2, 1, 4)):
        with pytest.raises(ModelError, match=r"There are 2 videos.*Give one vector for each: \(2, 4\)"):
            model(videos, cond=told)
    for words in ([], [1.0, 2.0]):
        with pytest.raises(ModelError, match="or a text for each video"):
            model(videos, cond=words)
    with pytest.raises(ModelError, match="The probability 2"):
        model(videos, cond=torch.zeros(2, 4), prob_focus_present=2.0)


def test_how_often_the_condition_is_left_out_may_be_said() -> None:
    model, videos, noise = diffusion(cond_dim=4), torch.randn(2, 3, 3, 8, 8), torch.randn(2, 3, 3, 8, 8)
    time, one, other = torch.tensor([1, 5]), torch.randn(2, 4), torch.randn(2, 4)
    with torch.no_grad():
        without = [model.p_losses(videos, time, each, noise, null_cond_prob=1.0) for each in (one, other)]
        told = [model.p_losses(videos, time, each, noise, null_cond_prob=0.0) for each in (one, other)]
    assert torch.equal(*without)
    assert not torch.equal(*told)


def test_a_network_of_half_precision_answers(tmp_path: Path) -> None:
    model = diffusion(3).bfloat16()
    assert bool(model.sample(batch_size=1).isfinite().all())
    assert bool(model(torch.zeros(1, 3, 3, 8, 8).bfloat16()).isfinite())


def test_a_trainer_tells_texts_and_says_so_where_vectors_are_told(tmp_path: Path) -> None:
    data = write_gifs(tmp_path / "data", 1, side=8, frames=3, captions=True)
    with pytest.raises(ModelError, match=r"vectors of 64 numbers.*Name a text encoder.*cond=vectors"):
        trainer(data, tmp_path / "run", diffusion(cond_dim=64))


def test_results_beside_the_gifs_are_not_learned_from(tmp_path: Path) -> None:
    """Its grids are GIFs too; and a link back to the folder shows no clip twice."""
    data = write_gifs(tmp_path / "data", 2, side=8, frames=3)
    (data / "again").symlink_to(data)
    trainer(data, data / "results", train_num_steps=2).train()
    assert list((data / "results" / "grids").glob("*.gif"))
    second = trainer(data, data / "results", train_num_steps=2)
    second.load(-1)
    assert len(second.loop.stream.clips) == 2
    (data / "lost.gif").symlink_to(tmp_path / "nowhere.gif")
    with pytest.raises(MediaError, match=r"1 of 3 GIFs.*\n.*lost\.gif: no GIF that can be read"):
        trainer(data, data / "results")


def test_gifs_that_break_off_are_passed_over_and_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_gifs(tmp_path / "data", 2, side=8, frames=3)
    whole = (data / "clip1.gif").read_bytes()
    (data / "clip1.gif").write_bytes(whole[: len(whole) // 3])
    trainer(data, tmp_path / "run", train_num_steps=1, save_and_sample_every=9).train()
    told = capsys.readouterr().err
    assert told.count("clip1.gif") == 1
    assert "clip1.gif: passed over: " in told
    (data / "clip0.gif").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(MediaError, match="None of 2 clips in a row can be used"):
        trainer(data, tmp_path / "other", train_num_steps=1).train()


def published(model: GaussianDiffusion) -> dict[str, Tensor]:
    """As the published package names them: the schedule's numbers beside the weights."""
    betas = torch.from_numpy(1 - np.diff(np.log(signals(model.num_timesteps)), prepend=0)).float()
    return {"betas": betas, "sqrt_alphas_cumprod": betas, **model.state_dict()}


def test_published_weights_load(tmp_path: Path) -> None:
    model, other = diffusion(8), diffusion(8)
    for weight in other.parameters():
        torch.nn.init.normal_(weight)
    assert all(name.startswith("denoise_fn.") for name in model.state_dict())
    model.load_state_dict(published(other))
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(ModelError, match='trained on 8 timesteps, but "timesteps" is 9'):
        diffusion(9).load_state_dict(published(other))
    data = write_gifs(tmp_path / "data", 2, side=8, frames=3)
    file = {"step": 12, "model": published(diffusion(8)), "ema": published(other), "scaler": {}}
    (tmp_path / "run").mkdir()
    torch.save(file, tmp_path / "run" / "model-6.pt")
    found = trainer(data, tmp_path / "run")
    found.load(-1)
    assert found.step == 12
    averaged = found.ema_model.state_dict()
    assert all(torch.equal(each, averaged[name]) for name, each in other.state_dict().items())
    with pytest.raises(ModelError, match=r'model-6\.pt: were trained on 8 timesteps, but "timesteps" is 9'):
        trainer(data, tmp_path / "run", diffusion(9)).load(6)
    kept = {name: each.clone() for name, each in found.model.state_dict().items()}
    torch.save({**file, "ema": {"denoise_fn.x": torch.zeros(1)}}, tmp_path / "run" / "model-7.pt")
    with pytest.raises(ModelError, match=r"model-7\.pt: is no checkpoint"):
        found.load(7)
    assert all(torch.equal(each, kept[name]) for name, each in found.model.state_dict().items())
