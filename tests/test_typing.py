"""What editors complete: the options of calls, named and documented. See also `tests/typing`."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    InferenceClient,
    many_signatures,
    option_signatures,
    request_options,
)
from azinfer.core.bulk import BulkOptions

SIGNATURES = [
    (option_signatures.chat_call, request_options.ChatCall),
    (option_signatures.embedding_call, request_options.EmbeddingCall),
]


@pytest.mark.parametrize(("signature", "options"), SIGNATURES)
def test_editors_complete_every_documented_option(signature: Any, options: type) -> None:
    parameters = inspect.signature(signature).parameters.values()
    named = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    documented = {name: hint.__forward_arg__ for name, hint in options.__annotations__.items()}
    assert {each.name: each.annotation for each in named} == documented
    assert {each.default for each in named} == {None}
    assert [each.name for each in parameters if each.kind is each.VAR_KEYWORD] == ["options"]


@pytest.mark.parametrize(
    ("bulk", "one"),
    [
        (many_signatures.ChatBulkCall[Any](), option_signatures.chat_call),
        (many_signatures.EmbeddingBulkCall[Any](), option_signatures.embedding_call),
    ],
)
def test_bulk_work_takes_the_options_of_one_call(bulk: Any, one: Any) -> None:
    options = list(inspect.signature(one).parameters.values())[2:]
    parameters = inspect.signature(bulk).parameters
    assert [parameters[each.name] for each in options] == options
    own = parameters.keys() - {each.name for each in options} - {"client", "requests", "texts"}
    assert own <= {each.name for each in fields(BulkOptions)}
    assert {each.name for each in fields(BulkOptions)} - own <= {"batch_size"}


@pytest.mark.parametrize("client", [InferenceClient, AsyncInferenceClient])
@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("complete", option_signatures.chat_call),
        ("stream", option_signatures.chat_call),
        ("embed", option_signatures.embedding_call),
        ("complete_many", many_signatures.ChatBulkCall[Any]()),
        ("embed_many", many_signatures.EmbeddingBulkCall[Any]()),
    ],
)
def test_operations_take_what_type_checkers_read(client: type, name: str, signature: Any) -> None:
    promised = inspect.signature(signature).parameters
    operation = inspect.signature(getattr(client, name)).parameters
    first = list(promised)[1]
    assert list(operation)[:2] == ["self", first]
    assert operation["options"].kind is inspect.Parameter.VAR_KEYWORD
    for each in [first, *(set(operation) & set(promised) - {"self", "options"})]:
        assert operation[each].default == promised[each].default
    assert set(operation) - {"self"} <= set(promised)
    assert getattr(client, name).__doc__.startswith("Return ")


@pytest.mark.parametrize("name", ["ChatOptions", "ChatCall", "EmbeddingOptions", "EmbeddingCall"])
def test_every_option_is_documented(name: str) -> None:
    options = getattr(request_options, name)
    base = getattr(request_options, name.replace("Call", "Options"))
    inherited = set() if base is options else set(base.__annotations__)
    documented = re.findall(r"^        (\w+): ", options.__doc__, re.MULTILINE)
    assert documented == [each for each in options.__annotations__ if each not in inherited]
