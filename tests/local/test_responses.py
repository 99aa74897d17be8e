"""The Responses API, called with a plain HTTP client.

The expected bodies follow answers recorded by others in public: posit-dev/chatlas
(`test_azure_simple_request.yaml`) and crmne/ruby_llm (`chat_responses_protocol_…_gpt-5-nano`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import RateLimit
from azinfer.local import (
    ContentFilter,
    EngineError,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    SyntheticEngine,
)
from azinfer.local.resource.storage.response_store import ResponseStore, StoredResponse

BASES = ["/openai/v1/responses", "/openai/responses?api-version=2025-03-01-preview"]
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TIME = {"type": "function", "name": "currentTime", "description": "The time in a time zone"}
# A response that was asked for with nothing but a model and an input.
PLAIN = {
    "object": "response",
    "status": "completed",
    "background": False,
    "content_filters": None,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "model": "fixed",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    },
    "user": None,
}


def ask(http: httpx.Client, base: str = BASES[0], **body: Any) -> httpx.Response:
    return http.post(base, json={"model": "fixed", "input": "hi", **body})


def text(response: Any) -> str:
    (item,) = response["output"]
    return str(item["content"][0]["text"])


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    *frames, rest = answer.text.split("\n\n")
    assert rest == ""
    values = []
    for number, frame in enumerate(frames):
        name, data = frame.split("\n")
        payload = json.loads(data.removeprefix("data: "))
        assert name == f"event: {payload['type']}"
        assert payload["sequence_number"] == number
        values.append(payload)
    return values


@pytest.fixture(params=[False, True])
def stream(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def response_of(answer: httpx.Response) -> Any:
    """The response, whole or at the end of a stream."""
    if answer.headers["content-type"] == "application/json":
        return answer.json()
    return events(answer)[-1]["response"]


@pytest.mark.parametrize("base", BASES)
def test_a_response_has_the_recorded_form(http: httpx.Client, base: str) -> None:
    answer = ask(http, base)
    body = answer.json()
    assert answer.status_code == 200
    assert answer.headers["x-ms-deployment-name"] == "fixed"
    assert answer.headers["x-ms-served-model"] == "mistral-large-2411"
    name = body["id"].removeprefix("resp_")
    assert body.pop("id") == f"resp_{answer.headers['apim-request-id']}"
    assert isinstance(body.pop("created_at"), int)
    assert isinstance(body.pop("completed_at"), int)
    part = {"type": "output_text", "text": "Paris.", "annotations": [], "logprobs": []}
    message = {"id": f"msg_{name}", "type": "message", "status": "completed"}
    assert body.pop("output") == [{**message, "role": "assistant", "content": [part]}]
    assert body == PLAIN


@pytest.mark.parametrize("base", BASES)
def test_a_stream_has_the_recorded_events(http: httpx.Client, base: str) -> None:
    values = events(ask(http, base, stream=True))
    # Padding that hides how long a part is.
    deltas = [each for each in values if "delta" in each]
    assert all((len(each["delta"]) + len(each.pop("obfuscation"))) % 16 == 0 for each in deltas)
    begun, running, *_, ended = values
    response = ended["response"]
    name = response["id"].removeprefix("resp_")
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    del started["completed_at"]
    assert begun["response"] == running["response"] == started
    item = {"id": f"msg_{name}", "type": "message", "role": "assistant"}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    place = {"item_id": f"msg_{name}", "output_index": 0, "content_index": 0}
    full = {**empty, "text": "Paris."}
    done = {**item, "status": "completed", "content": [full]}
    expected = [
        {"type": "response.output_item.added", "output_index": 0}
        | {"item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", "part": empty, **place},
        {"type": "response.output_text.delta", "delta": "Paris", "logprobs": [], **place},
        {"type": "response.output_text.delta", "delta": ".", "logprobs": [], **place},
        {"type": "response.output_text.done", "text": "Paris.", "logprobs": [], **place},
        {"type": "response.content_part.done", "part": full, **place},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    assert values[2:-1] == [{**each, "sequence_number": at + 2} for at, each in enumerate(expected)]
    assert ended["type"] == "response.completed"
    assert response["output"] == [done]
    assert http.get(f"/openai/v1/responses/{response['id']}").json() == response


def test_padding_can_be_turned_off(http: httpx.Client) -> None:
    options = {"include_obfuscation": False}
    assert "obfuscation" not in ask(http, stream=True, stream_options=options).text


def test_a_response_repeats_the_request(http: httpx.Client, stream: bool) -> None:
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "max_output_tokens": 99,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low"},
        "temperature": 0.5,
        "top_p": 0.9,
        "truncation": "auto",
        "user": "me",
        "include": ["reasoning.encrypted_content"],
        "text": {"verbosity": "low"},
    }
    response = response_of(ask(http, stream=stream, **fields))
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    for name in ("instructions", "max_output_tokens", "metadata", "temperature", "top_p", "user"):
        assert response[name] == fields[name]


def test_a_truncated_response_is_incomplete(http: httpx.Client, stream: bool) -> None:
    answer = ask(http, model="mistral-large", max_output_tokens=2, stream=stream)
    response = response_of(answer)
    assert (response["status"], text(response)) == ("incomplete", "This is")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None
    if stream:
        assert events(answer)[-1]["type"] == "response.incomplete"


def test_functions_are_called_and_their_results_used(http: httpx.Client, stream: bool) -> None:
    question = {"role": "user", "content": "How is the weather in New York?"}
    body: Any = {"model": "mistral-large", "tools": [WEATHER, TIME], "stream": stream}
    answer = ask(http, input=[question], **body)
    response = response_of(answer)
    assert response["tools"] == [
        {**WEATHER, "strict": True},
        {**TIME, "strict": True, "parameters": None},
    ]
    (call,) = response["output"]
    assert call["id"].startswith("fc_")
    assert {**call, "id": "", "call_id": ""} == {
        "id": "",
        "type": "function_call",
        "status": "completed",
        "call_id": "",
        "name": "get_weather",
        "arguments": '{"city": "New York"}',
    }
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "Sunny"}
    content = response_of(ask(http, input=[question, call, output], **body))
    assert text(content) == "This is a synthetic answer to: Sunny"
    parts = [{"type": "input_text", "text": "Rainy"}]
    previous = {"previous_response_id": response["id"], "input": [{**output, "output": parts}]}
    assert text(response_of(ask(http, **body, **previous))).endswith("Rainy")


def test_calls_are_streamed_in_parts(http: httpx.Client) -> None:
    body: Any = {"model": "mistral-large", "tools": [WEATHER, TIME], "stream": True}
    values = events(ask(http, input="Use get_weather and currentTime in New York", **body))
    for index, item in enumerate(values[-1]["response"]["output"]):
        mine = [each for each in values if each.get("output_index") == index]
        added, *deltas, done, ended = mine
        assert added["type"] == "response.output_item.added"
        assert added["item"] == {**item, "arguments": "", "status": "in_progress"}
        kinds = {each["type"] for each in deltas}
        assert kinds == {"response.function_call_arguments.delta"}
        assert "".join(each["delta"] for each in deltas) == item["arguments"]
        assert done["type"] == "response.function_call_arguments.done"
        assert (done["arguments"], done["name"]) == (item["arguments"], item["name"])
        assert (ended["type"], ended["item"]) == ("response.output_item.done", item)
    assert [item["name"] for item in values[-1]["response"]["output"]] == [
        "get_weather",
        "currentTime",
    ]


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "name": "currentTime"}, ["currentTime"]),
    ],
)
def test_tool_choice_is_obeyed(http: httpx.Client, choice: Any, names: list[str]) -> None:
    body: Any = {"model": "mistral-large", "tools": [WEATHER, TIME], "tool_choice": choice}
    output = ask(http, input="Tell me a joke", **body).json()["output"]
    assert [item["name"] for item in output if item["type"] == "function_call"] == names


def test_a_text_format_is_obeyed(http: httpx.Client, stream: bool) -> None:
    schema = {"type": "object", "properties": {"who": {"type": "string"}}}
    wanted = {"type": "json_schema", "name": "person", "schema": schema, "strict": True}
    body: Any = {"model": "mistral-large", "text": {"format": wanted}, "stream": stream}
    response = response_of(ask(http, input='I met "Ann".', **body))
    assert text(response) == '{"who": "Ann"}'
    assert response["text"] == {"format": wanted, "verbosity": "medium"}


def test_a_response_continues_the_previous_one(http: httpx.Client) -> None:
    seen = []

    class Remembering(SyntheticEngine):
        async def chat(self, prompt: Prompt) -> Any:
            seen.append(prompt.messages)
            async for piece in super().chat(prompt):
                yield piece

    deployment = LocalDeployment("chat", engine=Remembering("Hello."))
    with LocalEndpoint([deployment]) as endpoint:
        http = httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key})
        with http:
            first = ask(http, model="chat", input="I am Ann.", instructions="Be kind.").json()
            image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
            parts = [{"type": "input_text", "text": "Who am I?"}, image]
            message = {"role": "user", "content": parts}
            kept = {"previous_response_id": first["id"], "model": "chat"}
            second = ask(http, **kept, input=[message]).json()
            ask(http, model="chat", input="And now?", previous_response_id=second["id"])
            reference = {"type": "item_reference", "id": first["output"][0]["id"]}
            ask(http, model="chat", input=[reference, {"role": "user", "content": "So?"}])
    system = {"role": "system", "content": "Be kind."}
    ann = {"role": "user", "content": "I am Ann."}
    hello = {"role": "assistant", "content": "Hello."}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    who = {"role": "user", "content": [{"type": "text", "text": "Who am I?"}, picture]}
    # Instructions apply to one turn only.
    assert seen == [
        [system, ann],
        [ann, hello, who],
        [ann, hello, who, hello, {"role": "user", "content": "And now?"}],
        [hello, {"role": "user", "content": "So?"}],
    ]


def test_responses_are_stored_returned_and_deleted(http: httpx.Client) -> None:
    content = [{"type": "input_text", "text": "a"}]
    items = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    items.append({"role": "user", "content": "c"})
    response = ask(http, input=items).json()
    url = f"/openai/v1/responses/{response['id']}"
    assert http.get(url).json() == response
    listed = http.get(f"{url}/input_items").json()
    assert [item["content"][0]["text"] for item in listed["data"]] == ["c", "b", "a"]
    assert listed["data"][2]["content"] == content
    assert listed["data"][2]["status"] == "completed"
    assert not listed["has_more"]
    query: dict[str, Any] = {"order": "asc", "limit": 1, "after": listed["data"][2]["id"]}
    paged = http.get(f"{url}/input_items", params=query).json()
    assert [item["content"][0]["text"] for item in paged["data"]] == ["b"]
    assert paged["has_more"]
    assert paged["first_id"] == paged["last_id"] == paged["data"][0]["id"]
    deleted = {"id": response["id"], "object": "response.deleted", "deleted": True}
    assert http.delete(url).json() == deleted
    for answer in (http.get(url), http.delete(url), http.get(f"{url}/input_items")):
        assert answer.status_code == 404
        assert (
            answer.json()["error"]["message"] == f"Response with id '{response['id']}' not found."
        )


def test_store_false_stores_no_response(http: httpx.Client, stream: bool) -> None:
    response = response_of(ask(http, store=False, stream=stream))
    assert response["store"] is False
    assert http.get(f"/openai/v1/responses/{response['id']}").status_code == 404
    answer = ask(http, previous_response_id=response["id"])
    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "message": f"Previous response with id '{response['id']}' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "x"}
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("input", {"input": None}),
    ("input", {"input": 7}),
    ("input[0]", {"input": ["hi"]}),
    ("input[0].type", {"input": [{}]}),
    ("input[0].type", {"input": [{"type": "computer_call"}]}),
    ("input[0].id", {"input": [{"type": "web_search_call"}]}),
    ("input[0].input", {"input": [{**CALL, "type": "custom_tool_call"}]}),
    ("input[0].role", {"input": [{"role": "alien", "content": ""}]}),
    ("input[0].content", {"input": user(None)}),
    ("input[0].content[0].type", {"input": user(["a"])}),
    ("input[0].content[0].type", {"input": user([{"type": "input_audio"}])}),
    ("input[0].content[0].file_data", {"input": user([{"type": "input_file"}])}),
    (
        "input[0].content[0].file_url",
        {
            "input": user(
                [{"type": "input_file", "file_url": "data:application/pdf;base64,JVBERg=="}]
            )
        },
    ),
    ("input[0].content[0].text", {"input": user([{"type": "input_text"}])}),
    ("input[0].content[0].image_url", {"input": user([{"type": "input_image"}])}),
    ("input[0].name", {"input": [{**CALL, "name": None}]}),
    ("input[1].output", {"input": [CALL, {**OUTPUT, "output": 1}]}),
    ("input[1].output[0].type", {"input": [CALL, {**OUTPUT, "output": [1]}]}),
    ("input[0].id", {"input": [{"type": "item_reference", "id": "nope"}]}),
    ("input", {"input": [CALL]}),
    ("input", {"input": [OUTPUT]}),
    ("metadata", {"metadata": 1}),
    ("reasoning", {"reasoning": "low"}),
    ("text", {"text": "json"}),
    ("stream_options", {"stream_options": True}),
    ("text.format.type", {"text": {"format": {"type": "xml"}}}),
    ("text.format.name", {"text": {"format": {"type": "json_schema"}}}),
    ("text.format.schema", {"text": {"format": {"type": "json_schema", "name": "a"}}}),
    ("tools[0].type", {"tools": [{"type": "computer"}]}),
    ("tool_choice.type", {"tools": [WEATHER], "tool_choice": {"type": "mcp"}}),
    ("background", {"background": True, "store": False}),
    ("prompt", {"prompt": {"id": "p"}}),
    ("top_logprobs", {"top_logprobs": 21}),
    ("max_output_tokens", {"max_output_tokens": 0}),
    ("temperature", {"temperature": 3}),
]


@pytest.mark.parametrize(("param", "body"), WRONG)
def test_a_wrong_field_is_named(http: httpx.Client, param: str, body: dict[str, Any]) -> None:
    answer = ask(http, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "source",
    [
        {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        {"file_url": "https://example.com/a.pdf"},
        {"file_id": "assistant-1"},
    ],
)
def test_a_file_may_be_part_of_a_message(http: httpx.Client, source: dict[str, str]) -> None:
    parts = [{"type": "input_text", "text": "Read this."}, {"type": "input_file", **source}]
    answer = ask(http, input=user(parts))
    assert (answer.status_code, text(answer.json())) == (200, "Paris.")


def test_an_invalid_page_is_refused(http: httpx.Client) -> None:
    url = f"/openai/v1/responses/{ask(http).json()['id']}/input_items"
    for query in ({"limit": "0"}, {"limit": "x"}, {"limit": "101"}, {"after": "nope"}):
        answer = http.get(url, params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


def test_a_strict_endpoint_requires_sixteen_tokens(strict: LocalEndpoint) -> None:
    url, headers = f"{strict.url}/openai/v1/responses", {"api-key": strict.key}
    body = {"model": "only", "input": "hi", "max_output_tokens": 15}
    answer = httpx.post(url, json=body, headers=headers)
    assert answer.json()["error"] == {
        "message": "Invalid 'max_output_tokens': integer below minimum value. Expected a value "
        ">= 16, but got 15 instead.",
        "type": "invalid_request_error",
        "param": "max_output_tokens",
        "code": "integer_below_min_value",
    }
    answer = httpx.post(f"{strict.url}/openai/responses", json=body, headers=headers)
    assert answer.status_code == 404


class Failing(SyntheticEngine):
    """An engine that fails after its first word."""

    async def chat(self, prompt: Prompt) -> Any:
        yield Piece("Once")
        raise EngineError("the context is full", "context_length_exceeded")


@pytest.fixture
def guarded_client() -> Iterator[httpx.Client]:
    """A deployment that filters and one that fails."""
    words = {"violence": {"bomb": "high", "knife": "low"}}
    deployments = [
        LocalDeployment("guarded", content_filter=ContentFilter(words=words)),
        LocalDeployment("failing", engine=Failing()),
        LocalDeployment("limited", rate_limits=(RateLimit("token", 1, 60),)),
        LocalDeployment(
            "bad", engine=SyntheticEngine("A bomb."), content_filter=ContentFilter(words=words)
        ),
    ]
    with (
        LocalEndpoint(deployments) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"api-key": endpoint.key}) as client,
    ):
        yield client


def test_a_failure_in_the_middle_is_reported(guarded_client: httpx.Client) -> None:
    *_, last = events(ask(guarded_client, model="failing", stream=True))
    assert last["type"] == "response.failed"
    assert last["response"]["status"] == "failed"
    assert last["response"]["error"] == {"code": "server_error", "message": "the context is full"}
    answer = ask(guarded_client, model="failing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_filters_and_limits_apply_to_responses(guarded_client: httpx.Client, stream: bool) -> None:
    refused = ask(guarded_client, model="guarded", input="a bomb", stream=stream)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "content_filter")
    response = response_of(ask(guarded_client, model="guarded", input="a knife", stream=stream))
    prompt, completion = response["content_filters"]
    assert prompt["source_type"] == "prompt"
    assert prompt["content_filter_results"]["violence"] == {"filtered": False, "severity": "low"}
    assert (completion["source_type"], completion["blocked"]) == ("completion", False)
    answer = ask(guarded_client, model="bad", stream=stream)
    if stream:
        *_, failed, error = events(answer)
        response = failed["response"]
        assert (failed["type"], response["status"]) == ("response.failed", "failed")
        assert response["error"] is None
        assert (error["type"], error["error"]["code"]) == ("error", "content_policy_violation")
    else:
        response = answer.json()
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "content_filter"}
    assert response["content_filters"][1]["blocked"]
    assert ask(guarded_client, model="limited", stream=stream).status_code == 429


def test_a_deployment_must_be_named_and_support_responses(http: httpx.Client) -> None:
    for base in BASES:
        answer = http.post(base, json={"input": "hi"})
        assert answer.json()["error"]["code"] == "missing_required_parameter"
        assert ask(http, base, model="nope").json()["error"]["code"] == "DeploymentNotFound"
        assert ask(http, base, model="embed").json()["error"] == {
            "code": "OperationNotSupported",
            "message": "The responses operation does not work with the specified model, "
            "text-embedding. Please choose different model and try again. You can learn "
            "more about which models can be used with each operation here: "
            "https://go.microsoft.com/fwlink/?linkid=2197993.",
        }


def test_old_responses_are_forgotten_by_their_bytes() -> None:
    kept = ResponseStore()
    for at in range(70):
        response: Any = {
            "id": str(at),
            "previous_response_id": str(at - 1) if at else None,
            "output": [],
        }
        kept.add(StoredResponse(response, [{"id": f"in_{at}", "text": "x" * 1_000_000}]))
    assert kept.get("0") is None
    assert kept.conversation("0") is None
    assert kept.conversation("69") is None  # a part of what was said is not there
    assert kept.delete("69")
    # One that is too large alone is not stored, and nothing else is.
    kept.add(StoredResponse({**response, "id": "large"}, [{"id": "a", "text": "x" * 2**26}]))
    assert kept.get("large") is None
    for at in range(2000):
        kept.add(StoredResponse({**response, "id": str(at)}, [{"id": f"in_{at}"}]))
    assert kept.get("1") is not None
    assert kept.item("in_1") == {"id": "in_1"}
