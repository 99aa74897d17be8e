"""LangGraph on Responses and Messages: agents that stop and go on from a SQLite file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from azinfer.core import InferenceClient, Message, Tool, ToolMessage, UserMessage
from azinfer.langchain import ChatAzInfer
from azinfer.local import LocalDeployment, LocalEndpoint, Scripted, ScriptedCall

LOOPS = 100
WIRES = pytest.mark.parametrize("wire", ["responses", "messages"])
ASK, RESULT = "What is the weather?", "sunny"
SCRIPT = (
    Scripted("", (ScriptedCall("weather", {}),), reasoning="I look.", contains=ASK, times=10**6),
    Scripted("It is sunny.", reasoning="It came.", contains=RESULT, times=10**6),
)


def weather() -> str:
    """The weather."""
    return RESULT


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """A model that thinks before each call and each answer."""
    with LocalEndpoint([LocalDeployment("thinker", script=SCRIPT)]) as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def fresh(endpoint: LocalEndpoint) -> None:
    endpoint.requests.clear()


def model_of(endpoint: LocalEndpoint, wire: str) -> ChatAzInfer:
    return ChatAzInfer(
        endpoint=endpoint.url,
        credential=endpoint.key,
        model="thinker",
        reasoning_effort="high",
        max_retries=0,
        model_kwargs={"wire": wire},
    )


def reasoning_in(body: Any, wire: str) -> int:
    """Return how many readable pieces of earlier reasoning a request contains."""
    if wire == "responses":
        items = [item for item in body["input"] if item.get("type") == "reasoning"]
        assert body["store"] is False
        assert all(item["encrypted_content"] and "id" not in item for item in items)
        return len(items)
    blocks = [
        block for turn in body["messages"] for block in turn["content"] if turn["role"] != "user"
    ]
    kinds = [block for block in blocks if block["type"] == "thinking"]
    assert all(block["signature"] for block in kinds)
    return len(kinds)


def check(endpoint: LocalEndpoint, wire: str) -> None:
    """Of each loop, four requests that were answered, with all reasoning so far."""
    requests = list(endpoint.requests)
    assert {request.status for request in requests} == {200}
    counts = [reasoning_in(request.body, wire) for request in requests]
    assert counts == [0, 1, 2, 3]


@WIRES
def test_loops_go_on_from_a_file_with_all_their_reasoning(
    endpoint: LocalEndpoint, wire: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "state.db")
    for loop in range(LOOPS):
        endpoint.requests.clear()
        config: Any = {"configurable": {"thread_id": str(loop)}}
        for turn in (1, 2):
            # A new model and a new connection each turn: nothing but the file is left.
            with SqliteSaver.from_conn_string(path) as saver:
                agent = create_agent(model_of(endpoint, wire), [weather], checkpointer=saver)
                state = agent.invoke({"messages": [HumanMessage(ASK)]}, config)
            assert state["messages"][-1].text == "It is sunny."
            assert len(state["messages"]) == 4 * turn
        check(endpoint, wire)


@WIRES
def test_loops_of_the_client_keep_all_their_reasoning(endpoint: LocalEndpoint, wire: Any) -> None:
    tools = [Tool("weather", parameters={"type": "object", "properties": {}})]
    options: dict[str, Any] = {"tools": tools, "reasoning_effort": "high"}
    client = InferenceClient(endpoint.url, endpoint.key, "thinker", wire=wire, max_retries=0)
    for _ in range(LOOPS):
        endpoint.requests.clear()
        history: list[Any] = []
        for _turn in (1, 2):
            history.append(UserMessage(ASK))
            answer = client.complete(history, **options)
            while answer.tool_calls:
                message: Message = answer.choices[0].message
                history += [message, *(ToolMessage(RESULT, each.id) for each in answer.tool_calls)]
                answer = client.complete(history, **options)
            history.append(answer.choices[0].message)
            assert answer.text == "It is sunny."
        check(endpoint, wire)
