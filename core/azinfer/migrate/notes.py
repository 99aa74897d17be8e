"""Places where a rewritten program runs but may print something else than before."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.context import Context
from azinfer.migrate.rules import CLASSES, ROOTS

_SHOWING = ("print", "str", "repr", "pprint", "pprint.pprint", "pp", "format", "ascii")
_ANSWERS = {
    "chat": "an answer",
    "choice": "a choice",
    "choices": "choices",
    "message": "a message",
    "usage": "token counts",
    "calls": "tool calls",
    "call": "a tool call",
    "chunk": "a chunk",
    "delta": "a delta",
    "embeddings": "embeddings",
    "item": "an embedding",
    "response": "an answer",
}
_ENUMERATIONS = {("choice", "finish_reason"), ("message", "role")}
# Attributes of adapters whose values differ: the module of the adapter, and what differs.
_ATTRIBUTES = {
    "class_name": ("azinfer.llama_index", "the class has another name"),
    "inner_content": ("azinfer.semantic_kernel", "inner_content is azinfer's own answer"),
    "response_metadata": ("azinfer.langchain", "some keys and values of response_metadata differ"),
}


def add_notes(context: Context, names: dict[cst.CSTNode, list[str]]) -> None:
    """Add a note for each place that may print something else.

    Args:
        context: The migration.
        names: Each use of an old name, and its possible origins.
    """
    origins = {
        origin for node, each in names.items() if id(node) in context.handled for origin in each
    }
    modules = {CLASSES[origin].module for origin in origins if origin in CLASSES}
    has_enumerations = any(origin.startswith(ROOTS[0]) for origin in origins)
    if origins:
        context.program.module.visit(_Notes(context, modules, has_enumerations))


class _Notes(cst.CSTVisitor):
    def __init__(self, context: Context, modules: set[str], has_enumerations: bool) -> None:
        self._context = context
        self._modules = modules
        self._has_enumerations = has_enumerations

    def visit_Call(self, node: cst.Call) -> None:
        if self._context.program.code(node.func) in _SHOWING:
            for arg in node.args:
                self._look_at(arg.value)

    def visit_FormattedStringExpression(self, node: cst.FormattedStringExpression) -> None:
        self._look_at(node.expression)

    def visit_Attribute(self, node: cst.Attribute) -> None:
        module, text = _ATTRIBUTES.get(node.attr.value, ("", ""))
        if module in self._modules:
            self._context.note(node, text)

    def _look_at(self, value: cst.BaseExpression) -> None:
        kind = self._context.kinds.of(value)
        if kind is None:
            return
        if not kind.path and kind.name in _ANSWERS:
            text = f"the text of {_ANSWERS[kind.name]} differs: azinfer has classes of its own"
            self._context.note(value, text)
        elif self._has_enumerations and (kind.name, *kind.path) in _ENUMERATIONS:
            text = f"{kind.path[0]} is a plain text now: it prints its value, not its name"
            self._context.note(value, text)
