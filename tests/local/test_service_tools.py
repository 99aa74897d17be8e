"""Tools of the service, free-form tools and the filter's end on Responses of the local endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azinfer.core import (
    AssistantMessage,
    ConfigurationError,
    ContentFilterError,
    CustomTool,
    InferenceClient,
    Tool,
    ToolMessage,
    UserMessage,
)
from azinfer.local import (
    ContentFilter,
    LocalDeployment,
    LocalEndpoint,
    Scripted,
    ScriptedCall,
    SyntheticEngine,
)

SEARCH = {"type": "web_search_call", "action": {"type": "search", "query": "weather"}}
CODE = {"type": "code_interpreter_call", "code": "1 + 1", "outputs": [], "container_id": "c"}
ASK = [UserMessage("Look it up.")]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    search_call = Scripted(
        "It rains.", reasoning="Hm.", service_items=(SEARCH, CODE), contains="Look", times=10**6
    )
    query = Scripted("", (ScriptedCall("sql", "select 1"),), contains="Query", times=10**6)
    result = Scripted("One.", contains="1 row", times=10**6)
    words = {"violence": {"bomb": "high"}}
    deployments = [
        LocalDeployment("finder", script=(search_call, query, result)),
        LocalDeployment("plain"),
        LocalDeployment(
            "bad", engine=SyntheticEngine("A bomb."), content_filter=ContentFilter(words=words)
        ),
    ]
    with LocalEndpoint(deployments) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: LocalEndpoint) -> Iterator[InferenceClient]:
    endpoint.requests.clear()
    with InferenceClient(endpoint.url, endpoint.key, "finder", wire="responses") as client:
        yield client


def call_client(client: InferenceClient, is_streamed: bool, *args: Any, **named: Any) -> Any:
    if not is_streamed:
        return client.complete(*args, **named)
    with client.stream(*args, **named) as chunks:
        for _ in chunks:
            pass
    return chunks.completion


streamed = pytest.mark.parametrize("is_streamed", [False, True])


@streamed
def test_items_of_service_tools_are_read_and_go_back(
    client: InferenceClient, endpoint: LocalEndpoint, is_streamed: bool
) -> None:
    tools = [{"type": "web_search"}, {"type": "code_interpreter", "container": {"type": "auto"}}]
    answer = call_client(client, is_streamed, ASK, tools=tools)
    assert (answer.text, answer.tool_calls) == ("It rains.", ())
    kinds = ["reasoning", "web_search_call", "code_interpreter_call", "message"]
    assert [item["type"] for item in answer.raw["output"]] == kinds
    _, search, code, _ = answer.raw["output"]
    assert search == {"id": search["id"], "status": "completed", **SEARCH}
    assert (search["id"][:3], code["id"][:3]) == ("ws_", "ci_")
    assert call_client(client, is_streamed, [*ASK, answer.choices[0].message, *ASK], tools=tools)
    items = endpoint.requests[-1].body["input"]
    assert [item["type"] for item in items] == ["message", *kinds, "message"]
    assert items[2] == search


def test_other_wires_leave_items_of_service_tools_out(
    client: InferenceClient, endpoint: LocalEndpoint
) -> None:
    for wire in ("chat", "messages"):
        for is_streamed in (False, True):
            answer = call_client(client, is_streamed, ASK, wire=wire)
            assert answer.text == "It rains."
            assert "web_search" not in str(answer.raw)
    body = {"model": "finder", "stream": True, "messages": [{"role": "user", "content": "Look"}]}
    url = f"{endpoint.url}/openai/v1/chat/completions"
    sent = httpx.post(url, json=body, headers={"api-key": endpoint.key})
    assert "service_items" not in sent.text


def test_events_of_a_service_tool_are_those_of_the_service(endpoint: LocalEndpoint) -> None:
    body = {"model": "finder", "stream": True, "input": "Look", "tools": [{"type": "web_search"}]}
    answer = httpx.post(
        f"{endpoint.url}/openai/v1/responses", json=body, headers={"api-key": endpoint.key}
    )
    kinds = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    at = kinds.index("response.web_search_call.in_progress")
    assert kinds[at - 1 : at + 3] == [
        "response.output_item.added",
        "response.web_search_call.in_progress",
        "response.web_search_call.completed",
        "response.output_item.done",
    ]


@streamed
def test_a_free_form_tool_is_called_with_text(
    client: InferenceClient, endpoint: LocalEndpoint, is_streamed: bool
) -> None:
    tools = [CustomTool("sql", "Runs a query"), Tool("f", parameters={"type": "object"})]
    history: list[Any] = [UserMessage("Query it.")]
    answer = call_client(client, is_streamed, history, tools=tools)
    (call,) = answer.tool_calls
    assert (call.type, call.function.name, call.function.arguments) == ("custom", "sql", "select 1")
    history += [answer.choices[0].message, ToolMessage("1 row", call.id)]
    assert call_client(client, is_streamed, history, tools=tools).text == "One."
    kinds = [item["type"] for item in endpoint.requests[-1].body["input"]]
    assert kinds == ["message", "custom_tool_call", "custom_tool_call_output"]


@pytest.mark.parametrize("model", ["plain", "finder"])
@streamed
def test_a_synthetic_model_calls_a_free_form_tool(
    client: InferenceClient, model: str, is_streamed: bool
) -> None:
    choice = {"type": "custom", "custom": {"name": "sql"}}
    answer = call_client(
        client,
        is_streamed,
        [UserMessage("Query it with sql.")],
        model=model,
        tools=[CustomTool("sql", "Runs a query of a data base")],
        tool_choice=choice if model == "plain" else "required",
    )
    (call,) = answer.tool_calls
    assert (call.type, call.function.name) == ("custom", "sql")
    assert call.function.arguments
    assert "{" not in call.function.arguments


@pytest.mark.parametrize(
    ("choice", "status"),
    [("auto", 200), ("required", 200), ({"type": "web_search"}, 200), ({"type": "mcp"}, 400)],
)
def test_a_service_tool_can_be_chosen_where_it_is_listed(
    endpoint: LocalEndpoint, choice: Any, status: int
) -> None:
    body = {"model": "plain", "input": "hi", "tools": [{"type": "web_search"}]}
    answer = httpx.post(
        f"{endpoint.url}/openai/v1/responses",
        json={**body, "tool_choice": choice},
        headers={"api-key": endpoint.key},
    )
    assert answer.status_code == status


def test_the_filter_ends_a_stream_with_its_reason_last(endpoint: LocalEndpoint) -> None:
    body = {"model": "bad", "input": "hi", "stream": True}
    answer = httpx.post(
        f"{endpoint.url}/openai/v1/responses", json=body, headers={"api-key": endpoint.key}
    )
    kinds = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds[-2:] == ["response.failed", "error"]
    client = InferenceClient(endpoint.url, endpoint.key, "bad", wire="responses", max_retries=0)
    with (
        pytest.raises(ContentFilterError, match="content management policy"),
        client.stream([UserMessage("hi")]) as chunks,
    ):
        list(chunks)
    assert client.complete([UserMessage("hi")]).finish_reason == "content_filter"


@pytest.mark.parametrize("items", ["x", ["x"], [{"action": 1}]])
def test_a_scripted_item_needs_a_type(items: Any) -> None:
    with pytest.raises(ConfigurationError, match="service_items"):
        Scripted.from_wire({"text": "a", "service_items": items})
    scripted = Scripted.from_wire({"text": "a", "service_items": [SEARCH]})
    assert scripted.to_wire() == {"text": "a", "service_items": [SEARCH]}


def test_an_item_of_the_service_has_no_place_on_chat(client: InferenceClient) -> None:
    message = AssistantMessage("It rains.")
    assert client.complete([*ASK, message, *ASK], wire="chat").text == "It rains."
