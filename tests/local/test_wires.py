"""azinfer's own client on every wire of the local endpoint: chat, Responses and Messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    ChatCompletion,
    InferenceClient,
    InferenceError,
    RateLimitError,
    SystemMessage,
    ToolMessage,
    UserMessage,
)
from azinfer.local import (
    EngineError,
    LocalDeployment,
    LocalEndpoint,
    Piece,
    Prompt,
    Scripted,
    ScriptedCall,
)

WIRES = ("chat", "responses", "messages")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ASK = "How is the weather in Oslo?"
# What each wire sends back of an answer with reasoning, a text and a call.
ECHOED = {
    "responses": ["reasoning", "message", "function_call"],
    "messages": ["thinking", "text", "tool_use"],
}


class Failing:
    """Writes a word, and fails as overloaded."""

    async def chat(self, prompt: Prompt) -> Any:
        yield Piece("Once")
        raise EngineError("Too much.", "429", status=429)

    async def aclose(self) -> None:
        pass


def script() -> tuple[Scripted, ...]:
    """A model that thinks, says something and calls a tool, and then answers."""
    call = ScriptedCall("get_weather", {"city": "Oslo"})
    return (
        Scripted("I look.", (call,), reasoning="It depends.", contains="How is"),
        Scripted("It is sunny.", contains="Sunny"),
        Scripted("You are welcome.", contains="Thanks"),
    )


def deployments() -> list[LocalDeployment]:
    """An unknown model, and models that the real service serves on one wire alone."""
    names = ("thinker", "claude-sonnet-5", "gpt-5-pro", "gpt-5.4")
    scripted = [LocalDeployment(name, script=script()) for name in names]
    hidden = LocalDeployment("my-claude", "claude-opus-5", script=script())
    return [*scripted, hidden, LocalDeployment("failing", engine=Failing())]


@pytest.fixture(scope="module")
def resource() -> Iterator[LocalEndpoint]:
    with LocalEndpoint(deployments(), key="local-key") as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def clean(resource: LocalEndpoint) -> Iterator[None]:
    yield
    resource.reset()


def open_client(resource: LocalEndpoint, **options: Any) -> InferenceClient:
    arguments = {"model": "thinker", "max_retries": 0, **options}
    return InferenceClient(resource.url, credential=resource.key, **arguments)


def finish(answer: ChatCompletion, history: list[Any]) -> list[Any]:
    """Return a history with an answer, and the results of its calls."""
    results = [ToolMessage("Sunny", call.id) for call in answer.tool_calls]
    return [*history, answer.choices[0].message, *results]


def echoed_kinds(resource: LocalEndpoint) -> list[str]:
    """Return the kinds of what the newest request sent back of the answer before."""
    body = resource.requests[-1].body
    if "input" in body:
        return [item["type"] for item in body["input"][1:4]]
    return [block["type"] for block in body["messages"][1]["content"]]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "wire", "expected"),
    [
        *[("thinker", wire, wire) for wire in WIRES],
        ("claude-sonnet-5", None, "messages"),
        ("gpt-5-pro", None, "responses"),
        ("gpt-5.4", None, "responses"),
        ("my-claude", None, "messages"),  # learned from the refusal of chat
    ],
)
def test_a_tool_loop_is_the_same_on_every_wire(
    resource: LocalEndpoint, model: str, wire: Any, expected: str, stream: bool
) -> None:
    history: list[Any] = [UserMessage(ASK)]
    with open_client(resource, model=model, wire=wire) as client:
        if stream:
            with client.stream(history, tools=[TOOL], reasoning_effort="low") as chunks:
                text = "".join(chunk.text for chunk in chunks)
            answer = chunks.completion
            assert text == "I look."
        else:
            answer = client.complete(history, tools=[TOOL], reasoning_effort="low")
        assert answer.routing is not None
        assert answer.routing.wire == expected
        assert (answer.text, answer.finish_reason) == ("I look.", "tool_calls")
        (call,) = answer.tool_calls
        assert (call.function.name, call.function.parse_arguments()) == (
            "get_weather",
            {"city": "Oslo"},
        )
        last = client.complete(finish(answer, history), tools=[TOOL], reasoning_effort="low")
    assert (last.text, last.finish_reason) == ("It is sunny.", "stop")
    if expected in ECHOED:
        assert echoed_kinds(resource) == ECHOED[expected]


@pytest.mark.parametrize("wire", ["responses", "messages"])
def test_a_hundred_loops_lose_no_reasoning(resource: LocalEndpoint, wire: Any) -> None:
    async def loop(client: AsyncInferenceClient) -> list[str]:
        history: list[Any] = [UserMessage(ASK)]
        answer = await client.complete(history, tools=[TOOL], reasoning_effort="low")
        history = [*finish(answer, history)]
        last = await client.complete(history, tools=[TOOL], reasoning_effort="low")
        return [last.text]

    async def main() -> list[list[str]]:
        client = AsyncInferenceClient(
            resource.url, credential=resource.key, model="thinker", wire=wire, max_retries=0
        )
        async with client:
            return await asyncio.gather(*(loop(client) for _ in range(100)))

    assert asyncio.run(main()) == [["It is sunny."]] * 100
    bodies = [entry.body for entry in resource.requests]
    turns = [body["input"] if wire == "responses" else body["messages"] for body in bodies]
    second = [turn for turn in turns if len(turn) > 1]
    assert [entry.status for entry in resource.requests] == [200] * 200
    blocks = [turn[1]["content"] if wire == "messages" else turn[1:4] for turn in second]
    kinds = [[block["type"] for block in each] for each in blocks]
    assert kinds == [ECHOED[wire]] * 100
    if wire == "responses":
        assert {body["store"] for body in bodies} == {False}
        assert all(turn[1]["encrypted_content"] for turn in second)


def test_a_history_continues_on_other_wires_and_resources(resource: LocalEndpoint) -> None:
    history: list[Any] = [SystemMessage("Be brief."), UserMessage(ASK)]
    with LocalEndpoint(deployments(), key="local-key") as other:
        for first in WIRES:
            with open_client(resource, wire=first) as client:
                answer = client.complete(history, tools=[TOOL])
            continued = finish(answer, history)
            for target in (resource, other):
                for second in WIRES:
                    with open_client(target, wire=second) as client:
                        last = client.complete(continued, tools=[TOOL])
                        assert last.text == "It is sunny."
                        thanks = [*finish(last, continued), UserMessage("Thanks")]
                        assert client.complete(thanks, tools=[TOOL]).text == "You are welcome."


@pytest.mark.parametrize("wire", WIRES)
def test_errors_are_the_same_classes_on_every_wire(resource: LocalEndpoint, wire: Any) -> None:
    with open_client(resource, model="failing", wire=wire) as client:
        with pytest.raises(RateLimitError, match="Too much"):
            client.complete([UserMessage(ASK)])
        texts = []
        with (
            pytest.raises(InferenceError, match="Too much"),
            client.stream([UserMessage(ASK)]) as chunks,
        ):
            texts += [chunk.text for chunk in chunks]


def test_documents_are_ranked(resource: LocalEndpoint) -> None:
    with open_client(resource) as client:
        ranking = client.rerank("Oslo", ["Bergen", "Oslo in winter"], top_n=1)
    assert [(each.index, each.document) for each in ranking] == [(1, "Oslo in winter")]
