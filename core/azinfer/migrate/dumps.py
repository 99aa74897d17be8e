"""Answers as dictionaries and as text: `model_dump()` and the methods that do the same."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.context import Context
from azinfer.migrate.kind_tables import Kind
from azinfer.migrate.program import dotted_name

_DICTIONARIES = (("model_dump",), ("to_dict",), ("as_dict",))
_METHODS = (
    *("model_dump", "to_dict", "model_dump_json", "to_json", "as_dict", "json", "dict"),
    *("model_copy", "copy", "model_fields_set"),
)
# The kinds that keep what the service sent, in their attribute `raw`.
_WITH_RAW = ("chat", "embeddings", "message", "usage")
_KINDS = (*_WITH_RAW, "choice", "call", "chunk", "chunk-choice", "delta", "item", "response")


def dump_answer(
    context: Context, original: cst.Call, updated: cst.Call
) -> cst.BaseExpression | None:
    """Return `dict(answer.raw)` for `answer.model_dump()`; report what has no equal."""
    kind = context.kinds.of(original.func)
    if (
        kind is None
        or not kind.path
        or not is_dump(kind)
        or not isinstance(updated.func, cst.Attribute)
    ):
        return None
    answer = updated.func.value
    if kind.path in _DICTIONARIES and not original.args:
        if kind.name in _WITH_RAW:
            return _copy_unless_read(context, original, cst.Attribute(answer, cst.Name("raw")))
        if kind.name == "call":
            return updated.with_changes(func=cst.Attribute(answer, cst.Name("to_wire")))
    _report(context, original, kind)
    return None


def _copy_unless_read(
    context: Context, original: cst.Call, raw: cst.Attribute
) -> cst.BaseExpression:
    """Return what is only read as it is, else a copy: the program may change a dump of its own."""
    parent = context.program.parent(original)
    if isinstance(parent, cst.Subscript) and parent.value is original:
        return raw
    call = context.program.parent(parent) if isinstance(parent, cst.Arg) else None
    if isinstance(call, cst.Call) and dotted_name(call.func) in ("print", "json.dumps", "repr"):
        return raw
    return cst.Call(cst.Name("dict"), [cst.Arg(raw)])


def report_reference(context: Context, node: cst.Attribute, kind: Kind) -> None:
    """Report a method of an answer that is passed on and not called, as in `map(…)`."""
    parent = context.program.parent(node)
    if is_dump(kind) and not (isinstance(parent, cst.Call) and parent.func is node):
        _report(context, node, kind)


def is_dump(kind: Kind) -> bool:
    """Return whether an attribute of an answer is a method that returns all of its fields."""
    path = kind.path[1:] if kind.name == "call" and kind.path[:1] == ("function",) else kind.path
    return kind.name in _KINDS and len(path) == 1 and path[0] in _METHODS


def _report(context: Context, node: cst.CSTNode, kind: Kind) -> None:
    raw = "see answer.raw" if kind.name not in _WITH_RAW else "use .raw, the JSON of the service"
    context.report(node, f".{kind.path[-1]} of an answer has no equal; {raw}")
