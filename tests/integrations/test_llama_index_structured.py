"""Structured output of LlamaIndex, on each of the three main surfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate

from azinfer.local import LocalEndpoint
from llama_index_calls import Person, call_method, on_chat

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("own_loop")


@on_chat
def test_a_value_is_predicted(llm: Make, llama_endpoint: LocalEndpoint, kind: str) -> None:
    prompt = PromptTemplate("'{name}' is 34 years old.")
    response = call_method(llm(), kind, "structured_predict", Person, prompt, name="Ann")
    assert response == Person(name="Ann", age=34)
    body = llama_endpoint.requests[-1].body
    assert body["response_format"]["type"] == "json_schema"
    assert len(body["messages"][0]["content"]) < 50  # no schema in words
    streamed = call_method(llm(), kind, "stream_structured_predict", Person, prompt, name="Ann")
    assert streamed[-1] == response
    assert len(streamed) > 2


def test_a_structured_model_chats(llm: Make, kind: str) -> None:
    model = llm().as_structured_llm(Person)
    response = call_method(model, kind, "chat", [ChatMessage("'Ann' is 34 years old.")])
    assert response.raw == Person(name="Ann", age=34)
    assert call_method(model, kind, "complete", "'Bob' is 35.").raw == Person(name="Bob", age=35)


def test_a_response_format_passes_through_chat(llm: Make, kind: str) -> None:
    wanted = {
        "type": "json_schema",
        "json_schema": {"name": "person", "schema": Person.model_json_schema()},
    }
    response = call_method(
        llm(), kind, "chat", [ChatMessage("'Ann' is 34.")], response_format=wanted
    )
    assert Person.model_validate_json(response.message.content) == Person(name="Ann", age=34)
