"""Mocks of old clients in tests: they are listed, because a mock accepts every name."""

from __future__ import annotations

import libcst as cst

from azinfer.migrate.context import Context
from azinfer.migrate.program import dotted_name, short_name
from azinfer.migrate.rules import CLASSES

_METHODS = {
    ".chat.completions.create": "complete",
    ".chat.completions.parse": "complete",
    ".embeddings.create": "embed",
    ".responses.create": "complete",
}
_PATCHES = ("patch", "setattr")
# Classes whose name alone does not say that they call Azure.
_PLAIN = ("openai.OpenAI", "openai.AsyncOpenAI")
_NAMES = {origin.rpartition(".")[2] for origin in CLASSES if origin not in _PLAIN}
_MODULES = ("openai.resources.", "azure.ai.inference.", "langchain_azure_ai.")


def report_mocks(context: Context) -> None:
    """Report mocked methods and patched names that a rewritten program does not use."""
    context.program.module.visit(_Mocks(context))


class _Mocks(cst.CSTVisitor):
    def __init__(self, context: Context) -> None:
        self._context = context

    def visit_Attribute(self, node: cst.Attribute) -> None:
        """Look for `fake.chat.completions.create.return_value`."""
        parent = self._context.program.parent(node)
        if isinstance(parent, cst.Call) and parent.func is node:
            return
        name = dotted_name(node)
        for method, new in _METHODS.items():
            if name.endswith(method) and self._context.kinds.of(node) is None:
                text = f"{method[1:]} stays: if its client is azinfer's now, mock {new}"
                self._context.report(node, text)

    def visit_Call(self, node: cst.Call) -> None:
        """Look for `patch("bot.AzureOpenAI")` and `monkeypatch.setattr("bot.AzureOpenAI", …)`."""
        if not node.args or dotted_name(node.func).rpartition(".")[2] not in _PATCHES:
            return
        target = node.args[0].value
        if not isinstance(target, cst.SimpleString):
            return
        name = short_name(str(target.evaluated_value))
        if name.rpartition(".")[2] in _NAMES or name.startswith(_MODULES):
            self._context.report(target, f"{name} is an old name: patch what replaces it")
