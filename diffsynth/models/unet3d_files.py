"""Checkpoints of the published space-time U-net: which network a file of weights is of, and whether it is whole."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffsynth.config import checked
from diffsynth.errors import ModelError
from diffsynth.models.base import SkipFrom
from diffsynth.models.unet3d import Unet3D
from diffsynth.models.unet3d_config import Unet3DConfig
from diffsynth.models.weight_files import read_tree
from diffsynth.models.weights import differing, require_axes

PARTS = ("ema", "model")
"""What a trainer's file holds, the better first."""
PREFIXES = ("module.", "denoise_fn.")
BIAS, FIRST, TIME = "time_rel_pos_bias.relative_attention_bias.weight", "init_conv.weight", "time_mlp.1.weight"
LAST, QUERIES = "final_conv.1.weight", "init_temporal_attn.fn.fn.fn.to_qkv.weight"
MARKS = (BIAS, FIRST, TIME, LAST, QUERIES)
"""The weights that tell a network of this kind, and its numbers."""
AXES = {BIAS: 2, FIRST: 5, TIME: 2, LAST: 5, QUERIES: 2, "null_cond_emb": 2, "betas": 1}
GROUPS = 8
"""As published where norms are over groups; weights don't tell."""
SCHEDULE = "betas"
WIDTH = re.compile(r"downs\.[0-9]+\.0\.block1\.proj\.weight")


@dataclass(frozen=True)
class PublishedUnet3D:
    """A network as its file describes it."""

    config: Unet3DConfig
    channels: int
    out: int
    told: int | None
    """The width of the vector that it is told."""
    timesteps: int | None
    """That it was trained on; None where the file doesn't say."""
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
    path: Path, groups: int = GROUPS, skip_from: SkipFrom = "attention", *, averaged: bool = True
) -> PublishedUnet3D:
    """The network in a trainer's `.pt` – of `ema` and `model` the former, or the latter where not `averaged` – or in a
    bare file of weights."""
    tree = read_tree(path)
    every = _weights(path, tree, PARTS if averaged else PARTS[::-1])
    schedule = every.get(SCHEDULE)
    missing = [mark for mark in MARKS if mark not in every]
    if missing:
        raise ModelError(
            f"{path}: is no checkpoint of the space-time U-net: it has no {', '.join(missing[:3])}. "
            f"It holds {', '.join(sorted(every)[:4])}, …"
        )
    require_axes(path, every, AXES | {name: 5 for name in every if WIDTH.fullmatch(name)})
    config = _described(path, every, groups, skip_from)
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
        None if schedule is None else len(schedule),
        weights,
        int(step) if isinstance(step, int | float) else 0,
    )


def _is_schedule(name: str) -> bool:
    """The numbers of the noise stand beside the network's, in names without a dot."""
    return "." not in name and name != "null_cond_emb"


def _weights(path: Path, tree: object, parts: Sequence[str] = PARTS) -> dict[str, Tensor]:
    if isinstance(tree, dict):
        tree = next((tree[each] for each in parts if isinstance(tree.get(each), Mapping) and tree[each]), tree)
    if not isinstance(tree, Mapping):
        raise ModelError(f'{path}: holds no table of weights, neither by itself nor under "ema" or "model".')
    found: dict[str, Tensor] = {}
    for name, each in tree.items():
        for prefix in PREFIXES:
            name = str(name).removeprefix(prefix)  # noqa: PLW2901  one prefix after the other
        if isinstance(each, Tensor):
            found[name] = each
    return found


def _described(path: Path, weights: Mapping[str, Tensor], groups: int, skip_from: SkipFrom) -> Unet3DConfig:
    first, heads = weights[FIRST], int(weights[BIAS].shape[1])
    dim = int(weights[TIME].shape[1])
    levels = [each for each in range(16) if f"downs.{each}.0.block1.proj.weight" in weights]
    widths = [len(weights[f"downs.{each}.0.block1.proj.weight"]) for each in levels]
    grouped = "downs.0.0.block1.norm.weight" in weights
    return checked(
        Unet3DConfig,
        {
            "dim": dim,
            "dim_mults": tuple(width // dim for width in widths) or (1,),
            "attn_heads": heads,
            "attn_dim_head": len(weights[QUERIES]) // (3 * heads),
            "init_dim": None if len(first) == dim else len(first),
            "init_kernel_size": int(first.shape[-1]),
            "use_sparse_linear_attn": "downs.0.2.fn.norm.gamma" in weights,
            "resnet_groups": groups if grouped else None,
            "skip_from": skip_from,
        },
        f"{path}: backbone",
    )


def _like(config: Unet3DConfig, weights: Mapping[str, Tensor]) -> Unet3D:
    told: Any = weights.get("null_cond_emb")
    with torch.device("meta"):
        return config.network(
            channels=int(weights[FIRST].shape[1]),
            out=len(weights[LAST]),
            told=None if told is None else int(told.shape[1]),
        )
