"""Options that the service refuses whatever the model, on each of the wires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.local import LocalDeployment, LocalEndpoint

Json = dict[str, Any]
MESSAGES = [{"role": "user", "content": "hi"}]
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CLAUDE_TOOL: Json = {"name": "f", "input_schema": {"type": "object"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PAIRS = {str(at): "a" for at in range(17)}
# What chats and responses share, and the field that the error names.
SHARED: list[tuple[Json, str]] = [
    ({"metadata": PAIRS}, "metadata"),
    ({"metadata": {"k" * 65: "a"}}, "metadata"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    ({"metadata": {"k": 1}}, "metadata.k"),
    ({"metadata": ["k"]}, "metadata"),
    ({"service_tier": "gold"}, "service_tier"),
    ({"user": 5}, "user"),
    ({"prompt_cache_key": "k" * 65}, "prompt_cache_key"),
    ({"safety_identifier": "s" * 65}, "safety_identifier"),
    ({"prompt_cache_retention": "48h"}, "prompt_cache_retention"),
    ({"store": "yes"}, "store"),
    ({"stream": True, "stream_options": []}, "stream_options"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage"),
]
CHAT: list[tuple[Json, str]] = [
    ({"logit_bias": {"5": 101}}, "logit_bias.5"),
    ({"logit_bias": {"5": -101}}, "logit_bias.5"),
    ({"logit_bias": {"5": "high"}}, "logit_bias.5"),
    ({"logit_bias": {"five": 1}}, "logit_bias"),
    ({"logit_bias": [5]}, "logit_bias"),
    ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ({"verbosity": "loud"}, "verbosity"),
    ({"modalities": ["video"]}, "modalities.0"),
    ({"modalities": "text"}, "modalities"),
    ({"prediction": "text"}, "prediction"),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"tools": [{**TOOL, "type": "other"}]}, "tools.0.type"),
    ({"tools": [{"function": TOOL["function"]}]}, "tools.0.type"),
    ({"tools": ["f"]}, "tools.0.function.name"),
    ({"messages": [{"role": "user", "content": []}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [{"type": "odd"}]}]}, "messages.0.content.0.type"),
    ({"messages": [{"role": "user", "content": "hi", "name": "a b"}]}, "messages.0.name"),
]
RESPONSES: list[tuple[Json, str]] = [
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
    ({"reasoning": "high"}, "reasoning"),
    ({"text": {"verbosity": "loud"}}, "text.verbosity"),
    ({"truncation": "middle"}, "truncation"),
    ({"include": ["all"]}, "include.0"),
    ({"max_tool_calls": 0}, "max_tool_calls"),
    ({"background": "yes"}, "background"),
    (
        {"stream": True, "stream_options": {"include_obfuscation": "no"}},
        "stream_options.include_obfuscation",
    ),
]
CLAUDE: list[tuple[Json, str]] = [
    ({"stream": "yes"}, "stream"),
    ({"top_k": -1}, "top_k"),
    ({"top_k": True}, "top_k"),
    ({"service_tier": "gold"}, "service_tier"),
    ({"metadata": "me"}, "metadata"),
    ({"metadata": {"user_id": 5}}, "metadata.user_id"),
    ({"metadata": {"team": "a"}}, "metadata.team"),
    ({"tools": [CLAUDE_TOOL, CLAUDE_TOOL]}, "tools"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [
        LocalDeployment("gpt-4.1"),
        LocalDeployment("gpt-5"),
        LocalDeployment("claude-sonnet-4-5"),
        LocalDeployment("text-embedding-3-small"),
        LocalDeployment("mistral-large"),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


def post(endpoint: LocalEndpoint, path: str, body: Json) -> httpx.Response:
    headers = {"api-key": endpoint.key, "anthropic-version": "2023-06-01"}
    return httpx.post(endpoint.url + path, json=body, headers=headers)


def chat(endpoint: LocalEndpoint, changes: Json, model: str = "gpt-4.1") -> httpx.Response:
    body = {"model": model, "messages": MESSAGES, **changes}
    return post(endpoint, "/openai/v1/chat/completions", body)


@pytest.mark.parametrize(("changes", "field"), [*SHARED, *CHAT])
def test_a_chat_option_that_cannot_be_is_refused(
    endpoint: LocalEndpoint, changes: Json, field: str
) -> None:
    answer = chat(endpoint, changes)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field


@pytest.mark.parametrize(("changes", "field"), [*SHARED, *RESPONSES])
def test_an_option_of_responses_that_cannot_be_is_refused(
    endpoint: LocalEndpoint, changes: Json, field: str
) -> None:
    answer = post(endpoint, "/openai/v1/responses", {"model": "gpt-5", "input": "hi", **changes})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field


@pytest.mark.parametrize(("changes", "field"), CLAUDE)
def test_an_option_of_messages_that_cannot_be_is_refused(
    endpoint: LocalEndpoint, changes: Json, field: str
) -> None:
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": MESSAGES, **changes}
    answer = post(endpoint, "/anthropic/v1/messages", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].partition(" ")[0].rstrip(":") == field


@pytest.mark.parametrize("texts", ["", [""], ["a", ""]])
def test_an_empty_text_has_no_embedding(endpoint: LocalEndpoint, texts: Any) -> None:
    body = {"model": "text-embedding-3-small", "input": texts}
    answer = post(endpoint, "/openai/v1/embeddings", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prompt_cache_key": "k" * 65}, "string_above_max_length"),
        ({"metadata": PAIRS}, "object_above_max_properties"),
        ({"logit_bias": {"5": 101}}, "decimal_above_max_value"),
        ({"logit_bias": {"5": -101}}, "decimal_below_min_value"),
        ({"stream": True, "stream_options": {"usage": True}}, "unknown_parameter"),
        ({"tools": [{"function": TOOL["function"]}]}, "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": []}]}, "empty_array"),
        ({"user": 5}, "invalid_type"),
        ({"verbosity": "loud"}, "invalid_value"),
    ],
)
def test_the_code_says_what_is_wrong(endpoint: LocalEndpoint, changes: Json, code: str) -> None:
    assert chat(endpoint, changes).json()["error"]["code"] == code


def test_options_within_the_limits_are_accepted(endpoint: LocalEndpoint) -> None:
    shared = {
        "metadata": {**{str(at): "v" * 512 for at in range(15)}, "k" * 64: "v"},
        "service_tier": "priority",
        "user": "somebody",
        "prompt_cache_key": "k" * 64,
        "safety_identifier": "s" * 64,
        "prompt_cache_retention": "24h",
        "store": False,
    }
    parts = [{"type": "text", "text": "hi"}, IMAGE]
    own = {
        "logit_bias": {"5": 100, "6": -100},
        "modalities": ["text"],
        "prediction": {"type": "content", "content": "hi"},
        "tools": [TOOL],
        "messages": [{"role": "user", "content": parts, "name": "Ann-1"}],
        "stream_options": None,
    }
    assert chat(endpoint, {**shared, **own}).status_code == 200
    effort = {"reasoning_effort": "high", "verbosity": "low"}
    assert chat(endpoint, effort, "gpt-5").status_code == 200
    more = {
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "high"},
        "truncation": "auto",
        "include": ["reasoning.encrypted_content"],
        "max_tool_calls": 1,
    }
    body = {"model": "gpt-5", "input": "hi", **shared, **more}
    assert post(endpoint, "/openai/v1/responses", body).status_code == 200
    body = {"top_k": 5, "metadata": {"user_id": "me"}, "service_tier": "standard_only"}
    body |= {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": MESSAGES}
    assert post(endpoint, "/anthropic/v1/messages", body).status_code == 200


def test_models_of_other_makers_have_options_of_their_own(endpoint: LocalEndpoint) -> None:
    message = {"role": "user", "content": [{"type": "document_url", "document_url": "data:,a"}]}
    body = {"model": "mistral-large", "messages": [message], "metadata": {"k": 1}}
    answer = post(endpoint, "/models/chat/completions?api-version=2024-05-01-preview", body)
    assert answer.status_code == 200
