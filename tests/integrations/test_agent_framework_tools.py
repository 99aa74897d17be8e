"""Tools: called, parallel, streamed, awaiting approval, and with arguments that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from agent_framework import ChatResponse, Content, Message, tool

from agent_clients import MESSAGE, Weather, both, client, stream, user
from azinfer.agent_framework import AzInferChatClient
from azinfer.agent_framework.messages import write_tools
from azinfer.local import LocalDeployment, LocalEndpoint, Scripted, ScriptedCall
from client_driver import WIRES
from raw_server import RawServer, chat, events, part, reply
from raw_server import stream as sse
from wire_requests import chat_body, wire_of

Make = Callable[..., AzInferChatClient]
QUESTION = [user("What is the weather in Oslo?")]
OSLO = ScriptedCall("get_weather", {"city": "Oslo"}, "c1")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """Two deployments, as strict as the service."""
    everywhere = ("chat", *WIRES)
    deployments = [LocalDeployment("echo"), LocalDeployment("Mistral-Large", wires=everywhere)]
    with LocalEndpoint(deployments, strict=True) as endpoint:
        yield endpoint


@pytest.fixture
def make(address: str, endpoint: LocalEndpoint) -> Make:
    """Makes clients of one surface or wire."""
    endpoint.reset()
    endpoint.requests.clear()

    def client(model: str = "echo", **arguments: Any) -> AzInferChatClient:
        return AzInferChatClient(endpoint.url + address, endpoint.key, model, **arguments)

    return client


async def call(
    client: Any, streamed: bool, messages: list[Message], **options: Any
) -> ChatResponse[Any]:
    """Return the response of a whole call or of a stream."""
    if streamed:
        return (await stream(client, messages, options=options))[1]
    answer: ChatResponse[Any] = await client.get_response(messages, options=options)
    return answer


@pytest.mark.parametrize("model", ["echo", "Mistral-Large"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_goes_back(
    make: Make, endpoint: LocalEndpoint, model: str, streamed: bool
) -> None:
    weather = Weather()
    endpoint.script(model, Scripted("Let me see.", (OSLO,)), "Sunny there.")
    answer = await call(make(model), streamed, QUESTION, tools=weather.tools)
    assert weather.calls == ["Oslo"]
    assert answer.text.endswith("Sunny there.")
    assert [message.role for message in answer.messages] == ["assistant", "tool", "assistant"]
    _, called, result = chat_body(endpoint)["messages"]
    assert called["content"] == "Let me see."
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    assert result["content"] == "Sunny in Oslo"
    assert result["tool_call_id"] == called["tool_calls"][0]["id"]
    schema = chat_body(endpoint.requests[0])["tools"][0]["function"]
    assert schema["name"] == "get_weather"
    assert schema["parameters"]["required"] == ["city"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_parallel_calls_are_all_answered(
    make: Make, endpoint: LocalEndpoint, streamed: bool
) -> None:
    weather = Weather()
    calls = (OSLO, ScriptedCall("get_weather", {"city": "Rome"}, "c2"), ScriptedCall("get_time"))
    endpoint.script("echo", Scripted(tool_calls=calls), "Done.")
    answer = await call(make(), streamed, QUESTION, tools=weather.tools)
    assert sorted(weather.calls) == ["Oslo", "Rome", "time"]
    assert answer.text == "Done."
    results = chat_body(endpoint)["messages"][2:]
    assert [each["content"] for each in results] == ["Sunny in Oslo", "Sunny in Rome", "12:00"]


async def test_parts_of_parallel_calls_may_alternate(server: RawServer, url: str) -> None:
    # microsoft/agent-framework#8337
    def piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        named = {"name": more.pop("name")} if "name" in more else {}
        function = {"arguments": arguments, **named}
        return part(tool_calls=[{"index": index, "function": function, **more}])

    pieces = [
        piece(0, "", id="c1", type="function", name="get_weather"),
        piece(1, "", id="c2", type="function", name="get_weather"),
        piece(0, '{"city": '),
        piece(1, '{"city": '),
        piece(1, '"Rome"}'),
        piece(0, '"Oslo"}'),
        part(None, "tool_calls"),
    ]
    server.will(sse(events(*pieces)), sse(events(part("Done.", "stop"))))
    weather = Weather()
    _, answer = await stream(client(url), QUESTION, options={"tools": weather.tools})
    assert sorted(weather.calls) == ["Oslo", "Rome"]
    _, called, *results = server.received[1].request_body["messages"]
    assert [each["id"] for each in called["tool_calls"]] == ["c1", "c2"]
    assert [each["content"] for each in results] == ["Sunny in Oslo", "Sunny in Rome"]
    assert answer.text == "Done."


async def test_two_calls_with_one_id_are_two_calls(server: RawServer, url: str) -> None:
    def piece(index: int, city: str) -> dict[str, Any]:
        function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
        return {"index": index, "id": "same", "type": "function", "function": function}

    server.will(
        sse(events(part(tool_calls=[piece(0, "Oslo"), piece(1, "Rome")]), part(None, "stop"))),
        sse(events(part("Done.", "stop"))),
    )
    weather = Weather()
    await stream(client(url), QUESTION, options={"tools": weather.tools})
    assert sorted(weather.calls) == ["Oslo", "Rome"]


@pytest.mark.parametrize("arguments", ["{broken", '"text"', '{"town": "Oslo"}'])
@pytest.mark.parametrize("streamed", [False, True])
async def test_wrong_arguments_go_back_as_an_error(
    make: Make, endpoint: LocalEndpoint, streamed: bool, arguments: str, address: str
) -> None:
    weather = Weather()
    wrong = ScriptedCall("get_weather", arguments, "c1")
    endpoint.script("echo", Scripted(tool_calls=(wrong,)), Scripted(tool_calls=(OSLO,)), "Sunny.")
    answer = await call(make(), streamed, QUESTION, tools=weather.tools)
    assert weather.calls == ["Oslo"]
    assert answer.text == "Sunny."
    _, called, result = chat_body(endpoint.requests[1])["messages"]
    back = called["tool_calls"][0]["function"]["arguments"]
    if wire_of(address) == "messages":  # which have objects alone
        assert isinstance(json.loads(back), dict)
    else:
        assert back == arguments
    assert "Error" in result["content"]


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_may_await_approval(
    make: Make, endpoint: LocalEndpoint, streamed: bool, approved: bool
) -> None:
    removed: list[str] = []

    @tool(approval_mode="always_require")
    def remove(name: str) -> str:
        """Remove a file."""
        removed.append(name)
        return "gone"

    endpoint.script(
        "echo", Scripted(tool_calls=(ScriptedCall("remove", {"name": "a"}, "c1"),)), "Done."
    )
    agent = make().as_agent(tools=[remove])
    session = agent.create_session()
    if streamed:
        running = agent.run("Remove a", stream=True, session=session)
        async for _ in running:
            pass
        waiting = await running.get_final_response()
    else:
        waiting = await agent.run("Remove a", session=session)
    (request,) = waiting.user_input_requests
    assert removed == []
    assert request.function_call is not None
    assert request.function_call.parse_arguments() == {"name": "a"}
    decision = Message("user", [request.to_function_approval_response(approved)])
    answer = await agent.run(decision, session=session)
    assert answer.text == "Done."
    assert removed == ["a"] * approved
    roles = [each["role"] for each in chat_body(endpoint)["messages"]]
    assert roles == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("choice", "wire", "names"),
    [
        ("auto", "auto", ["get_weather", "get_time"]),
        ({"mode": "required"}, "required", ["get_weather", "get_time"]),
        (
            {"mode": "required", "required_function_name": "get_time"},
            "get_time",
            ["get_weather", "get_time"],
        ),
        ({"mode": "auto", "allowed_tools": ["get_time"]}, "auto", ["get_time"]),
        ("none", "none", ["get_weather", "get_time"]),
    ],
)
def test_the_choice_of_a_tool_is_cores(choice: Any, wire: str, names: list[str]) -> None:
    options = {"tools": Weather().tools, "tool_choice": choice, "allow_multiple_tool_calls": False}
    write_tools(options)
    assert options["tool_choice"] == wire
    assert options["parallel_tool_calls"] is False
    assert [each["function"]["name"] for each in options["tools"]] == names


def test_without_tools_nothing_of_them_is_sent() -> None:
    options = {"tool_choice": "auto", "allow_multiple_tool_calls": True, "tools": None}
    write_tools(options)
    assert options == {}


async def test_a_named_tool_is_required_on_the_wire(server: RawServer, url: str) -> None:
    server.will(reply(chat()))
    choice = {"mode": "required", "required_function_name": "get_time"}
    await client(url).get_response(
        MESSAGE, options={"tools": Weather().tools, "tool_choice": choice}
    )
    sent = server.received[0].request_body["tool_choice"]
    assert sent == {"type": "function", "function": {"name": "get_time"}}


async def test_tools_of_other_forms_are_sent_as_they_are(server: RawServer, url: str) -> None:
    def plain(city: str) -> str:
        """Return a city."""
        return city

    class Server:
        """A server of tools, as MCP has them."""

        functions = Weather().tools

    own = {"type": "mcp", "server_label": "docs"}
    options: dict[str, Any] = {"tools": [plain, own]}
    write_tools(options)
    assert options["tools"][0]["function"]["name"] == "plain"
    assert options["tools"][1] == own
    options = {"tools": [Server()]}
    write_tools(options)
    assert [each["function"]["name"] for each in options["tools"]] == ["get_weather", "get_time"]


async def test_usage_of_all_turns_adds_up(make: Make, endpoint: LocalEndpoint) -> None:
    def script() -> None:
        first = Scripted(tool_calls=(OSLO,), prompt_tokens=5, completion_tokens=2)
        endpoint.script("echo", first, Scripted("Sunny.", prompt_tokens=9, completion_tokens=1))

    script()
    whole = await call(make(), False, QUESTION, tools=Weather().tools)
    script()
    streamed = await call(make(), True, QUESTION, tools=Weather().tools)
    for answer in (whole, streamed):
        assert answer.usage_details is not None
        assert answer.usage_details["input_token_count"] == 14
        assert answer.usage_details["output_token_count"] == 3


async def test_text_comes_before_calls(server: RawServer, url: str) -> None:
    call_ = {"id": "c1", "type": "function", "function": {"name": "other", "arguments": "{}"}}
    server.will(reply(chat("Let me see.", "tool_calls", message={"tool_calls": [call_]})))
    answer = await client(url).get_response(MESSAGE)
    kinds = [content.type for content in answer.messages[0].contents]
    assert kinds == ["text", "function_call"]
    assert isinstance(answer.messages[0].contents[1], Content)


async def test_whole_and_streamed_answers_are_equal(make: Make, endpoint: LocalEndpoint) -> None:
    endpoint.script("echo", Scripted(tool_calls=(OSLO,)), "A.", Scripted(tool_calls=(OSLO,)), "A.")
    whole, streamed = await both(make(), options={"tools": Weather().tools})
    shapes = [
        [(message.role, [each.type for each in message.contents]) for message in answer.messages]
        for answer in (whole, streamed)
    ]
    assert shapes[0] == shapes[1]
