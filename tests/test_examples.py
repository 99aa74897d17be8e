"""Every public name that a user calls has an example; `test_readme.py` runs them as doctests."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

# What calls return, and what they report; the example of the call shows it.
RETURNED = {
    *("AsyncChatStream", "Attempt", "Candidate", "ChatCompletion", "ChatCompletionChunk"),
    *("ChatStream", "Choice", "ChunkChoice", "Citation", "Decision", "Delta", "Deployment"),
    *("Detail", "Embedding", "Embeddings", "Function", "LogEntry", "Message", "Migration"),
    *("ModelFacts", "ModelInfo", "Problem", "Profile", "Routing", "Surface", "ToolCall"),
    *("RateLimit", "ToolCallChunk", "Usage"),
}
# What adapters call, and the types of options and of engines' methods.
FOR_ADAPTERS = {
    *("ChatOptions", "EmbeddingOptions", "HiddenEnvironment", "adapter_client"),
    *("check_option_names", "details_of", "hidden", "is_secret_name", "media_part"),
    *("missing_extra", "pickleable_credential", "ready_client", "without_secrets"),
    *("AzInferClient", "EmbeddingEngine", "EngineCapabilities", "ImageEngine", "Piece", "Prompt"),
}
NO_DOCTEST = {"AzInferModelClient"}  # its example is an entry of a list of configurations
PACKAGES = [
    *("azinfer.core", "azinfer.local", "azinfer.migrate", "azinfer.otel"),
    *("azinfer.ag2", "azinfer.agent_framework", "azinfer.langchain", "azinfer.llama_index"),
    "azinfer.semantic_kernel",
]


def has_example(value: Any) -> bool:
    """Return whether the docstring of a name, or of a method of its own, has an example."""
    methods = vars(value).values() if inspect.isclass(value) else ()
    own = (getattr(each, "__func__", each) for each in methods)
    texts = [inspect.getdoc(value), *(each.__doc__ for each in own if inspect.isfunction(each))]
    return any("Example:" in (text or "") for text in texts)


def is_called(value: Any) -> bool:
    """Return whether a public name is a function, or a class that is not an error."""
    if inspect.isclass(value):
        return not issubclass(value, BaseException)
    return inspect.isfunction(value)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_that_a_user_calls_has_an_example(name: str) -> None:
    package = importlib.import_module(name)
    public = {each: getattr(package, each) for each in package.__all__}
    left_out = RETURNED | FOR_ADAPTERS | NO_DOCTEST
    missing = {each for each, value in public.items() if is_called(value)} - left_out
    assert [each for each in sorted(missing) if not has_example(public[each])] == []


def test_every_exception_of_this_test_is_a_public_name() -> None:
    public = {each for name in PACKAGES for each in importlib.import_module(name).__all__}
    assert public >= RETURNED | FOR_ADAPTERS | NO_DOCTEST
