"""What VideoGeneration-PyTorch's networks compute, restated from tables of weights under their names; nothing of the
project. Torch's functions, one picture or video at a time, in float64.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as f

Weights = Mapping[str, Tensor]


def convolved(w: Weights, name: str, x: Tensor, **keys: int) -> Tensor:
    return f.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **keys)


def normed(w: Weights, name: str, x: Tensor, groups: int) -> Tensor:
    """Group norm by its definition."""
    parts = x.reshape(groups, -1)
    mean, variance = parts.mean(1, keepdim=True), parts.var(1, keepdim=True, unbiased=False)
    out = ((parts - mean) / (variance + 1e-5).sqrt()).reshape(x.shape)
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return out * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def residual(w: Weights, name: str, index: int, x: Tensor, groups: int) -> Tensor:
    y = x
    for part in ("resnet_conv_first", "resnet_conv_second"):
        y = f.silu(normed(w, f"{name}.{part}.{index}.0", y, groups))
        y = convolved(w, f"{name}.{part}.{index}.2", y, padding=1)
    return y + convolved(w, f"{name}.residual_input_conv.{index}", x)


def attended(w: Weights, name: str, index: int, x: Tensor, groups: int, heads: int) -> Tensor:
    channels, places = x.shape[1], x.shape[2] * x.shape[3]
    y = normed(w, f"{name}.attention_norms.{index}", x.reshape(1, channels, places), groups)[0].T
    attention = f"{name}.attentions.{index}"
    qkv = y @ w[f"{attention}.in_proj_weight"].T + w[f"{attention}.in_proj_bias"]
    query, key, value = (each.reshape(places, heads, -1) for each in qkv.split(channels, 1))
    scores = torch.einsum("qhc,khc->hqk", query, key) / math.sqrt(channels // heads)
    seen = torch.einsum("hqk,khc->qhc", scores.softmax(-1), value).reshape(places, channels)
    seen = seen @ w[f"{attention}.out_proj.weight"].T + w[f"{attention}.out_proj.bias"]
    return x + seen.T.reshape(x.shape)


def count(w: Weights, beginning: str) -> int:
    level = beginning.count(".")
    return len({name.split(".")[level] for name in w if name.startswith(beginning)})


def middle(w: Weights, name: str, x: Tensor, groups: int, heads: int) -> Tensor:
    x = residual(w, name, 0, x, groups)
    for index in range(count(w, f"{name}.attentions.")):
        x = attended(w, name, index, x, groups, heads)
        x = residual(w, name, index + 1, x, groups)
    return x


def level(w: Weights, name: str, x: Tensor, groups: int, heads: int) -> Tensor:
    if f"{name}.up_sample_conv.weight" in w:
        up = f"{name}.up_sample_conv"
        x = f.conv_transpose2d(x, w[f"{up}.weight"], w[f"{up}.bias"], stride=2, padding=1)
    for index in range(count(w, f"{name}.residual_input_conv.")):
        x = residual(w, name, index, x, groups)
        if f"{name}.attentions.{index}.in_proj_weight" in w:
            x = attended(w, name, index, x, groups, heads)
    if f"{name}.down_sample_conv.weight" in w:
        x = convolved(w, f"{name}.down_sample_conv", x, stride=2, padding=1)
    return x


def encoded(w: Weights, picture: Tensor, groups: int, heads: int) -> Tensor:
    """(1, 2 · Z, h, w) of (1, C, H, W)."""
    x = convolved(w, "encoder_conv_in", picture, padding=1)
    for index in range(count(w, "encoder_layers.")):
        x = level(w, f"encoder_layers.{index}", x, groups, heads)
    for index in range(count(w, "encoder_mids.")):
        x = middle(w, f"encoder_mids.{index}", x, groups, heads)
    x = convolved(w, "encoder_conv_out", f.silu(normed(w, "encoder_norm_out", x, groups)), padding=1)
    return convolved(w, "pre_quant_conv", x)


def decoded(w: Weights, latent: Tensor, groups: int, heads: int) -> Tensor:
    x = convolved(w, "decoder_conv_in", convolved(w, "post_quant_conv", latent), padding=1)
    for index in range(count(w, "decoder_mids.")):
        x = middle(w, f"decoder_mids.{index}", x, groups, heads)
    for index in range(count(w, "decoder_layers.")):
        x = level(w, f"decoder_layers.{index}", x, groups, heads)
    return convolved(w, "decoder_conv_out", f.silu(normed(w, "decoder_norm_out", x, groups)), padding=1)


def waves(places: Tensor, size: int) -> Tensor:
    """(N, size): sines, then cosines."""
    angles = places[:, None] / 10_000 ** (torch.arange(size // 2, dtype=torch.float64) / (size // 2))
    return torch.cat([angles.sin(), angles.cos()], 1)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def latte(w: Weights, video: Tensor, t: float, heads: int, patch: int) -> Tensor:
    """The noise in a video (F, C, H, W) at timestep t, by the tutorial's `DITVideo`."""
    frames, channels, height, width = video.shape
    rows, columns, hidden = height // patch, width // patch, w["t_proj.0.weight"].shape[0]
    cut = video.reshape(frames, channels, rows, patch, columns, patch)
    x = cut.permute(0, 2, 4, 3, 5, 1).reshape(frames, rows * columns, patch * patch * channels)  # (ph pw c)
    x = linear(w, "patch_embed_layer.patch_embed.0", x)
    down = torch.arange(rows, dtype=torch.float64).repeat_interleave(columns)
    along = torch.arange(columns, dtype=torch.float64).repeat(rows)
    x = x + torch.cat([waves(down, hidden // 2), waves(along, hidden // 2)], 1)
    told = f.silu(linear(w, "t_proj.0", waves(torch.tensor([t], dtype=torch.float64), 256)))
    told = f.silu(linear(w, "t_proj.2", told))
    for index in range(count(w, "layers.")):
        if index % 2:
            x = x.transpose(0, 1)
            if index == 1:
                x = x + waves(torch.arange(frames, dtype=torch.float64), hidden)
        name = f"layers.{index}"
        shift, scale, gate, shift2, scale2, gate2 = linear(w, f"{name}.adaptive_norm_layer.1", told).chunk(6, 1)
        x = x + gate * attention(w, f"{name}.attn_block", plain(x) * (1 + scale) + shift, heads)
        inner = f.gelu(linear(w, f"{name}.mlp_block.0", plain(x) * (1 + scale2) + shift2), approximate="tanh")
        x = x + gate2 * linear(w, f"{name}.mlp_block.2", inner)
        x = x.transpose(0, 1) if index % 2 else x
    shift, scale = linear(w, "adaptive_norm_layer.1", told).chunk(2, 1)
    x = linear(w, "proj_out", plain(x) * (1 + scale) + shift)
    return x.reshape(frames, rows, columns, patch, patch, channels).permute(0, 5, 1, 3, 2, 4).reshape(video.shape)


def plain(x: Tensor) -> Tensor:
    return f.layer_norm(x, x.shape[-1:], eps=1e-6)


def attention(w: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    query, key, value = (
        each.reshape(*x.shape[:2], heads, -1) for each in linear(w, f"{name}.qkv_proj", x).chunk(3, -1)
    )
    scores = torch.einsum("bqhc,bkhc->bhqk", query, key) / math.sqrt(query.shape[-1])
    seen = torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), value).reshape(x.shape)
    return linear(w, f"{name}.output_proj.0", seen)
