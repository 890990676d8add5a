"""Small networks as files of ONNX, written byte by byte: the format is protocol buffers, and no package is needed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FLOAT, INT64 = 1, 7
"""Kinds of numbers, as ONNX counts them."""


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    data = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | 2) + _number(len(data)) + data


def constant(name: str, values: NDArray[np.generic]) -> bytes:
    kind, raw = (INT64, values.astype("<i8")) if values.dtype.kind == "i" else (FLOAT, values.astype("<f4"))
    dims = b"".join(_field(1, side) for side in values.shape)
    return dims + _field(2, kind) + _field(8, name) + _field(9, raw.tobytes())


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | list[int]) -> bytes:
    body = b"".join(_field(1, each) for each in inputs) + _field(2, output) + _field(3, output) + _field(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            body += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
        else:
            body += _field(5, _field(1, name) + b"".join(_field(8, each) for each in value) + _field(20, 7))
    return body


def _value(name: str, shape: Sequence[int]) -> bytes:
    sides = b"".join(_field(1, _field(1, side)) for side in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, sides)))


def save(
    path: Path,
    nodes: Sequence[bytes],
    constants: Sequence[bytes],
    inputs: dict[str, Sequence[int]],
    outputs: dict[str, Sequence[int]],
) -> None:
    graph = b"".join(_field(1, each) for each in nodes) + _field(2, "graph")
    graph += b"".join(_field(5, each) for each in constants)
    graph += b"".join(_field(11, _value(*each)) for each in inputs.items())
    graph += b"".join(_field(12, _value(*each)) for each in outputs.items())
    path.write_bytes(_field(1, 7) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 11)))


def detector(path: Path, answers: NDArray[np.float32]) -> None:
    """A detector in YOLOX's form that says `answers` (8400, 85) whatever it sees."""
    nodes = [
        node("ReduceMean", ["images"], "mean", axes=[1, 2, 3], keepdims=0),
        node("Mul", ["mean", "nothing"], "none"),
        node("Add", ["none", "answers"], "output"),
    ]
    constants = [constant("nothing", np.zeros(1, np.float32)), constant("answers", answers[None])]
    save(path, nodes, constants, {"images": (1, 3, 640, 640)}, {"output": (1, *answers.shape)})


def brightest_point(path: Path, sure: NDArray[np.float32]) -> None:
    """A pose network in RTMPose's form: it sees all 133 points where the crop is brightest, each as `sure` as given."""
    nodes, outputs = [node("ReduceMean", ["input"], "grey", axes=[1], keepdims=0)], {}
    for name, axis, side in (("simcc_x", 1, 288), ("simcc_y", 2, 384)):
        nodes += [
            node("ReduceMax", ["grey"], f"{name}_line", axes=[axis], keepdims=0),
            node("Reshape", [f"{name}_line", f"{name}_column"], f"{name}_high"),
            node("Concat", [f"{name}_high", f"{name}_high"], f"{name}_twice", axis=2),
            node("Reshape", [f"{name}_twice", f"{name}_row"], f"{name}_fine"),
            node("Mul", [f"{name}_fine", "sure"], name),
        ]
        outputs[name] = (1, 133, 2 * side)
    shapes = [
        constant(f"{name}_{kind}", np.array(shape, np.int64))
        for name, side in (("simcc_x", 288), ("simcc_y", 384))
        for kind, shape in (("column", (1, side, 1)), ("row", (1, 1, 2 * side)))
    ]
    weights = constant("sure", sure.reshape(1, 133, 1).astype(np.float32))
    save(path, nodes, [*shapes, weights], {"input": (1, 3, 384, 288)}, outputs)
