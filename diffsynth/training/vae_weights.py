"""From a checkpoint of the task `train_vae` to its network."""

from pathlib import Path

from torch import Tensor, nn

from diffsynth.errors import ModelError
from diffsynth.models.weights import differing
from diffsynth.training.autoencoders import AutoencoderFacts
from diffsynth.training.checkpoint import opened

CODER = "coder"
"""The autoencoder's name beside the critic that it is trained with."""
AVERAGE, PLAIN = "ema.", f"model.{CODER}."


def averaged_coder(path: Path, facts: AutoencoderFacts) -> nn.Module:
    """With its averaged weights."""
    network = facts.autoencoder.build(facts.frame_channels)
    weights = averaged(path)
    differences = differing(network.state_dict(), weights)
    if differences:
        raise ModelError(f"{path}: belongs to another network: {'; '.join(differences)}.")
    network.load_state_dict(weights)
    return network


def averaged(path: Path) -> dict[str, Tensor]:
    """Of a finished run's weights, or of a checkpoint that training goes on from."""
    with opened(path) as file:
        names = list(file.keys())
        if not any(name.startswith(AVERAGE) for name in names):
            return {name: file.get_tensor(name) for name in names}
        plain = {name[len(PLAIN) :]: file.get_tensor(name) for name in names if name.startswith(PLAIN)}
        return {**plain, **{name[len(AVERAGE) :]: file.get_tensor(name) for name in names if name.startswith(AVERAGE)}}
