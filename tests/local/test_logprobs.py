"""Log probabilities on every wire that has them, of engines that report them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from azinfer.local import (
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    SyntheticEngine,
    UpstreamEngine,
)
from azinfer.local.engines.base import EngineCapabilities

INCLUDE: Any = ["message.output_text.logprobs"]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class OnlyText:
    """Reports no log probabilities."""

    chat = SyntheticEngine().chat
    aclose = SyntheticEngine().aclose


class Odd:
    """Reports what no model would, as a foreign service may."""

    capabilities = EngineCapabilities(chat=True, logprobs=True)

    async def chat(self, prompt: Prompt) -> Any:
        """Write three parts."""
        yield Piece("a", more={"logprobs": 5})
        yield Piece("b", more={"logprobs": {"content": 5}})
        good = {"token": "c", "logprob": -1.0, "top_logprobs": [5, {"token": 5, "logprob": 1}]}
        bad = [5, {"token": 5, "logprob": 1}, {"token": "c"}]
        yield Piece("c", more={"logprobs": {"content": [*bad, good]}})
        yield Piece("", 0, "stop", 1)

    async def aclose(self) -> None:
        """Do nothing."""


class CallFirst:
    """Calls a tool and then writes a text."""

    capabilities = EngineCapabilities(chat=True, logprobs=True, passes_requests_through=True)

    async def chat(self, prompt: Prompt) -> Any:
        """Write a call and a text, each with its token."""
        call = {"id": "c1", "function": {"name": "get_weather", "arguments": "{}"}}
        for text, calls in (("{}", [call]), ("Text", ())):
            token = {"token": text, "logprob": -1.0, "top_logprobs": []}
            more = {"logprobs": {"content": [token]}}
            yield Piece("" if calls else text, calls=calls, more=more)
        yield Piece("", 0, "stop", 1)

    async def aclose(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    deployments = [
        LocalDeployment("chat", engine=SyntheticEngine("It is warm in Rome.")),
        LocalDeployment("copy"),
        LocalDeployment("text", engine=OnlyText()),
        LocalDeployment("odd", engine=Odd()),
        LocalDeployment("call-first", engine=CallFirst()),
        LocalDeployment("o4-mini"),
    ]
    with LocalEndpoint(deployments) as endpoint:
        engine = UpstreamEngine(f"{endpoint.url}/openai/v1", endpoint.key, model="chat")
        endpoint.deploy(LocalDeployment("over", engine=engine))
        yield endpoint


@pytest.fixture(scope="module")
def client(endpoint: LocalEndpoint) -> Iterator[openai.OpenAI]:
    url = f"{endpoint.url}/openai/v1"
    with openai.OpenAI(base_url=url, api_key=endpoint.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def classic(endpoint: LocalEndpoint) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=endpoint.url,
        api_key=endpoint.key,
        api_version="2024-10-21",
        max_retries=0,
    ) as client:
        yield client


def texts_of(tokens: Any) -> str:
    return "".join(each.token for each in tokens)


@pytest.mark.parametrize("model", ["chat", "over"])
@pytest.mark.parametrize("likely", [None, 0, 3])
def test_a_response_has_those_of_its_text(
    client: openai.OpenAI, model: str, likely: int | None
) -> None:
    more: Any = {} if likely is None else {"top_logprobs": likely}
    answer = client.responses.create(model=model, input="Hi", include=INCLUDE, **more)
    output: Any = answer.output
    tokens = output[0].content[0].logprobs
    assert texts_of(tokens) == answer.output_text == "It is warm in Rome."
    assert {len(each.top_logprobs) for each in tokens} == {likely or 0}
    assert all(bytes(each.bytes).decode() == each.token for each in tokens)
    assert answer.top_logprobs == (likely or 0)


def test_a_streamed_response_has_them_with_each_part(client: openai.OpenAI) -> None:
    with client.responses.create(
        model="chat", input="Hi", include=INCLUDE, top_logprobs=2, stream=True
    ) as events:
        every: list[Any] = list(events)
    deltas = [event for event in every if event.type == "response.output_text.delta"]
    assert [texts_of(event.logprobs) for event in deltas] == [event.delta for event in deltas]
    (done,) = [event for event in every if event.type == "response.output_text.done"]
    assert texts_of(done.logprobs) == done.text == "It is warm in Rome."
    assert set(done.to_dict()["logprobs"][0]) == {"token", "logprob", "top_logprobs"}
    assert set(done.to_dict()["logprobs"][0]["top_logprobs"][0]) == {"token", "logprob"}
    part = every[-1].response.output[0].content[0]
    assert texts_of(part.logprobs) == part.text
    assert {len(each.top_logprobs) for each in part.logprobs} == {2}


def test_a_response_has_none_unless_they_are_included(client: openai.OpenAI) -> None:
    answer: Any = client.responses.create(model="chat", input="Hi", top_logprobs=2)
    assert answer.output[0].content[0].logprobs == []


def test_a_response_that_calls_a_function_has_none_of_it(client: openai.OpenAI) -> None:
    flat: Any = {"type": "function", "strict": False, **TOOL["function"]}
    create: Any = client.responses.create
    body = {"model": "copy", "input": "Is it warm in Rome?", "include": INCLUDE, "tools": [flat]}
    body["tool_choice"] = "required"
    answer = create(**body)
    assert [item.type for item in answer.output] == ["function_call"]
    with create(**body, stream=True) as events:
        assert [item.type for item in list(events)[-1].response.output] == ["function_call"]
    with create(**{**body, "model": "call-first"}, stream=True) as events:
        output = list(events)[-1].response.output
    assert [item.type for item in output] == ["function_call", "message"]
    assert texts_of(output[1].content[0].logprobs) == "Text"


@pytest.mark.parametrize(
    ("model", "body", "param", "code"),
    [
        ("chat", {"top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ("chat", {"top_logprobs": -1}, "top_logprobs", "invalid_value"),
        ("chat", {"top_logprobs": True}, "top_logprobs", "invalid_value"),
        ("chat", {"top_logprobs": "2"}, "top_logprobs", "invalid_type"),
        ("chat", {"include": "message"}, "include", "invalid_type"),
        ("chat", {"include": [5]}, "include", "invalid_type"),
        ("text", {"include": INCLUDE}, "include", "unsupported_parameter"),
        ("o4-mini", {"include": INCLUDE}, "include", "unsupported_value"),
        ("o4-mini", {"top_logprobs": 2}, "top_logprobs", "unsupported_parameter"),
    ],
)
def test_a_response_names_the_field_that_is_refused(
    client: openai.OpenAI, model: str, body: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=model, input="Hi", extra_body=body)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_has_those_of_its_arguments(client: openai.OpenAI, stream: bool) -> None:
    create: Any = client.chat.completions.create
    user = {"role": "user", "content": "Is it warm in Rome?"}
    body = {"model": "copy", "messages": [user], "tools": [TOOL], "tool_choice": "required"}
    answer = create(**body, logprobs=True, top_logprobs=1, stream=stream)
    choices = [each.choices[0] for each in answer] if stream else [answer.choices[0]]
    calls = [
        call
        for choice in choices
        for call in (choice.delta if stream else choice.message).tool_calls or ()
    ]
    arguments = "".join(call.function.arguments for call in calls)
    tokens = [each for choice in choices if choice.logprobs for each in choice.logprobs.content]
    assert json.loads(arguments) == {"city": "Rome"}
    assert texts_of(tokens) == arguments
    assert {len(each.top_logprobs) for each in tokens} == {1}


@pytest.mark.parametrize("model", ["chat", "over"])
@pytest.mark.parametrize("likely", [0, 5])
def test_a_legacy_completion_has_them_in_lists(
    classic: openai.AzureOpenAI, model: str, likely: int
) -> None:
    create = classic.completions.create
    answer = create(model=model, prompt=["One", "Three"], logprobs=likely, max_tokens=4)
    for choice, before in zip(answer.choices, (3, 5), strict=True):
        lists: Any = choice.logprobs
        assert "".join(lists.tokens) == choice.text == "It is warm in"
        assert all(number <= 0 for number in lists.token_logprobs)
        assert [len(each) for each in lists.top_logprobs] == [likely] * 4
        assert lists.text_offset == [before, before + 2, before + 5, before + 10]


def test_a_streamed_legacy_completion_has_them_with_each_part(
    classic: openai.AzureOpenAI,
) -> None:
    with classic.completions.create(
        model="chat", prompt="One", logprobs=1, max_tokens=4, stream=True
    ) as chunks:
        parts: list[Any] = [choice for chunk in chunks for choice in chunk.choices]
    parts = [part for part in parts if part.text]
    assert [part.logprobs.tokens for part in parts] == [[part.text] for part in parts]
    assert [part.logprobs.text_offset for part in parts] == [[3], [5], [8], [13]]


def test_a_legacy_completion_has_none_unless_they_are_requested(
    classic: openai.AzureOpenAI,
) -> None:
    assert classic.completions.create(model="chat", prompt="One").choices[0].logprobs is None


@pytest.mark.parametrize(
    ("model", "body", "code"),
    [
        ("chat", {"logprobs": 6}, "invalid_value"),
        ("chat", {"logprobs": -1}, "invalid_value"),
        ("chat", {"logprobs": True}, "invalid_value"),
        ("chat", {"logprobs": "2"}, "invalid_value"),
        ("chat", {"logprobs": 1, "echo": True}, "unsupported_parameter"),
        ("text", {"logprobs": 1}, "unsupported_parameter"),
    ],
)
def test_a_legacy_completion_names_the_field_that_is_refused(
    classic: openai.AzureOpenAI, model: str, body: dict[str, Any], code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        classic.completions.create(model=model, prompt="Hi", extra_body=body)
    assert (caught.value.param, caught.value.code) == ("logprobs", code)


def test_log_probabilities_of_an_unknown_form_are_left_out(
    client: openai.OpenAI, classic: openai.AzureOpenAI
) -> None:
    answer: Any = client.responses.create(model="odd", input="Hi", include=INCLUDE)
    (part,) = answer.output[0].content
    assert (part.text, texts_of(part.logprobs)) == ("abc", "c")
    assert part.logprobs[0].top_logprobs == []
    with client.responses.create(model="odd", input="Hi", include=INCLUDE, stream=True) as events:
        ended: Any = list(events)[-1]
    assert texts_of(ended.response.output[0].content[0].logprobs) == "c"
