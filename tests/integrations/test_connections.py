"""What all adapters share: their User-Agent, ready clients with options, and kinds of text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

from azinfer.core import InferenceClient, Timeout, __version__
from azinfer.langchain import AzInferEmbeddings, ChatAzInfer
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.semantic_kernel import AzInferChatCompletion, AzInferTextEmbedding
from client_driver import KEY, SURFACES
from frameworks import CHATS
from raw_server import RawServer, chat_reply, reply, vectors

Ask = Callable[..., Any]


@pytest.fixture(params=CHATS)
def framework(request: pytest.FixtureRequest) -> str:
    """The distribution of a framework."""
    name: str = request.param
    return name


def test_a_request_names_the_adapter_and_the_version_of_its_framework(
    server: RawServer, framework: str
) -> None:
    server.will(chat_reply(False))
    url = f"{server.url}/openai/v1"
    CHATS[framework](endpoint=url, credential=KEY, model="gpt-4.1")
    CHATS[framework](client=InferenceClient(url, KEY, "gpt-4.1"))
    own = InferenceClient(url, KEY, "gpt-4.1", headers={"User-Agent": "mine"})
    CHATS[framework](client=own)
    agents = [request.header("user-agent") or "" for request in server.received]
    expected = f"azinfer/{__version__} {framework}/{version(framework)}"
    assert agents[0].endswith(expected)
    assert agents[1].endswith(expected)
    assert agents[2] == "mine"


def test_a_ready_client_takes_the_options_of_the_adapter(server: RawServer, framework: str) -> None:
    server.will(chat_reply(False))
    client = InferenceClient(server.url, KEY, "gpt-4.1", model_id="gpt-4.1", headers={"x-a": "1"})
    CHATS[framework](client=client, surface="models", model="o3", headers={"x-b": "2"})
    (request,) = server.received
    assert request.target.startswith("/models/")
    assert request.json["model"] == "o3"
    assert (request.header("x-a"), request.header("x-b")) == ("1", "2")
    assert (client.model, client.endpoint.surface.name) == ("gpt-4.1", "v1")


def test_a_ready_client_keeps_its_own_options() -> None:
    client = InferenceClient("https://contoso.openai.azure.com", KEY, timeout=9, max_retries=7)
    cores = (
        ChatAzInfer(client=client, model="m").core_client,
        AzInferLLM(client=client, model="m").core_client,
        AzInferChatCompletion(client=client, model="m").client,
    )
    for core in cores:
        assert (core.timeout, core.max_retries) == (Timeout.of(9), 7)


def embed_langchain(url: str, **options: Any) -> None:
    embeddings = AzInferEmbeddings(endpoint=url, credential=KEY, **options)
    embeddings.embed_query("a")
    embeddings.embed_documents(["a"])


def embed_llama_index(url: str, **options: Any) -> None:
    embedding = AzInferEmbedding(endpoint=url, credential=KEY, **options)
    embedding.get_query_embedding("a")
    embedding.get_text_embedding("a")


def embed_semantic_kernel(url: str, **options: Any) -> None:
    service = AzInferTextEmbedding(url, KEY, **options)

    async def embed() -> None:
        await service.generate_embeddings(["a"])
        await service.generate_raw_embeddings(["a"])

    asyncio.run(embed())


@pytest.mark.parametrize("embed", [embed_langchain, embed_llama_index, embed_semantic_kernel])
@pytest.mark.parametrize(
    ("model", "model_id", "has_kinds"),
    [
        ("embed-small", None, False),
        ("text-embedding-3-small", None, False),
        ("search", "Cohere-embed-v3-multilingual", True),
        ("Cohere-embed-v3-english", None, True),
    ],
)
def test_kinds_of_text_are_sent_where_model_and_surface_have_them(
    server: RawServer, surface: str, embed: Ask, model: str, model_id: str | None, has_kinds: bool
) -> None:
    server.will(reply(vectors([0.5, 0.5])))
    embed(server.url + SURFACES[surface], model=model, model_id=model_id)
    kinds = [request.json.get("input_type") for request in server.received]
    expected = ["query", "document"] if has_kinds and surface == "models" else [None, None]
    assert kinds == expected
