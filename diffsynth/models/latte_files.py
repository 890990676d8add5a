"""Published Latte checkpoints: which network a file of weights is of, and whether it is whole."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.models.base import Condition, VideoShape
from diffsynth.models.latte import Latte
from diffsynth.models.latte_config import SIZES, LatteConfig
from diffsynth.models.weight_files import read_weights
from diffsynth.models.weights import differing, require_axes, some

HEADS = {hidden: heads for hidden, _, heads in SIZES.values()}
MARKS = ("x_embedder.proj.weight", "pos_embed", "temp_embed", "blocks.0.attn.qkv.weight", "final_layer.linear.weight")
"""The weights that tell a network's numbers."""
CLASSES, WORDS = "y_embedder.embedding_table.weight", "text_embedding_projection.1.weight"
AXES = dict(zip(MARKS, (4, 3, 3, 2, 2), strict=True)) | {CLASSES: 2, WORDS: 2}


@dataclass(frozen=True)
class PublishedLatte:
    """A network as its file describes it."""

    config: LatteConfig
    shape: VideoShape
    condition: Condition
    learned_sigma: bool
    weights: dict[str, Tensor]

    def build(self) -> Latte:
        network = self.config.build(self.shape, self.condition, learned_sigma=self.learned_sigma)
        network.load_state_dict(self.weights)
        return network


def read_latte(path: Path, heads: int | None = None) -> PublishedLatte:
    """The network in a `.pt` or `.safetensors` file of the published layout; of `ema` and `model` the former.

    A file doesn't say its heads: those of the published sizes are known by the hidden size.
    """
    weights = read_weights(path)
    missing = [name for name in MARKS if name not in weights]
    if missing:
        raise ModelError(
            f"{path}: is no Latte checkpoint: it has no {some(missing)}. It holds {some(sorted(weights))}. "
            "Is it another model's?"
        )
    require_axes(path, weights, AXES)
    found = _described(path, weights, heads)
    with torch.device("meta"):
        network = found.config.build(found.shape, found.condition, learned_sigma=found.learned_sigma)
    differences = differing(network.state_dict(), weights)
    if differences:
        raise ModelError(
            f"{path}: looks like a Latte of hidden size {found.config.hidden} and depth {found.config.depth}, but "
            f"{'; '.join(differences)}. Copy or download it again, or is it another model's?"
        )
    return found


def _described(path: Path, weights: Mapping[str, Tensor], heads: int | None) -> PublishedLatte:
    patches, places = weights["x_embedder.proj.weight"], weights["pos_embed"].shape[1]
    hidden, channels, patch = int(patches.shape[0]), int(patches.shape[1]), int(patches.shape[-1])
    heads = heads or HEADS.get(hidden)
    if heads is None:
        raise ModelError(
            f"{path}: its hidden size is {hidden}, which none of the published networks has "
            f"({', '.join(map(str, HEADS))}), so its number of heads can't be told. Give it."
        )
    side = math.isqrt(places)
    if side * side != places:
        raise ModelError(f"{path}: its pos_embed is for {places} patches, which form no square.")
    depth = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    condition = _condition(weights)
    shape = VideoShape(int(weights["temp_embed"].shape[1]), channels, side * patch, side * patch)
    learned = len(weights["final_layer.linear.weight"]) == 2 * channels * patch**2
    config = LatteConfig(hidden=hidden, depth=depth, heads=heads, patch=patch)
    return PublishedLatte(config, shape, condition, learned, dict(weights))


def _condition(weights: Mapping[str, Tensor]) -> Condition:
    labels = weights.get(CLASSES)
    if labels is not None:
        return Condition("class", num_classes=len(labels) - 1)
    words = weights.get(WORDS)
    return Condition() if words is None else Condition("text", text_dim=int(words.shape[1]))
