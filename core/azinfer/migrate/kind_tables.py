"""Kinds of values: their parts, and what methods and functions return."""

from __future__ import annotations

from dataclasses import dataclass, replace

import libcst as cst

# The parts of answers that the rewriter knows, by their attributes and by what is inside.
PARTS: dict[str, dict[str, str]] = {
    "chat": {"choices": "choices", "usage": "usage"},
    "choice": {"message": "message"},
    "message": {"tool_calls": "calls"},
    "chunk": {"choices": "chunk-choices", "usage": "usage"},
    "chunk-choice": {"delta": "delta"},
    "delta": {"tool_calls": "call-chunks"},
    "embeddings": {"data": "items", "usage": "usage"},
    "item": {"embedding": "vector"},
    "response": {"usage": "usage"},
}
INSIDE = {
    "choices": "choice",
    "chunk-choices": "chunk-choice",
    "items": "item",
    "call-chunks": "call-chunk",
    "calls": "call",
    "stream": "chunk",
}
COLLECTIONS = (cst.Dict, cst.DictComp, cst.List, cst.ListComp, cst.Tuple)
# The kinds that methods of clients return.
METHODS: dict[tuple[str, ...], str] = {
    ("chat-client", "complete"): "chat",
    ("chat-client", "get_model_info"): "info",
    ("embed-client", "embed"): "embeddings",
    ("embed-client", "get_model_info"): "info",
    ("image-client", "embed"): "embeddings",
    ("image-client", "get_model_info"): "info",
    ("openai-client", "chat", "completions", "create"): "chat",
    ("openai-client", "chat", "completions", "parse"): "chat",
    ("openai-client", "beta", "chat", "completions", "parse"): "chat",
    ("openai-client", "embeddings", "create"): "embeddings",
    ("openai-client", "responses", "create"): "response",
}
LITELLM = {
    "litellm.completion": "chat",
    "litellm.acompletion": "chat",
    "litellm.embedding": "embeddings",
    "litellm.aembedding": "embeddings",
}
ANNOTATIONS = {
    "ChatCompletion": "chat",
    "ChatCompletionChunk": "chunk",
    "Embeddings": "embeddings",
    "Embedding": "item",
    "Choice": "choice",
    "Message": "message",
    "ChatStream": "stream",
    "AsyncChatStream": "stream",
}

# Settings of models of frameworks that have no equal, or another meaning.
_ADDRESS = ("azure_endpoint", "api_base", "api_key", "azure_deployment", "deployment_name")
SETTINGS = {
    "langchain-model": (
        *(*_ADDRESS, "model_name", "deployment", "default_headers", "request_timeout"),
        *("openai_api_base", "openai_api_key", "openai_api_version", "root_client"),
    ),
    "llama-index-model": (*_ADDRESS, "engine", "model", "model_kwargs", "default_headers"),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of an expression.

    Attributes:
        name: A client (`"openai-client"`), a value (`"chat"`), a `"function"` or an `"object"`.
            `"foreign"` is a client that stays, `"mixed"` one of which some objects may stay.
        path: Attributes below it that the rewriter does not know as parts.
        is_async: Whether a client's methods are awaited.
        defaults: Arguments of the client's constructor that go with each call, as code.
        returns: The kind that a function returns.
        owner: The class of an object, by its node.
    """

    name: str
    path: tuple[str, ...] = ()
    is_async: bool = False
    defaults: tuple[tuple[str, str], ...] = ()
    returns: Kind | None = None
    owner: int = 0


def core_kind(kind: Kind) -> Kind:
    """Return the kind of a function's value, or of anything else itself."""
    return kind.returns if kind.returns is not None else kind


def either(one: Kind | None, other: Kind | None) -> Kind | None:
    """Return the kind of an object that has one kind or another: the first that is known.

    A client that is rewritten or stays, depending on what happens in the program, is mixed.
    """
    if one is None or other is None:
        return one or other
    if one.returns is not None and other.returns is not None:
        return replace(one, returns=either(one.returns, other.returns))
    if one.name != other.name and {one.name, other.name} & {"foreign", "mixed"}:
        return Kind("mixed", one.path)
    return one


def text_key(node: cst.Subscript) -> str | None:
    """Return the key of `x["key"]`; None for any other subscript."""
    [first, *more] = node.slice
    if more or not isinstance(first.slice, cst.Index):
        return None
    value = first.slice.value
    return str(value.evaluated_value) if isinstance(value, cst.SimpleString) else None


def part(name: str | None) -> Kind | None:
    """Return the kind of a part by its name; None without one."""
    return Kind(name) if name else None
