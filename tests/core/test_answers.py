"""Answers are typed values: choices, tool calls, reasoning, usage and parsed output."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from azinfer.core import (
    AssistantMessage,
    ConfigurationError,
    ContentFilterError,
    Function,
    InvalidResponseError,
    Message,
    ToolCall,
    Usage,
    UserMessage,
)
from azinfer.core.completions import ChatCompletion
from azinfer.core.decoding import decode_completion, decode_model_info
from client_driver import ClientDriver
from raw_server import RawServer, chat, events, failure, part, reply, stream

Ask = Callable[..., ClientDriver]


def read(raw: Any, headers: dict[str, str] | None = None) -> ChatCompletion:
    return decode_completion(raw, headers or {})


def decode_message(**message: Any) -> Message:
    return read(chat(message=message)).choices[0].message


def test_an_answer_has_text_usage_and_finish_reason(ask: Ask, server: RawServer) -> None:
    headers = {"x-ms-region": "West Europe", "x-ms-deployment-name": "GPT", "x-request-id": "r1"}
    headers |= {"x-ms-served-model": "gpt-4.1-2025", "x-ms-is-spilled-over": "True"}
    headers |= {"X-RateLimit-Remaining-Tokens": "900"}
    server.will(reply(chat("hello", service_tier="default"), headers=headers))
    answer = ask().complete()
    assert answer.text == answer.choices[0].message.content == "hello"
    assert (answer.id, answer.model, answer.created) == ("c1", "m", 1)
    assert answer.finish_reason == answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage == Usage(3, 2, 5)
    assert answer.raw["service_tier"] == "default"
    assert answer.reasoning is answer.parsed is None
    assert answer.tool_calls == ()
    routing = answer.routing
    assert routing is not None
    assert (routing.requested, routing.deployment) == ("gpt-4.1", "GPT")
    assert (routing.surface, routing.operation) == ("v1", "chat/completions")
    assert routing.endpoint == f"{server.url}/openai/v1"
    assert routing.url == f"{server.url}/openai/v1/chat/completions"
    assert (routing.region, routing.spilled_over) == ("West Europe", True)
    assert routing.headers["x-ratelimit-remaining-tokens"] == "900"
    assert "900" not in repr(routing)
    assert (routing.served_model, routing.model_id) == ("gpt-4.1-2025", "gpt-4.1")
    assert [(each.status, each.error, each.request_id) for each in routing.attempts] == [
        (200, None, "r1")
    ]


def test_all_choices_are_returned() -> None:
    choices = [{"index": at, "message": {"content": str(at)}} for at in (1, 0)]
    assert [choice.message.content for choice in read({"choices": choices}).choices] == ["1", "0"]
    assert [choice.index for choice in read({"choices": choices}).choices] == [1, 0]
    assert read({"choices": [{"message": {"content": "a"}}]}).choices[0].index == 0


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": "4", "reasoning_content": "2+2"}, "4", "2+2"),
        ({"content": "4", "reasoning": "2+2"}, "4", "2+2"),
        ({"content": "<think>2+2</think>4"}, "4", "2+2"),
        ({"content": "\n<think>\n2+2\n</think>\n\n4"}, "4", "2+2"),
        ({"content": "2+2\n</think>\n4"}, "4", "2+2"),
        ({"content": "<think>2+2"}, "", "2+2"),
        ({"content": "say <think>x</think>"}, "say <think>x</think>", None),
        ({"content": None}, None, None),
        ({"content": ""}, "", None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "2+2"}]},
                    {"type": "text", "text": "4"},
                ]
            },
            "4",
            "2+2",
        ),
        ({"content": [{"thinking": "2+2"}, {"type": "x"}, {"text": "4"}]}, "4", "2+2"),
    ],
)
def test_reasoning_is_one_field_for_every_model(
    message: dict[str, Any], content: str | None, reasoning: str | None
) -> None:
    result = decode_message(**message)
    assert (result.content, result.reasoning) == (content, reasoning)


def test_tool_calls_are_typed_for_every_model() -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"index": 1, "function": {"name": "g", "arguments": {"x": 1}, "call_id": None}},
        {"id": "a", "function": {"name": "h", "arguments": None}},
    ]
    result = read(chat(None, message={"tool_calls": calls}))
    assert result.finish_reason == "tool_calls"
    assert [
        (call.id, call.function.name, call.function.arguments) for call in result.tool_calls
    ] == [
        ("a", "f", '{"x":1}'),
        ("call_01", "g", '{"x":1}'),
        ("a", "h", "{}"),
    ]


def test_generated_ids_differ_between_answers(ask: Ask, server: RawServer) -> None:
    calls = [{"function": {"name": "f"}}, {"function": {"name": "f"}}]
    server.will(reply(chat(None, message={"tool_calls": calls})))
    driver = ask()
    ids = [call.id for _ in range(2) for call in driver.complete().tool_calls]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "no choices"),
        ([], "no choices"),
        ("hello", "no choices"),
        ({}, "no choices"),
        ({"choices": []}, "no choices"),
        ({"choices": ["x"]}, "a choice that is not an object"),
        ({"choices": [{}]}, "a choice without a message"),
        ({"choices": [{"message": {}}]}, "a choice without a message"),
        ({"choices": [{"message": {"content": 4}}]}, "neither text nor parts"),
        ({"choices": [{"message": {"content": ["x"]}}]}, "a content part that is not an object"),
        ({"choices": [{"message": {"content": "a"}, "finish_reason": 1}]}, "not text"),
        ({"choices": [{"message": {"tool_calls": {}}}]}, "tool_calls that is not a list"),
        ({"choices": [{"message": {"tool_calls": [1]}}]}, "without a function name"),
        ({"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}, "function name"),
    ],
)
def test_a_response_that_is_not_a_chat_completion_is_an_error(raw: Any, expected: str) -> None:
    with pytest.raises(InvalidResponseError) as caught:
        read(raw)
    assert expected in str(caught.value)


def test_a_filtered_choice_may_have_no_message() -> None:
    result = read({"choices": [{"finish_reason": "content_filter"}]})
    assert (result.text, result.finish_reason) == ("", "content_filter")


def test_refusal_audio_and_logprobs_are_kept() -> None:
    raw = chat(None, message={"refusal": "no", "audio": {"id": "a"}})
    raw["choices"][0]["logprobs"] = {"content": []}
    choice = read(raw).choices[0]
    assert (choice.message.refusal, choice.message.audio) == ("no", {"id": "a"})
    assert choice.logprobs == {"content": []}


@pytest.mark.parametrize(
    ("usage", "headers", "expected"),
    [
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            {},
            Usage(3, 2, 5),
        ),
        ({"prompt_tokens": 3, "completion_tokens": 2.0}, {}, Usage(3, 2, 5)),
        ({"prompt_tokens": 1, "reasoning_tokens": 4}, {}, Usage(1, 0, 1, 0, 4)),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 1,
                "total_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 9},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            {},
            Usage(1, 1, 2, 9, 1),
        ),
        (
            {"prompt_tokens": None, "prompt_tokens_details": None, "total_tokens": "x"},
            {},
            Usage(),
        ),
        (None, {"prompt_token_len": "4", "sampling_token_len": "2"}, Usage(4, 2, 6)),
        (None, {"prompt-token-len": "4", "sampling-token-len": "2"}, Usage(4, 2, 6)),
        (None, {"num-tokens": "4", "num-chars": "9"}, Usage(4, 0, 4)),
        (None, {"num-tokens": "many"}, None),
        (None, {}, None),
    ],
)
def test_usage_is_read_from_every_known_field(
    usage: Any, headers: dict[str, str], expected: Usage | None
) -> None:
    assert read({**chat(), "usage": usage}, headers).usage == expected


def test_an_answer_is_sent_back_unchanged(ask: Ask, server: RawServer) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    server.will(reply(chat(None, message={"tool_calls": calls})), reply(chat()))
    driver = ask()
    answer = driver.complete()
    driver.complete([UserMessage("hi"), answer.choices[0].message])
    sent = server.received[1].json["messages"][1]
    assert sent == {"role": "assistant", "tool_calls": calls}
    assert sent == AssistantMessage(None, [ToolCall("c1", Function("f"))]).to_wire()


class City(pydantic.BaseModel):
    name: str
    population: int | None = None


@dataclass
class Country:
    name: str
    cities: list[City]


def test_a_type_as_response_format_is_sent_and_parsed(ask: Ask, server: RawServer) -> None:
    text = '{"name":"NL","cities":[{"name":"Delft","population":100000}]}'
    server.will(reply(chat(text)))
    answer = ask().complete(response_format=Country)
    assert answer.parsed == Country("NL", [City(name="Delft", population=100000)])
    sent = server.received[0].json["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Country", True)
    assert sent["schema"]["required"] == ["name", "cities"]
    assert sent["schema"]["additionalProperties"] is False
    city = sent["schema"]["$defs"]["City"]
    assert city["required"] == ["name", "population"]
    assert city["additionalProperties"] is False
    assert "default" not in city["properties"]["population"]


def test_a_streamed_answer_is_parsed_too(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(part('{"name":'), part('"Delft"}', "stop"))))
    assert ask().stream(response_format=City).completion.parsed == City(name="Delft")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (chat("no json"), "the response is not a valid City: "),
        (chat('{"name"', "length"), "raise max_tokens"),
        (chat(None, message={"refusal": "I will not"}), "the model refused: I will not"),
    ],
)
def test_an_answer_that_does_not_match_its_type_says_why(
    ask: Ask, server: RawServer, answer: Any, expected: str
) -> None:
    server.will(reply(answer))
    with pytest.raises(InvalidResponseError, match=expected):
        ask().complete(response_format=City).parsed  # noqa: B018


def test_a_type_needs_pydantic(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(pydantic.BaseModel):
        name: str

    monkeypatch.setitem(__import__("sys").modules, "pydantic", None)
    with pytest.raises(ConfigurationError, match="pip install pydantic"):
        ask().complete(response_format=Other)


def test_a_response_format_that_is_not_a_type_parses_nothing(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat("{}")))
    assert ask().complete(response_format={"type": "json_object"}).parsed is None


@pytest.mark.parametrize(
    ("reported", "kind"),
    [
        ("chat-completion", "chat_completion"),
        ("chat completion(s)", "chat_completion"),
        ("chat-completions", "chat_completion"),
        ("Chat", "chat_completion"),
        ("embeddings", "embedding"),
        ("text-embeddings", "embedding"),
        ("text embedding(s)", "embedding"),
        ("image_embedding(s)", "image_embedding"),
        ("completion", "completion"),
        (None, ""),
    ],
)
def test_the_types_of_models_are_spelled_one_way(reported: str | None, kind: str) -> None:
    assert decode_model_info({"model_name": "m", "model_type": reported}).model_type == kind


def test_info_without_a_model_is_an_error(ask: Ask, server: RawServer) -> None:
    server.will(reply({"model": "x"}))
    with pytest.raises(InvalidResponseError, match="no model_name"):
        ask("/models").info()
    server.will(reply(failure("x", "broken")))
    with pytest.raises(Exception, match="broken"):
        ask("/models").info()


def test_info_returns_the_model(ask: Ask, server: RawServer) -> None:
    body = {"model_name": "Phi", "model_type": "chat", "model_provider_name": "Microsoft"}
    server.will(reply(body))
    info = ask("/models").info()
    assert (info.model_name, info.model_type, info.provider) == (
        "Phi",
        "chat_completion",
        "Microsoft",
    )
    assert info.raw == body
    assert json.dumps(info.raw)


def test_a_refused_prompt_names_its_filter_results(ask: Ask, server: RawServer) -> None:
    lists = [{"id": "codenames", "filtered": True}, {"id": "products", "filtered": False}]
    results = {
        "violence": {"filtered": True, "severity": "high"},
        "hate": {"filtered": False, "severity": "low"},
        "jailbreak": {"filtered": True, "detected": True},
        "custom_blocklists": {"filtered": True, "details": lists},
    }
    body = failure("content_filter", "blocked", innererror={"content_filter_result": results})
    server.will(reply(body, 400))
    with pytest.raises(ContentFilterError) as caught:
        ask().complete()
    assert caught.value.message == (
        "blocked. Found: violence (high), jailbreak (detected), custom_blocklists (codenames)."
    )
    assert set(caught.value.categories) == {"violence", "jailbreak", "custom_blocklists"}
