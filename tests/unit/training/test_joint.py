"""Training on clips with pictures beside them."""

from dataclasses import replace
from pathlib import Path

import torch
from training_runs import config, tree

from diffsynth.runtime import Runtime
from diffsynth.training.data.loading import batches
from diffsynth.training.data.stream import Stream
from diffsynth.training.loop import Trainer
from diffsynth.world import World


def test_a_joint_loss_is_over_the_clip_and_each_picture_told_its_own_class(tmp_path: Path) -> None:
    """What is said of a picture, and the picture, count."""
    body = tree(tmp_path / "run", steps=1)
    body["dataset"]["images"], body["condition"]["dropout"] = 2, 0.0
    wanted = config(body)
    clips, settings = wanted.clips(), wanted.train
    model = wanted.model(clips).build(Runtime(device="cpu"))
    for weight in model.network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    trainer = Trainer(model, Stream(clips, 0, 2), settings, tmp_path, World(), workers=0)
    (batch,) = batches(trainer.stream, [[0, 1]], 0)
    whole = trainer.losses(batch)
    dark = batch.pixels.clone()
    dark[0, 4] = 0
    told = ((batch.labels[0][0], ((batch.labels[0][1] or 0) + 1) % 10, batch.labels[0][2]), batch.labels[1])
    for changed in (replace(batch, pixels=dark), replace(batch, labels=told)):
        found = trainer.losses(changed)
        assert found[0] != whole[0]
        assert found[1] == whole[1]
