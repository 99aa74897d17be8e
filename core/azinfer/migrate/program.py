"""A parsed program: where its names come from, and on which line each node is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import libcst as cst
from libcst import metadata

# Where packages define or re-export the classes that the rules name by their shortest path.
_ALIASES = {
    "azure.ai.inference._patch.": "azure.ai.inference.",
    "azure.ai.inference.models._models.": "azure.ai.inference.models.",
    "azure.ai.inference.models._patch.": "azure.ai.inference.models.",
    "langchain_azure_ai.chat_models.inference.": "langchain_azure_ai.chat_models.",
    "langchain_azure_ai.chat_models.openai.": "langchain_azure_ai.chat_models.",
    "langchain_azure_ai.embeddings.inference.": "langchain_azure_ai.embeddings.",
    "langchain_azure_ai.embeddings.openai.": "langchain_azure_ai.embeddings.",
    "langchain_openai.chat_models.azure.": "langchain_openai.",
    "langchain_openai.chat_models.": "langchain_openai.",
    "langchain_openai.embeddings.azure.": "langchain_openai.",
    "langchain_openai.embeddings.": "langchain_openai.",
    "llama_index.llms.azure_inference.base.": "llama_index.llms.azure_inference.",
    "llama_index.llms.azure_openai.base.": "llama_index.llms.azure_openai.",
    "llama_index.embeddings.azure_inference.base.": "llama_index.embeddings.azure_inference.",
    "llama_index.embeddings.azure_openai.base.": "llama_index.embeddings.azure_openai.",
    "openai.lib.azure.": "openai.",
    "openai._exceptions.": "openai.",
}


class Program:
    """A program with the facts that libcst knows about it.

    Args:
        text: The program.

    Raises:
        libcst.ParserSyntaxError: It is not valid Python.
    """

    def __init__(self, text: str) -> None:
        self.wrapper = metadata.MetadataWrapper(cst.parse_module(text))
        self.module = self.wrapper.module
        self._names = self.wrapper.resolve(metadata.QualifiedNameProvider)
        self._places = self.wrapper.resolve(metadata.PositionProvider)
        self._parents = self.wrapper.resolve(metadata.ParentNodeProvider)
        self._scopes = self.wrapper.resolve(metadata.ScopeProvider)

    def origins(self, node: cst.CSTNode) -> list[str]:
        """Return the dotted names that an expression may have been imported from."""
        if not dotted_name(node):  # libcst also names the called object, as in `Client(…).close`
            return []
        names: Any = self._names.get(node, ())
        if callable(names):
            names = names()
        source = metadata.QualifiedNameSource.IMPORT
        return sorted(short_name(each.name) for each in names if each.source is source)

    def origin(self, node: cst.CSTNode, known: Iterable[str]) -> str:
        """Return which of the known dotted names an expression is; empty if it is another."""
        return next((each for each in self.origins(node) if each in known), "")

    def line(self, node: cst.CSTNode) -> int:
        """Return the line of a node, from 1."""
        return int(self._places[node].start.line)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """Return the node around a node; None for the module."""
        return self._parents.get(node)

    def scope(self, node: cst.CSTNode) -> metadata.Scope | None:
        """Return the scope of a node."""
        return self._scopes.get(node)

    def function_of(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """Return the function or class around a node; None at the top of the module."""
        above = self.parent(node)
        while above is not None and not isinstance(above, cst.FunctionDef | cst.ClassDef):
            above = self.parent(above)
        return above

    def code(self, node: cst.CSTNode) -> str:
        """Return the source of a node."""
        return self.module.code_for_node(node)


def short_name(name: str) -> str:
    """Return a dotted name by the shortest path that its package documents."""
    for long, short in _ALIASES.items():
        if name.startswith(long):
            return short + name.removeprefix(long)
    return name


def dotted_name(node: cst.CSTNode) -> str:
    """Return `a.b.c` of a name or an attribute; empty for anything else."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute) and (before := dotted_name(node.value)):
        return f"{before}.{node.attr.value}"
    return ""
