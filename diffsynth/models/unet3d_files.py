"""Checkpoints of the published space-time U-net: which network a file of weights is of, and whether it is whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsynth.errors import ModelError
from diffsynth.models.unet3d import Unet3D
from diffsynth.models.unet3d_config import SkipFrom, Unet3DConfig
from diffsynth.models.weight_files import read_tree
from diffsynth.models.weights import differing

PARTS = ("ema", "model")
"""What a trainer's file holds, the better first."""
PREFIXES = ("module.", "denoise_fn.")
MARKS = (
    "time_rel_pos_bias.relative_attention_bias.weight",
    "init_conv.weight",
    "time_mlp.1.weight",
    "final_conv.1.weight",
    "init_temporal_attn.fn.fn.fn.to_qkv.weight",
)
"""The weights that tell a network of this kind, and its numbers."""
GROUPS = 8
"""As published where norms are over groups; weights don't tell."""
SCHEDULE = "betas"


@dataclass(frozen=True)
class PublishedUnet3D:
    """A network as its file describes it."""

    config: Unet3DConfig
    channels: int
    out: int
    told: int | None
    """The width of the vector that it is told."""
    timesteps: int
    weights: dict[str, Tensor]
    """By the network's own names."""
    step: int = 0

    @property
    def learned_sigma(self) -> bool:
        return self.out == 2 * self.channels


def is_published_unet(path: Path) -> bool:
    """Whether a file holds such a network."""
    try:
        return all(mark in _weights(path, read_tree(path)) for mark in MARKS)
    except ModelError:
        return False


def read_published_unet(
    path: Path, groups: int = GROUPS, skip_from: SkipFrom = "attention", part: str | None = None
) -> PublishedUnet3D:
    """The network in a trainer's `.pt` – of `ema` and `model` the former – or in a bare file of weights."""
    tree = read_tree(path)
    every = _weights(path, tree, part)
    schedule = every.get(SCHEDULE)
    missing = [mark for mark in MARKS if mark not in every]
    if missing:
        raise ModelError(
            f"{path}: is no checkpoint of the space-time U-net: it has no {', '.join(missing[:3])}. "
            f"It holds {', '.join(sorted(every)[:4])}, …"
        )
    config = _described(every, groups, skip_from)
    network = _like(config, every)
    weights = {name: each for name, each in every.items() if not _is_schedule(name)}
    differences = differing(network.state_dict(), weights)
    if differences:
        raise ModelError(
            f"{path}: looks like a U-net of width {config.dim} with levels {list(config.dim_mults)}, but "
            f"{'; '.join(differences)}. Is it of a version before 0.5, or another model's?"
        )
    if schedule is not None:
        config = config.model_copy(update={"clock": len(schedule)})
    step = tree.get("step", 0) if isinstance(tree, dict) else 0
    told = every.get("null_cond_emb")
    return PublishedUnet3D(
        config,
        network.channels,
        network.out_dim,
        None if told is None else int(told.shape[1]),
        config.clock,
        weights,
        int(step) if isinstance(step, int | float) else 0,
    )


def _is_schedule(name: str) -> bool:
    """The numbers of the noise stand beside the network's, in names without a dot."""
    return "." not in name and name != "null_cond_emb"


def _weights(path: Path, tree: object, part: str | None = None) -> dict[str, Tensor]:
    if isinstance(tree, dict):
        parts = PARTS if part is None else (part,)
        tree = next((tree[each] for each in parts if isinstance(tree.get(each), Mapping)), tree)
    if not isinstance(tree, Mapping):
        raise ModelError(f'{path}: holds no table of weights, neither by itself nor under "ema" or "model".')
    found: dict[str, Tensor] = {}
    for name, each in tree.items():
        for prefix in PREFIXES:
            name = str(name).removeprefix(prefix)  # noqa: PLW2901  one prefix after the other
        if isinstance(each, Tensor):
            found[name] = each
    return found


def _described(weights: Mapping[str, Tensor], groups: int, skip_from: SkipFrom) -> Unet3DConfig:
    first, heads = weights["init_conv.weight"], int(weights[MARKS[0]].shape[1])
    dim = int(weights["time_mlp.1.weight"].shape[1])
    levels = [each for each in range(16) if f"downs.{each}.0.block1.proj.weight" in weights]
    widths = [len(weights[f"downs.{each}.0.block1.proj.weight"]) for each in levels]
    grouped = "downs.0.0.block1.norm.weight" in weights
    return Unet3DConfig.model_validate(
        {
            "dim": dim,
            "dim_mults": tuple(width // dim for width in widths) or (1,),
            "attn_heads": heads,
            "attn_dim_head": len(weights[MARKS[-1]]) // (3 * heads),
            "init_dim": None if len(first) == dim else len(first),
            "init_kernel_size": int(first.shape[-1]),
            "use_sparse_linear_attn": "downs.0.2.fn.norm.gamma" in weights,
            "resnet_groups": groups if grouped else None,
            "skip_from": skip_from,
        }
    )


def _like(config: Unet3DConfig, weights: Mapping[str, Tensor]) -> Unet3D:
    told: Any = weights.get("null_cond_emb")
    with torch.device("meta"):
        return config.network(
            channels=int(weights["init_conv.weight"].shape[1]),
            out=len(weights["final_conv.1.weight"]),
            told=None if told is None else int(told.shape[1]),
        )
