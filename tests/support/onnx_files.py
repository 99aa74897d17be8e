"""ONNX files written by hand, in the encoding of Protocol Buffers that `onnx.proto` defines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Shape = Sequence[int | str]
_FLOAT, _INT64, _FLOAT16 = 1, 7, 10
_KINDS = {np.dtype("f4"): _FLOAT, np.dtype("i8"): _INT64, np.dtype("f2"): _FLOAT16}


def model(
    nodes: Sequence[bytes],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    tensors: Mapping[str, np.ndarray],
    kinds: Mapping[str, int] | None = None,
) -> bytes:
    """A model.

    Args:
        nodes: What `node` made, in the order in which they are computed.
        inputs: The shape of each input; a side with a name is open.
        outputs: The same of each output.
        tensors: The weights.
        kinds: The types of inputs and outputs that are not float.
    """
    kinds = kinds or {}
    graph = b"".join(_field(1, each) for each in nodes) + _text(2, "tiny")
    graph += b"".join(_field(5, _tensor(name, each)) for name, each in tensors.items())
    for number, values in ((11, inputs), (12, outputs)):
        for name, shape in values.items():
            graph += _field(number, _value(name, shape, kinds.get(name, _FLOAT)))
    return _number(1, 8) + _field(7, graph) + _field(8, _text(1, "") + _number(2, 13))


def node(kind: str, inputs: Sequence[str], output: str, **attributes: int | Sequence[int]) -> bytes:
    """An operator and its attributes."""
    content = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            content += _field(5, _text(1, name) + _number(3, value) + _number(20, 2))
        else:
            numbers = b"".join(_number(8, each) for each in value)
            content += _field(5, _text(1, name) + numbers + _number(20, 7))
    return content


def _tensor(name: str, values: Any) -> bytes:
    sides = b"".join(_number(1, side) for side in values.shape)
    return sides + _number(2, _KINDS[values.dtype]) + _text(8, name) + _field(9, values.tobytes())


def _value(name: str, shape: Shape, kind: int) -> bytes:
    sides = (_text(2, side) if isinstance(side, str) else _number(1, side) for side in shape)
    content = b"".join(_field(1, side) for side in sides)
    return _text(1, name) + _field(2, _field(1, _number(1, kind) + _field(2, content)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
