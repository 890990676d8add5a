"""Latte's forward pass restated for one video, in float64 NumPy: sums written out by axis, nothing of the project.

Axes: g frame or picture, p place, d hidden, n head, e size of a head, c channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Restated:
    """The numbers that weights alone don't tell."""

    heads: int
    frames: int
    height: int
    width: int
    patch: int
    tube: int = 1
    variant: str = "interleaved"
    tokens: bool = False
    rotary: bool = False

    def answer(self, w: Weights, x: Array, t: float, labels: Sequence[int] = (), text: Array | None = None) -> Array:
        """(G, C', H, W). `labels`: none, one for all, or one for the video and one for each picture behind it;
        `text` in the same way, (1 or 1 + I, words, width)."""
        pictures = len(x) - self.frames
        moments = self.frames // self.tube
        rows = moments + pictures
        h = np.stack([self.patches(w, self.clip_at(x, row)) for row in range(rows)]) + self.places(w)
        time = layer(w, "t_embedder.mlp.2", silu(layer(w, "t_embedder.mlp.0", waves_of(t))))
        told = [self.told(w, time, labels, text, self.owner(row)) for row in range(rows)]
        words = 0
        shown: list[Array] = [np.ones(h.shape[1], bool)] * rows
        if self.tokens:
            words = len(told[0][0])
            h = np.concatenate([np.stack([each for each, _ in told]), h], 1)
            shown = [np.concatenate([mask, np.ones(h.shape[1] - words, bool)]) for _, mask in told]
        cond = None if self.tokens else np.stack([each.sum(0) for each, _ in told])
        depth = 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))
        timed = self.rotary
        for number in range(depth):
            kind = self.kind(number, depth)
            if not timed and kind != "spatial":
                h[:moments] += sines(np.arange(moments), h.shape[-1])[:, None]
                timed = True
            h = self.block(w, f"blocks.{number}", kind, h, cond, moments, shown)
        h = h[:, words:]
        if self.tokens:
            h = norm(h) * w["final_layer.norm.weight"] + w["final_layer.norm.bias"]
        else:
            shift, scale = np.split(layer(w, "final_layer.adaLN_modulation.1", silu(cond)), 2, -1)
            h = norm(h) * (1 + scale[:, None]) + shift[:, None]
        return self.pixels(layer(w, "final_layer.linear", h), moments)

    def owner(self, row: int) -> int:
        return max(row - self.frames // self.tube + 1, 0)

    def clip_at(self, x: Array, row: int) -> Array:
        """The frames of one row of tokens; a picture counts as many times as a patch is long."""
        if self.owner(row):
            return np.stack([x[self.frames + self.owner(row) - 1]] * self.tube)
        return x[row * self.tube : (row + 1) * self.tube]

    def patches(self, w: Weights, clip: Array) -> Array:
        kernel = w["x_embedder.proj.weight"]
        kernel = kernel[:, :, None] if kernel.ndim == 4 else kernel
        side = self.patch
        out = [
            np.einsum("tcyx,dctyx->d", clip[:, :, y : y + side, x : x + side], kernel)
            for y in range(0, self.height, side)
            for x in range(0, self.width, side)
        ]
        return np.stack(out) + w["x_embedder.proj.bias"]

    def places(self, w: Weights) -> Array:
        """Half of the numbers tell the column, half the row."""
        size = w["x_embedder.proj.bias"].shape[0] // 2
        rows, columns = self.height // self.patch, self.width // self.patch
        each = [
            [np.concatenate([sines([x], size)[0], sines([y], size)[0]]) for x in range(columns)] for y in range(rows)
        ]
        return np.array(each).reshape(rows * columns, -1)

    def told(
        self, w: Weights, time: Array, labels: Sequence[int], text: Array | None, owner: int
    ) -> tuple[Array, NDArray[np.bool_]]:
        """What a row is told, word by word, and which of the words aren't padding."""
        if labels:
            label = labels[owner if len(labels) > 1 else 0]
            return np.stack([time, w["y_embedder.embedding_table.weight"][label]]), np.ones(2, bool)
        if text is not None:
            states = text[owner if len(text) > 1 else 0]
            seen = np.array([bool(each.any()) for each in states])
            if not self.tokens:
                states = states.sum(0, keepdims=True) / max(seen.sum(), 1)
                seen = np.ones(1, bool)
            words = layer(w, "text_embedding_projection.1", silu(states))
            return np.concatenate([time[None], words]), np.concatenate([[True], seen])
        return time[None], np.ones(1, bool)

    def kind(self, number: int, depth: int) -> str:
        if self.variant == "interleaved":
            return ("spatial", "temporal")[number % 2]
        if self.variant == "sequential":
            return "spatial" if number < depth - depth // 2 else "temporal"
        return self.variant

    def block(
        self, w: Weights, at: str, kind: str, h: Array, cond: Array | None, moments: int, shown: list[Array]
    ) -> Array:
        rows = moments if kind == "temporal" else len(h)
        out = h.copy()
        if cond is None:
            count = 3 if kind == "joint" else 2
            gains = [(w[f"{at}.norms.{k}.bias"], w[f"{at}.norms.{k}.weight"], np.ones(1)) for k in range(count)]
        else:
            numbers = layer(w, f"{at}.adaLN_modulation.1", silu(cond))[:, None]
            parts = np.split(numbers, numbers.shape[-1] // h.shape[-1], -1)
            gains = [(parts[k], 1 + parts[k + 1], parts[k + 2]) for k in range(0, len(parts), 3)]

        def add(number: int, until: int, run: object) -> None:
            shift, scale, gate = (each[:until] if each.ndim > 1 else each for each in gains[number])
            out[:until] += gate * run(norm(out[:until]) * scale + shift)  # type: ignore[operator]

        if kind == "spatial":
            add(0, rows, lambda y: self.over_places(w, f"{at}.attn", y, shown))
        elif kind == "temporal":
            add(0, rows, lambda y: self.over_time(w, f"{at}.attn", y))
        elif kind == "joint":
            add(0, rows, lambda y: self.over_places(w, f"{at}.attn", y, shown))
            add(1, moments, lambda y: self.over_time(w, f"{at}.temp_attn", y))
        else:
            add(0, rows, lambda y: self.over_half_and_half(w, f"{at}.attn", y, moments, shown))
        add(-1, rows, lambda y: layer(w, f"{at}.mlp.fc2", gelu(layer(w, f"{at}.mlp.fc1", y))))
        return out

    def apart(self, w: Weights, at: str, y: Array) -> Array:
        """Queries, keys and values: (3, G, P, heads, size)."""
        qkv = layer(w, f"{at}.qkv", y)
        return np.moveaxis(qkv.reshape(*y.shape[:2], 3, self.heads, -1), 2, 0)

    def over_places(self, w: Weights, at: str, y: Array, shown: list[Array]) -> Array:
        q, k, v = self.apart(w, at, y)
        return layer(w, f"{at}.proj", np.stack([attention(*each) for each in zip(q, k, v, shown, strict=True)]))

    def over_time(self, w: Weights, at: str, y: Array) -> Array:
        q, k, v = self.apart(w, at, y)
        every = np.ones(len(y), bool)
        seen = [attention(self.turned(q[:, p]), self.turned(k[:, p]), v[:, p], every) for p in range(y.shape[1])]
        return layer(w, f"{at}.proj", np.stack(seen, 1))

    def over_half_and_half(self, w: Weights, at: str, y: Array, moments: int, shown: list[Array]) -> Array:
        q, k, v = self.apart(w, at, y)
        half = self.heads // 2
        space = np.stack(
            [attention(*each) for each in zip(q[:, :, :half], k[:, :, :half], v[:, :, :half], shown, strict=True)]
        )
        q, k, v = q[:, :, half:], k[:, :, half:], v[:, :, half:]
        time = v.reshape(*y.shape[:2], -1).copy()  # a picture sees itself alone
        for p in range(y.shape[1]):
            of_place = (self.turned(q[:moments, p]), self.turned(k[:moments, p]), v[:moments, p])
            time[:moments, p] = attention(*of_place, np.ones(moments, bool))
        return layer(w, f"{at}.proj", np.concatenate([space, time], -1))

    def turned(self, x: Array) -> Array:
        """(frames, heads, size), each pair of numbers turned as complex numbers are."""
        if not self.rotary:
            return x
        size = x.shape[-1]
        angles = np.arange(len(x))[:, None, None] * 10_000.0 ** (-np.arange(0, size, 2) / size)
        pairs = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
        return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)

    def pixels(self, h: Array, moments: int) -> Array:
        side, length = self.patch, self.tube
        channels = h.shape[-1] // (side * side * length)
        frames = []
        for row in range(len(h)):
            clip = np.zeros((length, channels, self.height, self.width))
            for place, values in enumerate(h[row]):
                y, x = divmod(place, self.width // side)
                box = values.reshape(length, side, side, channels).transpose(0, 3, 1, 2)
                clip[:, :, y * side : (y + 1) * side, x * side : (x + 1) * side] = box
            frames += list(clip) if row < moments else [clip.mean(0)]
        return np.stack(frames)


def attention(q: Array, k: Array, v: Array, shown: Array) -> Array:
    """(N, heads, size) each; the values (N, heads · size)."""
    scores = np.einsum("ine,jne->nij", q, k) / np.sqrt(q.shape[-1])
    scores[:, :, ~shown] = -np.inf
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return np.einsum("nij,jne->ine", shares, v).reshape(len(q), -1)


def layer(w: Weights, name: str, x: Array) -> Array:
    return np.einsum("...i,oi->...o", x, w[f"{name}.weight"]) + w[f"{name}.bias"]


def norm(x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)


def silu(x: Array | None) -> Array:
    assert x is not None
    return x / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def waves_of(t: float) -> Array:
    angles = t * 10_000.0 ** (-np.arange(128) / 128)
    return np.concatenate([np.cos(angles), np.sin(angles)])


def sines(places: Sequence[int] | Array, size: int) -> Array:
    angles = np.asarray(places, dtype=float)[:, None] * 10_000.0 ** (-2 * np.arange(size // 2) / size)
    return np.concatenate([np.sin(angles), np.cos(angles)], -1)
