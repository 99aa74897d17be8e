"""What editors complete: the options of calls, named and documented. See also `tests/typing`."""

from __future__ import annotations

import re
from typing import Any, Unpack, get_overloads, get_type_hints

import pytest

from azinfer.core import AsyncInferenceClient, InferenceClient, request_options

CALLS: dict[str, Any] = {
    "complete": request_options.ChatCall,
    "stream": request_options.ChatCall,
    "embed": request_options.EmbeddingCall,
}


@pytest.mark.parametrize("client", [InferenceClient, AsyncInferenceClient])
@pytest.mark.parametrize("name", CALLS)
def test_editors_see_the_options_first_and_then_any_other(client: type, name: str) -> None:
    first, second = get_overloads(getattr(client, name))
    assert get_type_hints(first)["options"] == Unpack[CALLS[name]]
    assert second.__annotations__["options"] == "Any"
    named = set(second.__annotations__) - {"options", "return", "messages", "input"}
    assert named <= CALLS[name].__annotations__.keys()


@pytest.mark.parametrize("name", ["ChatOptions", "ChatCall", "EmbeddingOptions", "EmbeddingCall"])
def test_every_option_is_documented(name: str) -> None:
    options = getattr(request_options, name)
    base = getattr(request_options, name.replace("Call", "Options"))
    inherited = set() if base is options else set(base.__annotations__)
    documented = re.findall(r"^        (\w+): ", options.__doc__, re.MULTILINE)
    assert documented == [each for each in options.__annotations__ if each not in inherited]
