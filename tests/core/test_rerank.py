"""`client.rerank`, sync and async, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    ConfigurationError,
    DeploymentNotFoundError,
    InferenceClient,
    InvalidResponseError,
)
from azinfer.core.endpoint_knowledge import forget_endpoints
from raw_server import RawServer, failure, reply

DOCUMENTS = ["Delft", "Paris", "Rome"]
RESULTS = [{"index": 1, "relevance_score": 0.99}, {"index": 0, "relevance_score": 3.7e-05}]
ANSWER = {"id": "1", "results": RESULTS, "meta": {"billed_units": {"search_units": 1}}}


@pytest.fixture
def server() -> Iterator[RawServer]:
    forget_endpoints()
    server = RawServer().start()
    yield server
    server.stop()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_documents_are_ranked(server: RawServer, kind: str) -> None:
    server.will(reply(ANSWER))
    ask: dict[str, Any] = {"model": "Rerank", "top_n": 2, "max_tokens_per_doc": 100}
    if kind == "sync":
        client = InferenceClient(server.url, "a-key")
        ranking = client.rerank("the capital of France", DOCUMENTS, **ask)
    else:
        async with AsyncInferenceClient(server.url, "a-key") as aclient:
            ranking = await aclient.rerank("the capital of France", DOCUMENTS, **ask)
    assert [(each.index, each.score, each.document) for each in ranking] == [
        (1, 0.99, "Paris"),
        (0, 3.7e-05, "Delft"),
    ]
    assert ranking.search_units == 1
    assert ranking.routing is not None
    assert ranking.routing.operation == "v2/rerank"
    sent = server.received[0]
    assert sent.target == "/providers/cohere/v2/rerank"
    assert sent.header("api-key") == "a-key"
    assert sent.json == {
        "model": "Rerank",
        "query": "the capital of France",
        "documents": DOCUMENTS,
        "top_n": 2,
        "max_tokens_per_doc": 100,
    }


def test_a_serverless_endpoint_needs_no_name(server: RawServer) -> None:
    server.will(reply({"results": []}))
    client = InferenceClient(server.url, "a-key", surface="serverless")
    assert client.rerank("q", DOCUMENTS).search_units is None
    assert server.received[0].target.startswith("/v2/rerank?")
    assert "model" not in server.received[0].json


@pytest.mark.parametrize("answer", [{}, [], {"results": [1]}, {"results": [{"index": 3}]}])
def test_an_answer_about_other_documents_is_refused(server: RawServer, answer: Any) -> None:
    server.will(reply(answer))
    with pytest.raises(InvalidResponseError):
        InferenceClient(server.url, "a-key", "m").rerank("q", DOCUMENTS)


def test_nothing_to_rank_or_nowhere_to_rank_it_is_refused(server: RawServer) -> None:
    client = InferenceClient(server.url, "a-key")
    nothing: list[Any] = [[], "text"]
    for documents in nothing:
        with pytest.raises(ConfigurationError, match="documents must be a list"):
            client.rerank("q", documents)
    with pytest.raises(ConfigurationError, match="the name of the deployment is missing"):
        client.rerank("q", DOCUMENTS)
    assert not server.received


def test_an_unknown_deployment_is_an_error(server: RawServer) -> None:
    message = "The API deployment m does not exist. If you created it, please wait."
    server.will(reply(failure("DeploymentNotFound", message, details=message), 404))
    with pytest.raises(DeploymentNotFoundError, match="does not exist"):
        InferenceClient(server.url, "a-key", "m").rerank("q", DOCUMENTS)
