"""Graphs in ONNX files: makes an inner tensor an output, without a library for the format.

Source: `onnx.proto` and the encoding of Protocol Buffers, in which what is appended to a message
is merged into it.
"""

from __future__ import annotations

from pathlib import Path

# ModelProto.graph, GraphProto.output and ValueInfoProto.name.
_GRAPH, _OUTPUT, _NAME = 7, 12, 1
_LENGTH_DELIMITED = 2


def add_output(path: Path, tensor: str) -> None:
    """Add an output to the graph in an ONNX file.

    Args:
        path: The file, which is appended to.
        tensor: The name of the tensor that becomes an output; its shape is inferred.
    """
    output = _field(_OUTPUT, _field(_NAME, tensor.encode()))
    with path.open("ab") as file:
        file.write(_field(_GRAPH, output))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _LENGTH_DELIMITED]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    lower, rest = number & 0x7F, number >> 7
    return bytes([lower | 0x80]) + _varint(rest) if rest else bytes([lower])
