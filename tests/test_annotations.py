"""Annotations of public names, which frameworks evaluate: pydantic, FastAPI, typer, LangChain."""

from __future__ import annotations

import functools
import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from azinfer.core import InferenceClient, lazy

PACKAGES = [
    *("ag2", "agent_framework", "core", "core.bulk", "langchain", "llama_index", "migrate"),
    *("otel", "redis", "semantic_kernel", "testing"),
]
# Methods of Python's own protocols that programs call by syntax.
PROTOCOLS = {"__call__", "__enter__", "__init__", "__iter__", "__next__"}
PROTOCOLS |= {"__aenter__", "__aiter__", "__anext__", "__getitem__"}


def functions_of(value: Any) -> Iterator[Any]:
    """Yield the functions of azinfer behind an attribute of a class or a module."""
    parts = [value]
    if isinstance(value, property):
        parts = [value.fget, value.fset]
    elif isinstance(value, functools.cached_property):
        parts = [value.func]
    elif isinstance(value, (classmethod, staticmethod)):
        parts = [value.__func__]
    for part in parts:
        if inspect.isfunction(part) and part.__module__.startswith("azinfer."):
            yield part


def annotated(value: Any) -> Iterator[Any]:
    """Yield what has annotations in a public value: functions, and classes with their methods."""
    yield from functions_of(value)
    if not inspect.isclass(value):
        return
    for owner in value.__mro__:
        if owner.__module__.startswith("azinfer."):
            yield owner
            for name, member in vars(owner).items():
                if not name.startswith("_") or name in PROTOCOLS:
                    yield from functions_of(member)


def classes_in(hint: Any) -> Iterator[type]:
    """Yield the classes of azinfer in a type."""
    origin = typing.get_origin(hint) or hint
    if inspect.isclass(origin) and origin.__module__.startswith("azinfer."):
        yield origin
    for part in typing.get_args(hint):
        yield from classes_in(part)


def hints_of(value: Any) -> dict[str, Any]:
    if inspect.isfunction(value):
        return typing.get_type_hints(value)
    # Bases from frameworks may have annotations that nobody can evaluate.
    space = vars(sys.modules[value.__module__])
    own = inspect.get_annotations(value)
    holder = type(value.__name__, (), {"__annotations__": own, "__module__": value.__module__})
    return typing.get_type_hints(holder, space)


@pytest.mark.parametrize("package", PACKAGES)
def test_annotations_of_public_names_can_be_evaluated(package: str) -> None:
    module = importlib.import_module(f"azinfer.{package}")
    left = [getattr(module, name) for name in module.__all__]
    seen: set[Any] = set()
    while left:
        value = left.pop()
        if not isinstance(value, typing.Hashable) or value in seen:
            continue
        seen.add(value)
        for part in annotated(value):
            for hint in hints_of(part).values():
                left.extend(classes_in(hint))
    assert len(seen) > 1


def test_annotations_of_the_client_are_its_types() -> None:
    import azinfer.core.files
    from azinfer.core import ChatStream, Embeddings, Message
    from azinfer.core.citations import Citation

    assert typing.get_type_hints(InferenceClient.stream)["return"] is ChatStream
    assert inspect.signature(InferenceClient.embed, eval_str=True).return_annotation is Embeddings
    assert typing.get_type_hints(typing.cast(property, InferenceClient.files).fget) == {
        "return": azinfer.core.files.Files
    }
    citations = typing.cast(property, Message.citations).fget
    assert typing.get_type_hints(citations)["return"] == tuple[Citation, ...]


def test_a_name_that_is_not_lazy_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Embedings'"):
        lazy.Embedings  # type: ignore[attr-defined]  # noqa: B018


def test_annotations_load_nothing_before_they_are_evaluated() -> None:
    modules = ("batches", "bulk", "citations", "embeddings", "files", "rerank", "streams")
    code = f"""
import sys
from azinfer.core import InferenceClient
print([name for name in {modules} if "azinfer.core." + name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
