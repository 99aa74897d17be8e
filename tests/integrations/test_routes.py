"""Every adapter takes a route where it takes a deployment: whole answers, streams and vectors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from azinfer.core import AsyncInferenceClient
from client_driver import KEY
from fleet import Fleet, rate_limit_reply
from raw_server import chat_reply, reply, vectors

FACTS = {"model_id": "text-embedding-3-small", "model_version": "1"}


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """A first endpoint that is always full, and a second that answers."""
    fleet = Fleet("ab")
    fleet["a"].will(rate_limit_reply(60))
    fleet["b"].choose = lambda request: (
        reply(vectors([1.0, 2.0]))
        if "embeddings" in request.target
        else chat_reply(request.json.get("stream", False), "from b")
    )
    yield fleet
    fleet.stop()


@pytest.fixture
async def client(fleet: Fleet) -> AsyncIterator[AsyncInferenceClient]:
    config = fleet.config(
        [["m@a"], ["m@b"]],
        deployments={"e@a": FACTS, "e@b": FACTS},
        routes={"vectors": {"tiers": [["e@a"], ["e@b"]]}},
    )
    async with AsyncInferenceClient.from_config(
        config, environ={"AZURE_AI_API_KEY": KEY}
    ) as client:
        yield client
        client.to_sync().close()


def assert_traced(metadata: Any) -> None:
    trace = metadata["routing"]
    assert (trace["route"], trace["endpoint"]) == ("chat", "b")
    assert trace["attempts"][-1]["status"] == 200


async def test_langchain_follows_a_route(client: AsyncInferenceClient, fleet: Fleet) -> None:
    from azinfer.langchain import AzInferEmbeddings, ChatAzInfer

    chat = ChatAzInfer(client=client, model="chat")
    answer = await chat.ainvoke("hi")
    assert answer.content == "from b"
    assert_traced(answer.response_metadata)
    assert "".join([str(part.content) async for part in chat.astream("hi")]) == "from b"
    assert (await chat.bind(model="m@b").ainvoke("hi")).content == "from b"
    embeddings = AzInferEmbeddings(client=client, model="vectors")
    assert await embeddings.aembed_query("x") == [1.0, 2.0]
    assert fleet.counts["a"] == 2


def test_langchain_in_sync_code(fleet: Fleet) -> None:
    from azinfer.core import InferenceClient
    from azinfer.langchain import ChatAzInfer

    config = fleet.config([["m@a"], ["m@b"]])
    with InferenceClient.from_config(config, environ={"AZURE_AI_API_KEY": KEY}) as client:
        chat = ChatAzInfer(client=client, model="chat")
        assert chat.invoke("hi").content == "from b"
        assert "".join(str(part.content) for part in chat.stream("hi")) == "from b"


async def test_llama_index_follows_a_route(client: AsyncInferenceClient) -> None:
    from llama_index.core.llms import ChatMessage

    from azinfer.llama_index import AzInferEmbedding, AzInferLLM

    llm = AzInferLLM(client=client, model="chat")
    answer = await llm.achat([ChatMessage("hi")])
    assert answer.message.content == "from b"
    assert_traced(answer.additional_kwargs)
    parts = [part.delta async for part in await llm.astream_chat([ChatMessage("hi")])]
    assert "".join(part or "" for part in parts) == "from b"
    embedding = AzInferEmbedding(client=client, model="vectors")
    assert await embedding.aget_text_embedding("x") == [1.0, 2.0]


async def test_semantic_kernel_follows_a_route(client: AsyncInferenceClient) -> None:
    from semantic_kernel.contents import ChatHistory

    from azinfer.semantic_kernel import (
        AzInferChatCompletion,
        AzInferChatPromptExecutionSettings,
        AzInferTextEmbedding,
    )

    service = AzInferChatCompletion(client=client, model="chat")
    history, settings = ChatHistory(), AzInferChatPromptExecutionSettings()
    history.add_user_message("hi")
    answer = await service.get_chat_message_content(history, settings)
    assert answer is not None
    assert str(answer) == "from b"
    assert_traced(answer.metadata)
    parts = [
        str(part) async for part in service.get_streaming_chat_message_content(history, settings)
    ]
    assert "".join(parts) == "from b"
    embedding = AzInferTextEmbedding(client=client, model="vectors")
    assert (await embedding.generate_embeddings(["x"])).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("streaming", [False, True])
async def test_ag2_follows_a_route(client: AsyncInferenceClient, streaming: bool) -> None:
    from ag2 import Agent

    from azinfer.ag2 import AzInferConfig

    agent = Agent("a", config=AzInferConfig(client=client, model="chat", streaming=streaming))
    assert (await agent.ask("hi")).body == "from b"


async def test_agent_framework_follows_a_route(client: AsyncInferenceClient) -> None:
    from agent_framework import Agent

    from azinfer.agent_framework import AzInferChatClient

    agent = Agent(client=AzInferChatClient(client=client, model="chat"))
    assert (await agent.run("hi")).text == "from b"
    parts = [update.text async for update in agent.run("hi", stream=True)]
    assert "".join(parts) == "from b"
