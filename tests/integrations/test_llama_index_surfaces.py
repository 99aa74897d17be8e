"""Chats, completions and streams of LlamaIndex, on each of the three main surfaces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from azinfer import core
from azinfer.local import LocalEndpoint
from llama_index_calls import USER, call_method, deltas, ping, tool
from raw_server import (
    Peer,
    RawServer,
    answer,
    chat,
    events,
    failure,
    part,
    raw,
    reply,
    stream,
)

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("own_loop")


def bodies_of(server: RawServer) -> list[Any]:
    return [request.json for request in server.received]


def fragments(*calls: tuple[int, str, str, str]) -> dict[str, Any]:
    """A chunk with parts of tool calls: index, id, name and arguments of each."""
    return part(
        tool_calls=[
            {
                "index": at,
                **({"id": call_id, "type": "function"} if call_id else {}),
                "function": {**({"name": name} if name else {}), "arguments": arguments},
            }
            for at, call_id, name, arguments in calls
        ]
    )


def test_a_chat_is_answered_by_the_deployment_that_is_named(
    llm: Make, llama_endpoint: LocalEndpoint, kind: str
) -> None:
    response = call_method(llm(), kind, "chat", USER)
    assert response.message.role == "assistant"
    assert response.message.content == "This is a synthetic answer to: hi"
    assert llama_endpoint.requests[-1].deployment == "Mistral-Large"


def test_calls_run_concurrently(component: Make, server: RawServer) -> None:
    def when_all_are_there(peer: Peer) -> None:
        together = server.wait_until(lambda: len(server.received) >= 10)
        peer.send(answer(chat("together" if together else "alone")))

    server.will(when_all_are_there)
    model = component()

    async def at_once() -> list[str]:
        result = await asyncio.gather(*(model.achat(USER) for _ in range(10)))
        return [each.message.content for each in result]

    assert asyncio.run(at_once()) == ["together"] * 10


def test_calls_in_a_row_use_one_connection(component: Make, server: RawServer, kind: str) -> None:
    server.will(reply(chat()))
    model = component()

    async def run_calls() -> None:
        for _ in range(10):
            await model.achat(USER)

    if kind == "async":
        asyncio.run(run_calls())
    else:
        for _ in range(10):
            model.chat(USER)
    assert (len(server.received), server.connections) == (10, 1)


def test_a_stream_comes_in_parts_that_add_up(llm: Make, kind: str) -> None:
    response = call_method(llm(), kind, "stream_chat", USER)
    assert len(response) > 4
    assert deltas(response) == response[-1].message.content == "This is a synthetic answer to: hi"
    assert all(
        after.message.content.startswith(before.message.content)
        for before, after in pairwise(response)
    )


def test_a_stream_that_runs_out_of_tokens_ends_and_says_so(llm: Make, kind: str) -> None:
    response = call_method(llm("prod", max_tokens=3), kind, "stream_chat", USER)
    assert deltas(response) == response[-1].message.content == "This is a"
    assert response[-1].additional_kwargs["finish_reason"] == "length"
    assert response[-1].additional_kwargs["completion_tokens"] == 3


def test_a_prompt_is_completed(llm: Make, kind: str) -> None:
    whole = call_method(llm("paris"), kind, "complete", "The capital of France?")
    assert whole.text == "Paris."
    streamed = call_method(llm("paris"), kind, "stream_complete", "The capital of France?")
    assert deltas(streamed) == streamed[-1].text == "Paris."


def test_the_handler_counts_the_tokens_of_the_service(llm: Make, kind: str) -> None:
    for method in ("chat", "stream_chat", "complete", "stream_complete"):
        counter = TokenCountingHandler()
        model = llm("paris", callback_manager=CallbackManager([counter]))
        response = call_method(model, kind, method, "hi" if "complete" in method else USER)
        usage = (response[-1] if isinstance(response, list) else response).raw["usage"]
        assert usage["prompt_tokens"] > 0
        counts = (counter.prompt_llm_token_count, counter.completion_llm_token_count)
        assert counts == (usage["prompt_tokens"], usage["completion_tokens"])
        assert len(counter.llm_token_counts) == 1


def test_metadata_is_known_without_a_request(component: Make, server: RawServer) -> None:
    async def inside_a_loop() -> Any:
        return component(model_id="mistral-large").metadata

    response = asyncio.run(inside_a_loop())
    assert (response.is_chat_model, response.is_function_calling_model) == (True, True)
    assert (response.model_name, response.context_window) == ("mistral-large", 32_768)
    assert component(context_window=32_000).metadata.context_window == 32_000
    assert not server.received


def test_reasoning_is_a_block(component: Make, server: RawServer, kind: str) -> None:
    server.will(
        reply(chat("4", message={"reasoning_content": "2+2"})),
        reply(chat("<think>2+2</think>4")),
    )
    for _ in range(2):
        response = call_method(component(), kind, "chat", USER)
        assert [block.block_type for block in response.message.blocks] == ["thinking", "text"]
        assert (response.message.blocks[0].content, response.message.content) == ("2+2", "4")


def test_reasoning_streams_as_thinking_deltas(
    component: Make, server: RawServer, kind: str
) -> None:
    thoughts = [part(reasoning_content="2+"), part(reasoning_content="2")]
    server.will(stream(events(*thoughts, part("4", "stop"))))
    response = call_method(component(), kind, "stream_chat", USER)
    thought = "".join(each.additional_kwargs.get("thinking_delta", "") for each in response)
    assert (thought, deltas(response)) == ("2+2", "4")
    assert response[-1].message.blocks[0].content == "2+2"


def test_reasoning_models_take_the_defaults(component: Make, server: RawServer, kind: str) -> None:
    refused = failure("unsupported_parameter", "Use 'max_completion_tokens'.", param="max_tokens")
    server.will(reply(chat()), reply(chat()), reply(refused, 400), reply(chat()))
    call_method(component(model_id="o3"), kind, "chat", USER)
    call_method(component(model_id="o3", max_tokens=9), kind, "chat", USER)
    call_method(component(max_tokens=9), kind, "chat", USER)
    first, second, third, fourth = bodies_of(server)
    assert not {"temperature", "max_tokens", "max_completion_tokens"} & first.keys()
    assert second["max_completion_tokens"] == fourth["max_completion_tokens"] == 9
    assert third["max_tokens"] == 9


def test_parameters_that_are_unknown_pass(
    component: Make, server: RawServer, path: str, kind: str
) -> None:
    server.will(reply(chat()))
    call_method(component(additional_kwargs={"safe_prompt": True}), kind, "chat", USER)
    assert bodies_of(server)[0]["safe_prompt"] is True
    passed = server.received[0].header("extra-parameters")
    assert passed == ("pass-through" if path == "/models" else None)


def test_parameters_of_a_call_win(component: Make, server: RawServer, kind: str) -> None:
    server.will(reply(chat()))
    model = component(temperature=0.5, max_tokens=9, additional_kwargs={"stop": ["x"]})
    call_method(model, kind, "chat", USER, temperature=0, max_tokens=3, stop=["y"])
    (body,) = bodies_of(server)
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0, 3, ["y"])


def test_chunks_without_a_delta_are_accepted(component: Make, server: RawServer, kind: str) -> None:
    results = {"hate": {"filtered": False, "severity": "safe"}}
    note: dict[str, Any] = {"index": 0, "finish_reason": None, "content_filter_results": results}
    note |= {"content_filter_offsets": {"check_offset": 1}}
    bare = {"id": "", "model": "", "choices": [note]}
    server.will(stream(events({"choices": []}, part("a"), bare, part("b", "stop"), bare)))
    assert deltas(call_method(component(), kind, "stream_chat", USER)) == "ab"


def test_interleaved_fragments_stay_apart(component: Make, server: RawServer, kind: str) -> None:
    pieces = [
        fragments((0, "c1", "get_weather", "")),
        fragments((1, "c2", "ping", "")),
        fragments((0, "", "", '{"city":')),
        fragments((1, "", "", "{")),
        fragments((0, "", "", ' "Delft"}'), (1, "", "", "}")),
        part(None, "tool_calls"),
    ]
    server.will(stream(events(*pieces)))
    model = component()
    named = {"allow_parallel_tool_calls": True}
    response = call_method(
        model, kind, "stream_chat_with_tools", [tool(), tool(ping)], "hi", **named
    )
    for at in (-1, -2):
        called = model.get_tool_calls_from_response(response[at])
        assert [(each.tool_id, each.tool_name, each.tool_kwargs) for each in called] == [
            ("c1", "get_weather", {"city": "Delft"}),
            ("c2", "ping", {}),
        ]


def test_a_stream_may_be_cut_and_commented_anywhere(
    component: Make, server: RawServer, kind: str
) -> None:
    data = events(part("größe"), part(" 🙂", "stop"))
    data = b": ping\r\n\r\n" + data.replace(b"\\u00f6", "ö".encode()).replace(b"\n", b"\r\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    def byte_by_byte(peer: Peer) -> None:
        for at in range(len(head + data)):
            peer.send((head + data)[at : at + 1])
        peer.close()

    server.will(byte_by_byte)
    assert deltas(call_method(component(), kind, "stream_chat", USER)) == "größe 🙂"


def test_an_error_in_a_stream_is_raised(component: Make, server: RawServer, kind: str) -> None:
    server.will(stream(events(part("a"), failure("server_error", "it broke"))))
    seen: list[str] = []
    model = component()

    async def run_calls() -> None:
        async for each in await model.astream_chat(USER):
            seen.append(each.delta)

    def read() -> None:
        if kind == "async":
            asyncio.run(run_calls())
        for each in model.stream_chat(USER):
            seen.append(each.delta)

    with pytest.raises(core.InferenceError, match="it broke"):
        read()
    assert seen == ["a"]


@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_stream_that_breaks_off_is_raised(
    component: Make, server: RawServer, kind: str, then: str
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    data = events(part("a"), part("b"), done=False)
    server.will(raw(head + b"content-length: 10000\r\n\r\n" + data, then))
    with pytest.raises(core.StreamInterruptedError) as caught:
        call_method(component(), kind, "stream_chat", USER)
    assert caught.value.partial is not None


def test_leaving_a_stream_early_closes_it(component: Make, server: RawServer, kind: str) -> None:
    server.will(stream(events(part("a"), part("b"), done=False), "stall"))
    model = component()

    async def leave_early() -> bool:
        async for _ in await model.astream_chat(USER):
            break
        return await asyncio.to_thread(server.wait_until, lambda: server.open_connections == 0)

    if kind == "async":
        assert asyncio.run(leave_early())
    else:
        for _ in model.stream_chat(USER):
            break
        assert server.wait_until(lambda: server.open_connections == 0)
