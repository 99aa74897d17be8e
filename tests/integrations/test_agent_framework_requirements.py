"""Behaviour that users of the framework and of its OpenAI client rely on, and other wires."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest
from agent_framework import (
    Agent,
    AgentSession,
    ChatResponse,
    Content,
    Message,
    SupportsCodeInterpreterTool,
    SupportsFileSearchTool,
    SupportsImageGenerationTool,
    SupportsMCPTool,
    SupportsWebSearchTool,
)
from agent_framework.exceptions import ChatClientException

from agent_clients import MESSAGE, Weather, both, client, stream, user
from azinfer.agent_framework import AzInferChatClient
from azinfer.agent_framework.messages import to_messages
from azinfer.local import LocalDeployment, LocalEndpoint, Scripted, ScriptedCall
from raw_server import RawServer, chat, events, failure, part, reply
from raw_server import stream as sse

STATE = {"wire": "responses", "items": [{"type": "reasoning", "encrypted_content": "x"}]}
OSLO = ScriptedCall("get_weather", {"city": "Oslo"}, "c1")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """A deployment that several wires reach."""
    with LocalEndpoint([LocalDeployment("echo")]) as endpoint:
        yield endpoint


@pytest.fixture
def responses(endpoint: LocalEndpoint) -> AzInferChatClient:
    """A client that uses the Responses API."""
    endpoint.reset()
    endpoint.requests.clear()
    return AzInferChatClient(endpoint.url, endpoint.key, "echo", wire="responses")


def test_a_client_is_what_agents_accept() -> None:
    chat_client = AzInferChatClient("https://contoso.openai.azure.com", "k", "m")
    assert Agent(client=chat_client, instructions="Be brief.").client is chat_client
    assert chat_client.as_agent(name="guide").client is chat_client


def test_a_client_says_which_hosted_tools_it_has() -> None:
    # On Azure the chat wire has none.
    chat_client = AzInferChatClient("https://contoso.openai.azure.com", "k", "m")
    for kind in (
        SupportsCodeInterpreterTool,
        SupportsFileSearchTool,
        SupportsImageGenerationTool,
        SupportsMCPTool,
        SupportsWebSearchTool,
    ):
        assert not isinstance(chat_client, kind)


def test_calls_take_the_arguments_of_the_framework() -> None:
    parameters = inspect.signature(AzInferChatClient.get_response).parameters
    assert {"messages", "stream", "options", "middleware", "client_kwargs"} <= set(parameters)


@pytest.mark.parametrize("name", ["verbosity", "logit_bias", "prediction", "reasoning_effort"])
async def test_options_of_openai_models_pass(server: RawServer, url: str, name: str) -> None:
    server.will(reply(chat()))
    options: Any = {name: {"a": 1}}
    await client(url).get_response(MESSAGE, options=options)
    assert server.received[0].request_body[name] == {"a": 1}


async def test_the_services_words_are_in_the_error(server: RawServer, url: str) -> None:
    server.will(reply(failure("invalid_request", "Invalid tool type: mcp"), 400))
    tools = [{"type": "mcp", "server_label": "docs"}]
    with pytest.raises(ChatClientException, match="Invalid tool type: mcp"):
        await client(url).get_response(MESSAGE, options={"tools": tools})
    assert server.received[0].request_body["tools"] == tools


@pytest.mark.parametrize("finish", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ['{"na', ""])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_call_that_was_cut_off_never_runs(
    server: RawServer, url: str, streamed: bool, finish: str, arguments: str
) -> None:
    weather = Weather()
    function = {"name": "get_time", "arguments": arguments}
    calls = [{"index": 0, "id": "c1", "type": "function", "function": function}]
    server.will(
        sse(events(part(tool_calls=calls), part(None, finish)))
        if streamed
        else reply(chat(None, finish, message={"tool_calls": calls})),
        reply(chat()),
    )
    chat_client = client(url)
    options: Any = {"tools": weather.tools}
    if streamed:
        _, answer = await stream(chat_client, options=options)
    else:
        answer = await chat_client.get_response(MESSAGE, options=options)
    assert weather.calls == []
    assert answer.finish_reason == finish
    (call,) = [each for each in answer.messages[0].contents if each.type == "function_call"]
    assert call.informational_only
    # Nor does it go back to the model, which would miss its result.
    await chat_client.get_response([*MESSAGE, *answer.messages, *MESSAGE])
    assert [each["role"] for each in server.received[-1].request_body["messages"]] == [
        "user",
        "user",
    ]


async def test_the_responses_wire_answers_whole_and_streamed(
    responses: AzInferChatClient, endpoint: LocalEndpoint
) -> None:
    for answer in await both(responses):
        assert answer.text == "This is a synthetic answer to: hi"
        assert answer.usage_details is not None
        assert answer.usage_details["output_token_count"]
        assert answer.finish_reason == "stop"
        assert answer.conversation_id is None
    assert endpoint.requests[-1].body["input"]
    assert endpoint.requests[-1].body["store"] is False


async def test_one_call_may_use_another_wire(endpoint: LocalEndpoint) -> None:
    endpoint.requests.clear()
    chat_client = AzInferChatClient(endpoint.url, endpoint.key, "echo")
    options: Any = {"wire": "responses"}
    await chat_client.get_response(MESSAGE, options=options)
    await chat_client.get_response(MESSAGE)
    assert ["input" in each.body for each in endpoint.requests] == [True, False]


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_run_on_the_responses_wire(
    responses: AzInferChatClient, endpoint: LocalEndpoint, streamed: bool
) -> None:
    weather = Weather()
    endpoint.script("echo", Scripted(tool_calls=(OSLO,), reasoning="Hm."), "Sunny.")
    session = (agent := responses.as_agent(tools=weather.tools)).create_session()
    if streamed:
        running = agent.run("The weather?", stream=True, session=session)
        async for _ in running:
            pass
        text = (await running.get_final_response()).text
    else:
        text = (await agent.run("The weather?", session=session)).text
    assert (text, weather.calls) == ("Sunny.", ["Oslo"])
    kinds = [item.get("type") for item in endpoint.requests[-1].body["input"]]
    assert "function_call" in kinds
    assert kinds[-1] == "function_call_output"


def answer_with_state(text: str = "Yes.") -> Message:
    """Return an answer with state, as another wire leaves it in a session."""
    thought = Content.from_text_reasoning(text="Hm.")
    state = Content.from_text_reasoning(additional_properties={"state": STATE})
    return Message("assistant", [thought, text, state])


def test_state_goes_back_through_a_stored_session() -> None:
    session = AgentSession()
    session.state["messages"] = [answer_with_state().to_dict()]
    saved = json.loads(json.dumps(session.to_dict()))
    again = AgentSession.from_dict(saved).state["messages"]
    assert to_messages(again) == [
        {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm.", "state": STATE}
    ]


async def test_the_chat_wire_leaves_other_wires_state_out(server: RawServer, url: str) -> None:
    server.will(reply(chat()))
    await client(url).get_response([user("hi"), answer_with_state(), user("And?")])
    assert server.received[0].request_body["messages"][1] == {
        "role": "assistant",
        "content": "Yes.",
    }


async def test_reasoning_goes_back_to_models_that_want_it(server: RawServer, url: str) -> None:
    server.will(reply(chat()))
    options: Any = {"send_reasoning": True}
    thought = Content.from_text_reasoning(text="Hm.")
    messages = [user("hi"), Message("assistant", [thought, "Yes."]), user("And?")]
    answer: ChatResponse[Any] = await client(url).get_response(messages, options=options)
    assert answer.text == "hello"
    assert server.received[0].request_body["messages"][1]["reasoning_content"] == "Hm."


async def test_encrypted_reasoning_is_kept_whole_and_streamed(server: RawServer) -> None:
    item = {"type": "reasoning", "id": "r1", "summary": [], "encrypted_content": "secret"}
    text = {"type": "output_text", "text": "Yes.", "annotations": []}
    message = {"type": "message", "id": "m1", "role": "assistant", "content": [text]}
    whole = {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "m",
        "created_at": 1,
        "output": [item, {**message, "status": "completed"}],
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    }
    done = {"type": "response.completed", "response": whole}
    deltas = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {**message, "content": []},
        },
        {
            "type": "response.output_text.delta",
            "output_index": 1,
            "content_index": 0,
            "delta": "Yes.",
        },
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        done,
    ]
    server.will(reply(whole), sse(events(*deltas)), reply(whole), reply(whole))
    chat_client = client(f"{server.url}/openai/v1", wire="responses")
    for answer in await both(chat_client):
        assert answer.text == "Yes."
        await chat_client.get_response([*MESSAGE, *answer.messages, *MESSAGE])
        sent = json.dumps(server.received[-1].request_body["input"])
        assert "secret" in sent
