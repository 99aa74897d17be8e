"""Anthropic Messages, called with a plain HTTP client.

The expected errors are those of recorded or quoted answers: vercel/ai (results without their
call), can1357/oh-my-pi#4679 (the hosting on Azure), BerriAI/litellm#16964 (a wrong key) and
anthropics/claude-code#10627 (a foreign signature).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer.core import ConfigurationError, RateLimit
from azinfer.local import (
    ContentFilter,
    EngineError,
    Fault,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    Scripted,
    ScriptedCall,
    SyntheticEngine,
)
from azinfer.local.api.admin.html import row

PATH = "/anthropic/v1/messages"
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "9 degrees"}
FILTER = ContentFilter(blocklists={"words": ["forbidden"]})
HI = [{"role": "user", "content": "Hi"}]


class Failing:
    """Writes a word, and fails as overloaded."""

    async def chat(self, prompt: Prompt) -> Any:
        yield Piece("Once")
        raise EngineError("Overloaded", "overloaded", status=529)

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def claude() -> Iterator[LocalEndpoint]:
    """Deployments that answer Messages, and some that do not."""
    deployments = [
        LocalDeployment("chat"),
        LocalDeployment("fixed", engine=SyntheticEngine("Paris. And more.")),
        LocalDeployment("scripted"),
        LocalDeployment("failing", engine=Failing()),
        LocalDeployment("tight", rate_limits=(RateLimit("request", 1, 60),)),
        LocalDeployment(
            "filtered", content_filter=ContentFilter(blocklists={"words": ["forbidden"]})
        ),
        LocalDeployment("claude-sonnet-4-5", model_version="2"),
        LocalDeployment("claude-haiku-4-5"),
        LocalDeployment("claude-opus-4-8"),
        LocalDeployment("claude-fable-5"),
        LocalDeployment("gpt-5-pro"),
        LocalDeployment("gpt-4o"),
        LocalDeployment("chat-only", wires=("chat",)),
    ]
    with LocalEndpoint(deployments, key="local-key") as endpoint:
        yield endpoint


@pytest.fixture
def http(claude: LocalEndpoint) -> Iterator[httpx.Client]:
    headers = {"x-api-key": claude.key, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=claude.url, headers=headers) as client:
        yield client
    claude.reset()


def ask(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post(PATH, json={"model": "fixed", "max_tokens": 100, "messages": HI, **body})


def message(http: httpx.Client, **body: Any) -> Any:
    response = ask(http, **body)
    assert response.status_code == 200, response.text
    return response.json()


def error(http: httpx.Client, status: int = 400, **body: Any) -> Any:
    response = ask(http, **body)
    assert response.status_code == status, response.text
    return response.json()


def events(http: httpx.Client, **body: Any) -> list[Any]:
    response = ask(http, stream=True, **body)
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    values = []
    for each in response.text.split("\n\n")[:-1]:
        name, data = each.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        values.append(value)
    return values


def test_a_whole_answer_has_every_field(http: httpx.Client) -> None:
    answer = message(http)
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "fixed",
        "content": [{"type": "text", "text": "Paris. And more."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 0},
            "service_tier": "standard",
        },
    }


def test_a_stream_follows_the_grammar_of_events(http: httpx.Client) -> None:
    values = events(http)
    kinds = [each["type"] for each in values]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[3:-3]) == {"content_block_delta"}
    start, end = values[0]["message"], values[-2]
    assert (start["content"], start["stop_reason"], start["usage"]["input_tokens"]) == ([], None, 7)
    assert "".join(each["delta"]["text"] for each in values[3:-3]) == "Paris. And more."
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (7, 5)


def test_thinking_text_and_calls_are_streamed_as_blocks(
    claude: LocalEndpoint, http: httpx.Client
) -> None:
    calls = (ScriptedCall("get_weather", {"city": "Oslo"}, "toolu_1"), ScriptedCall("now", ""))
    claude.script("scripted", *[Scripted("I look.", calls, reasoning="It asks.")] * 2)
    values = events(http, model="scripted", tools=[TOOL])
    blocks = [each["content_block"] for each in values if each["type"] == "content_block_start"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use", "tool_use"]
    deltas = [each["delta"] for each in values if each["type"] == "content_block_delta"]
    signatures = [each["signature"] for each in deltas if each["type"] == "signature_delta"]
    assert len(signatures) == 1
    pieces = [each["partial_json"] for each in deltas if each["type"] == "input_json_delta"]
    assert json.loads("".join(pieces)) == {"city": "Oslo"}
    assert pieces[-1] == ""  # a call without arguments has one empty piece
    assert values[-2]["delta"]["stop_reason"] == "tool_use"
    assert values[-2]["usage"]["output_tokens_details"]["thinking_tokens"] == 3
    whole = message(http, model="scripted", tools=[TOOL])["content"]
    assert (whole[0]["type"], whole[0]["thinking"], whole[1]["text"]) == (
        *("thinking", "It asks."),
        "I look.",
    )
    assert whole[2] == CALL
    assert whole[3]["input"] == {}


def test_thinking_may_be_omitted_or_off(claude: LocalEndpoint, http: httpx.Client) -> None:
    claude.script("scripted", *[Scripted("Yes.", reasoning="Hm.")] * 3)
    adaptive = {"type": "adaptive", "display": "omitted"}
    omitted = message(http, model="scripted", thinking=adaptive)["content"]
    assert [each.get("thinking") for each in omitted] == ["", None]
    values = events(http, model="scripted", thinking=adaptive)
    kinds = [each["delta"]["type"] for each in values if each["type"] == "content_block_delta"]
    assert kinds == ["signature_delta", "text_delta", "text_delta"]
    off = message(http, model="scripted", thinking={"type": "disabled"})["content"]
    assert [each["type"] for each in off] == ["text"]
    # What was omitted goes back as it came.
    turns = [*HI, {"role": "assistant", "content": omitted}, *HI]
    assert message(http, messages=turns)["content"]


def test_signatures_open_only_on_the_resource_that_made_them(
    claude: LocalEndpoint, http: httpx.Client
) -> None:
    claude.script("scripted", Scripted("Yes.", reasoning="Hm."))
    content = message(http, model="scripted")["content"]
    turns = [*HI, {"role": "assistant", "content": content}, *HI]
    assert message(http, messages=turns)["content"]
    with LocalEndpoint([LocalDeployment("fixed")], key="local-key") as other:
        body = {"model": "fixed", "max_tokens": 9, "messages": turns}
        foreign = httpx.post(f"{other.url}{PATH}", json=body, headers={"x-api-key": "local-key"})
    text = foreign.json()["error"]["message"]
    assert text == "messages.1.content.0: Invalid `signature` in `thinking` block"
    content[0]["thinking"] = "Something else."
    assert "cannot be modified" in error(http, messages=turns)["error"]["message"]


def test_a_redacted_block_must_be_this_resources(http: httpx.Client) -> None:
    block = {"type": "redacted_thinking", "data": "made up"}
    turns = [*HI, {"role": "assistant", "content": [block]}, *HI]
    assert "Invalid `data`" in error(http, messages=turns)["error"]["message"]


def test_a_tool_loop_reaches_the_engine_as_a_chat(
    claude: LocalEndpoint, http: httpx.Client
) -> None:
    seen: list[Prompt] = []

    class Watching:
        passes_requests_through = True

        async def chat(self, prompt: Prompt) -> Any:
            seen.append(prompt)
            yield Piece("Done.", 1, "stop", 3)

        async def aclose(self) -> None:
            pass

    image = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    document = {"type": "text", "media_type": "text/plain", "data": "a letter"}
    body = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": image},
                    {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
                    {"type": "document", "source": document},
                    {"type": "document", "source": image, "title": "x.pdf"},
                    {"type": "text", "text": "What is it?"},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, CALL]},
            {"role": "user", "content": [RESULT]},
            {"role": "user", "content": "And now?"},
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        "output_config": {"effort": "low"},
        "temperature": 0.5,
    }
    with LocalEndpoint([LocalDeployment("fixed", engine=Watching())], key="local-key") as other:
        body |= {"model": "fixed", "max_tokens": 9}
        headers = {"authorization": "Bearer local-key"}
        answer = httpx.post(f"{other.url}{PATH}?beta=true", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    (prompt,) = seen
    url = "data:image/png;base64,aGk="
    assert prompt.request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
                {"type": "text", "text": "a letter"},
                {"type": "file", "file": {"filename": "x.pdf", "file_data": url}},
                {"type": "text", "text": "What is it?"},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "toolu_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "9 degrees"},
        {"role": "user", "content": "And now?"},
    ]
    assert prompt.request["max_tokens"] == 9
    assert prompt.request["reasoning_effort"] == "low"
    assert prompt.request["parallel_tool_calls"] is False
    assert prompt.request["tool_choice"]["function"] == {"name": "get_weather"}
    assert prompt.temperature == 0.5


def test_any_engine_calls_tools(http: httpx.Client) -> None:
    answer = message(http, model="chat", tools=[TOOL], tool_choice={"type": "any"})
    assert (answer["stop_reason"], answer["content"][0]["name"]) == ("tool_use", "get_weather")
    named = message(
        http, model="chat", tools=[TOOL], tool_choice={"type": "tool", "name": "get_weather"}
    )
    assert named["stop_reason"] == "tool_use"
    none = message(http, model="chat", tools=[TOOL], tool_choice={"type": "none"})
    assert none["stop_reason"] == "end_turn"


def test_answers_end_for_a_reason(claude: LocalEndpoint, http: httpx.Client) -> None:
    short = message(http, max_tokens=2)
    assert (short["stop_reason"], short["usage"]["output_tokens"]) == ("max_tokens", 2)
    stopped = message(http, stop_sequences=["more", "And"])
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", "And")
    assert events(http, stop_sequences=["And"])[-2]["delta"]["stop_sequence"] == "And"
    claude.script("scripted", Scripted("", finish_reason="content_filter"))
    refused = message(http, model="scripted")
    assert refused["stop_reason"] == "refusal"
    assert (refused["content"], refused["stop_details"]) == ([], None)
    claude.script("scripted", Scripted("", finish_reason="pause_turn"))
    assert message(http, model="scripted")["stop_reason"] == "pause_turn"


def test_structured_output_conforms_to_the_schema(http: httpx.Client) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    answer = message(http, model="chat", output_config=wanted)
    assert json.loads(answer["content"][0]["text"]).keys() == {"city"}


def test_cached_tokens_do_not_count_as_input(http: httpx.Client) -> None:
    cached = {"type": "ephemeral"}
    system = [{"type": "text", "text": "A long manual. " * 20, "cache_control": cached}]
    first, second = (message(http, system=system)["usage"] for _ in range(2))
    written = first["cache_creation_input_tokens"]
    assert written > 50
    assert first["cache_read_input_tokens"] == 0
    assert (second["cache_creation_input_tokens"], second["cache_read_input_tokens"]) == (
        0,
        written,
    )
    assert first["input_tokens"] == second["input_tokens"]
    system[0]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    again = message(http, system=system, messages=HI, cache_control=cached)["usage"]
    assert again["cache_read_input_tokens"] == written
    assert 0 < again["cache_creation"]["ephemeral_5m_input_tokens"] < 10
    five = [{"type": "text", "text": str(at), "cache_control": cached} for at in range(5)]
    assert "maximum of 4" in error(http, system=five)["error"]["message"]


def test_tokens_are_counted_as_the_answer_counts_them(http: httpx.Client) -> None:
    counted = http.post(f"{PATH}/count_tokens", json={"model": "fixed", "messages": HI})
    assert counted.json() == {"input_tokens": message(http)["usage"]["input_tokens"]}


def test_the_log_and_the_page_show_the_wire(claude: LocalEndpoint, http: httpx.Client) -> None:
    message(http)
    entry = claude.requests[-1]
    assert (entry.wire, entry.deployment, entry.prompt_tokens) == ("messages", "fixed", 7)
    assert "x-api-key" not in entry.headers
    assert entry.to_wire()["wire"] == "messages"
    assert "wire messages" in str(row(entry))


def test_the_page_offers_only_deployments_that_chat(claude: LocalEndpoint) -> None:
    headers = {"sec-fetch-site": "none"}
    with httpx.Client(follow_redirects=True, headers=headers) as browser:
        page = browser.post(f"{claude.url}/", data={"key": claude.key}).text
    names = re.findall(r"<option>([^<]+)", page)
    assert "chat-only" in names
    assert not {"gpt-5-pro", "claude-fable-5"} & set(names)


def test_the_gateway_answers_in_azures_form(claude: LocalEndpoint, http: httpx.Client) -> None:
    body = {"model": "fixed", "max_tokens": 9, "messages": HI}
    wrong = httpx.post(f"{claude.url}{PATH}", json=body, headers={"x-api-key": "wrong"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "401")
    for headers in ({"api-key": claude.key}, {"authorization": f"Bearer {claude.key}"}):
        assert httpx.post(f"{claude.url}{PATH}", json=body, headers=headers).status_code == 200
    token = claude.credential().get_token("https://ai.azure.com/.default").token
    headers = {"authorization": f"Bearer {token}", "anthropic-version": "2026-10-21"}
    assert httpx.post(f"{claude.url}{PATH}", json=body, headers=headers).status_code == 200
    path = http.post("/anthropic/v1/message", json={})
    assert path.json() == {"error": {"code": "404", "message": "Resource not found"}}
    unknown = error(http, 404, model="nope")["error"]
    assert (unknown["type"], unknown["code"]) == ("invalid_request_error", "DeploymentNotFound")


def test_a_model_without_messages_says_so(http: httpx.Client) -> None:
    for name in ("gpt-4o", "gpt-5-pro", "chat-only"):
        assert error(http, 404, model=name)["error"]["code"] == "api_not_supported"


def test_other_wires_refuse_what_only_messages_have(http: httpx.Client) -> None:
    def code(path: str, model: str, **body: Any) -> tuple[int, Any]:
        response = http.post(f"/openai/v1/{path}", json={"model": model, **body})
        return response.status_code, response.json().get("error")

    http.headers["api-key"] = http.headers["x-api-key"]
    for path, body in (("chat/completions", {"messages": HI}), ("responses", {"input": "Hi"})):
        status, problem = code(path, "claude-haiku-4-5", **body)
        assert (status, problem) == (400, {"message": "Unknown model: claude-haiku-4-5"})
    status, problem = code("chat/completions", "gpt-5-pro", messages=HI)
    assert (status, problem["code"]) == (400, "OperationNotSupported")
    status, problem = code("responses", "chat-only", input="Hi")
    assert (status, problem["code"]) == (400, "OperationNotSupported")
    assert code("responses", "gpt-5-pro", input="Hi")[0] == 200


def test_limits_are_enforced_without_headers_about_them(http: httpx.Client) -> None:
    first = ask(http, model="tight")
    assert not [name for name in first.headers if "ratelimit" in name]
    response = ask(http, model="tight")
    body = response.json()
    assert response.status_code == 429
    assert body["error"]["type"] == "rate_limit_error"
    assert body["request_id"] == response.headers["request-id"]
    assert int(response.headers["retry-after"]) > 0


def test_faults_have_the_types_of_messages(claude: LocalEndpoint, http: httpx.Client) -> None:
    kinds = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}
    kinds |= {529: "overloaded_error", 504: "timeout_error"}
    for status, kind in kinds.items():
        claude.fail("fixed", Fault("status", status=status))
        body = error(http, status)
        assert (body["type"], body["error"]["type"]) == ("error", kind)


def test_an_error_in_a_stream_is_an_event_with_its_type(http: httpx.Client) -> None:
    *_, last = events(http, model="failing")
    assert last == {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert error(http, 529, model="failing")["error"]["type"] == "overloaded_error"


def test_content_filters_block_prompts_and_answers(http: httpx.Client) -> None:
    turns = [{"role": "user", "content": "the forbidden word"}]
    body = error(http, model="filtered", messages=turns)
    assert body["error"]["code"] == "content_filter"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater"),
        ({"max_tokens": "1"}, "max_tokens: Input should be a valid integer"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": "Hi"}, "messages: Input should be a valid list"),
        ({"messages": []}, "messages: at least one message"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "first message must use"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [*HI, {"role": "system", "content": "Hi"}]}, 'Unexpected role "system"'),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0: all messages"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]},
            "text content blocks must be non-empty",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
            "messages.0.content.0.text.text: Input should be a valid string",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages.0.content.0.image.source: Field required",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "source.type",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}
                ]
            },
            "source.url.url: Field required",
        ),
        (
            {"messages": [{"role": "user", "content": [RESULT]}]},
            "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1",
        ),
        ({"messages": [*HI, {"role": "assistant", "content": [CALL]}]}, "messages.1: `tool_use`"),
        (
            {"messages": [*HI, {"role": "assistant", "content": [CALL]}, *HI]},
            "messages.1: `tool_use` ids were found without `tool_result` blocks",
        ),
        (
            {
                "messages": [
                    *HI,
                    {"role": "assistant", "content": [CALL]},
                    {"role": "user", "content": [{"type": "text", "text": "so"}, RESULT]},
                ]
            },
            "messages.1: `tool_use` ids were found without",
        ),
        (
            {"messages": [*HI, {"role": "assistant", "content": [{**CALL, "input": "x"}]}, *HI]},
            "tool_use.input: Input should be a valid dictionary",
        ),
        (
            {"messages": [{"role": "user", "content": [{**RESULT, "content": 1}]}]},
            "tool_result.content",
        ),
        ({"system": 1}, "system: Input"),
        ({"temperature": 2}, "temperature: range: 0..1"),
        ({"top_p": "x"}, "top_p: Input should be a valid number"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"tools": {}}, "tools: Input"),
        ({"tools": [1]}, "tools.0"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.custom.name: Field required"),
        ({"tools": [{"name": "f"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "input_schema.type"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, "'web_search_20250305'"),
        ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "tool_choice"),
        ({"thinking": 1}, "thinking: Input"),
        ({"thinking": {"type": "on"}}, "thinking: Input tag 'on'"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "`max_tokens` must be greater"),
        (
            {
                "thinking": {"type": "enabled", "budget_tokens": 2000},
                "max_tokens": 3000,
                "tools": [TOOL],
                "tool_choice": {"type": "any"},
            },
            "Thinking may not be enabled",
        ),
        ({"output_config": 1}, "output_config: Input"),
        ({"output_config": {"format": {"type": "text"}}}, "output_config.format"),
    ],
)
def test_a_wrong_request_is_refused_by_its_field(
    http: httpx.Client, body: dict[str, Any], text: str
) -> None:
    answer = error(http, **body)
    assert (answer["type"], answer["error"]["type"]) == ("error", "invalid_request_error")
    assert text in answer["error"]["message"]
    assert answer["request_id"]


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        ("claude-sonnet-4-5", {"tools": [{**TOOL, "strict": True}]}, "not supported in your"),
        ("claude-sonnet-4-5", {"output_config": {"format": {}}}, "not supported in your"),
        ("claude-haiku-4-5", {"thinking": {"type": "adaptive"}}, "adaptive thinking is not"),
        ("claude-haiku-4-5", {"temperature": 1, "top_p": 1}, "cannot both be specified"),
        ("claude-opus-4-8", {"thinking": {"type": "enabled"}}, '"thinking.type.enabled" is not'),
        ("claude-opus-4-8", {"temperature": 0.5}, "temperature is deprecated"),
        (
            "claude-opus-4-8",
            {"messages": [*HI, {"role": "assistant", "content": "{"}]},
            "does not support assistant message prefill",
        ),
        ("claude-fable-5", {"thinking": {"type": "disabled"}}, '"thinking.type.disabled"'),
    ],
)
def test_claude_models_refuse_what_the_real_ones_do(
    http: httpx.Client, model: str, body: dict[str, Any], text: str
) -> None:
    assert text in error(http, model=model, **body)["error"]["message"]
    assert message(http, model=model)["content"]


def test_an_unknown_version_is_refused(http: httpx.Client) -> None:
    http.headers["anthropic-version"] = "2020-01-01"
    assert "anthropic-version" in error(http)["error"]["message"]


def test_strict_mode_wants_the_version_and_known_fields(strict: LocalEndpoint) -> None:
    body = {"model": "only", "max_tokens": 9, "messages": HI}
    headers = {"x-api-key": strict.key}
    url = f"{strict.url}{PATH}"
    missing = httpx.post(url, json=body, headers=headers)
    assert "anthropic-version" in missing.json()["error"]["message"]
    headers["anthropic-version"] = "2023-06-01"
    assert httpx.post(url, json=body, headers=headers).status_code == 200
    extra = httpx.post(url, json={**body, "seed": 1}, headers=headers).json()
    assert extra["error"]["message"] == "seed: Extra inputs are not permitted"


def test_a_thread_goes_on_by_the_id_of_its_answer(http: httpx.Client) -> None:
    created = message(http, model="chat", system="Be brief.", thread={"type": "create"})
    thread = {"type": "continue", "previous_message_id": created["id"]}
    new = [{"role": "user", "content": "More"}]
    continued = message(http, model="chat", messages=new, thread=thread)
    assert continued["usage"]["input_tokens"] > created["usage"]["input_tokens"] + 10
    thread["previous_message_id"] = continued["id"]
    again = message(http, model="chat", messages=new, thread=thread)
    assert again["usage"]["input_tokens"] > continued["usage"]["input_tokens"] + 10
    thread["previous_message_id"] = "msg_unknown"
    unknown = error(http, 404, messages=new, thread=thread)["error"]
    assert unknown["type"] == "not_found_error"
    assert unknown["details"] == {"error_code": "thread_not_found"}
    assert "thread.type" in error(http, thread={"type": "x"})["error"]["message"]
    plain = message(http)
    thread["previous_message_id"] = plain["id"]
    assert error(http, 404, thread=thread)  # only threads are kept


def test_a_configuration_says_which_wires_a_deployment_has(tmp_path: Path) -> None:
    path = tmp_path / "azinfer.toml"
    path.write_text('[local.deployments.chat]\nwires = ["chat", "messages"]\n', "utf-8")
    (deployment,) = LocalEndpoint.from_config(path).deployments
    assert deployment.served_wires == ("chat", "messages")
    path.write_text('[local.deployments.chat]\nwires = ["anthropic"]\n', "utf-8")
    with pytest.raises(ConfigurationError, match="unknown wire 'anthropic'; choose from chat"):
        LocalEndpoint.from_config(path)


def test_an_unknown_wire_of_a_deployment_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="unknown wire 'anthropic'; choose from chat"):
        LocalDeployment("chat", wires=("anthropic",))
