"""Errors, credentials, timeouts, events and limits of LlamaIndex, on each of the three surfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import (
    VectorStoreIndex,
)
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms.callbacks import dispatcher
from llama_index.core.prompts import PromptTemplate
from llama_index.core.rate_limiter import BaseRateLimiter

from azinfer import core
from azinfer.llama_index import AzInferEmbedding, AzInferLLM
from azinfer.local import LocalEndpoint
from client_driver import KEY
from llama_index_calls import USER, Person, call_method, deltas
from raw_server import (
    RawServer,
    chat,
    events,
    failure,
    part,
    reply,
    stream,
    vectors,
)

Make = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("own_loop")


def test_a_full_deployment_is_retried(component: Make, server: RawServer, kind: str) -> None:
    full = reply(failure("429"), 429, {"retry-after": "3"})
    server.will(full, reply(chat()), full, stream(events(part("a", "stop"))))
    assert call_method(component(), kind, "chat", USER).message.content == "hello"
    assert deltas(call_method(component(), kind, "stream_chat", USER)) == "a"
    assert len(server.received) == 4


def test_a_failed_service_is_retried(component: Make, server: RawServer, kind: str) -> None:
    server.will(reply(failure("x"), 503), reply(chat()))
    assert call_method(component(), kind, "chat", USER).message.content == "hello"


def test_zero_retries_send_one_request(component: Make, server: RawServer, kind: str) -> None:
    server.will(reply(failure("429"), 429))
    for method in ("chat", "stream_chat"):
        with pytest.raises(core.RateLimitError) as caught:
            call_method(component(max_retries=0), kind, method, USER)
        assert caught.value.status == 429
    assert len(server.received) == 2


def test_a_wrong_key_is_an_immediate_error(
    llama_endpoint: LocalEndpoint, path: str, kind: str
) -> None:
    wrong = AzInferLLM(endpoint=llama_endpoint.url + path, credential="wrong-key", model="paris")
    before = len(llama_endpoint.requests)
    with pytest.raises(core.AuthenticationError) as caught:
        call_method(wrong, kind, "chat", USER)
    assert caught.value.status == 401
    assert len(llama_endpoint.requests) - before <= 1


def test_a_blocked_prompt_names_its_category(component: Make, server: RawServer, kind: str) -> None:
    results = {"violence": {"filtered": True, "severity": "high"}, "hate": {"filtered": False}}
    body = failure("content_filter", "blocked", innererror={"content_filter_result": results})
    server.will(reply(body, 400), stream(events(part("a"), body)))
    for method in ("chat", "stream_chat"):
        with pytest.raises(core.ContentFilterError) as caught:
            call_method(component(), kind, method, USER)
        assert dict(caught.value.categories) == {"violence": "high"}


def test_one_credential_serves_sync_and_async(component: Make, server: RawServer) -> None:
    class Credential:
        def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": "t1", "expires_on": 4_000_000_000})

    server.will(reply(chat()), reply(chat()), reply(vectors([1.0])))
    credential = Credential()
    model = component(credential=credential)
    call_method(model, "sync", "chat", USER)
    call_method(model, "async", "chat", USER)
    call_method(component(AzInferEmbedding, credential), "async", "get_text_embedding", "a")
    headers = {request.header("authorization") for request in server.received}
    assert headers == {"Bearer t1"}


def test_an_async_credential_serves_async(component: Make, server: RawServer) -> None:
    class Credential:
        async def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": "t1", "expires_on": 4_000_000_000})

    server.will(reply(chat()))
    model = component(credential=Credential())
    assert call_method(model, "async", "chat", USER).message.content == "hello"
    with pytest.raises(core.ConfigurationError, match="async credential"):
        call_method(model, "sync", "chat", USER)


def test_a_token_is_renewed_after_a_401(component: Make, server: RawServer, kind: str) -> None:
    tokens = iter("abc")
    server.will(reply(failure("401"), 401), reply(chat()))
    assert (
        call_method(component(credential=lambda: next(tokens)), kind, "chat", USER).message.content
        == "hello"
    )
    headers = [request.header("authorization") for request in server.received]
    assert headers == ["Bearer a", "Bearer b"]


def test_a_slow_deployment_is_not_waited_for(server: RawServer, path: str, kind: str) -> None:
    server.will(lambda peer: peer.wait_until_client_leaves())
    model = AzInferLLM(
        endpoint=server.url + path, credential=KEY, model="m", timeout=0.2, max_retries=0
    )
    for method in ("chat", "stream_chat"):
        with pytest.raises(core.APITimeoutError):
            call_method(model, kind, method, USER)


def test_one_object_works_in_several_event_loops(
    llm: Make, embedding: AzInferEmbedding, index: VectorStoreIndex
) -> None:
    model = llm("paris")
    engine = index.as_query_engine(llm=model)
    for _ in range(3):
        assert call_method(model, "async", "chat", USER).message.content == "Paris."
        assert len(call_method(embedding, "async", "get_text_embedding", "a")) == 384
        assert str(call_method(engine, "async", "query", "?")) == "Paris."


def test_events_report_calls_without_secrets(
    llm: Make, llama_endpoint: LocalEndpoint, embedding: AzInferEmbedding, kind: str
) -> None:
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **kwargs: Any) -> None:
            seen.append(event)

    handler = Handler()
    top: Any = dispatcher.root
    top.add_event_handler(handler)
    try:
        model = llm()
        call_method(model, kind, "chat", USER)
        call_method(model, kind, "stream_chat", USER)
        call_method(model, kind, "structured_predict", Person, PromptTemplate("x"))
        call_method(embedding, kind, "get_text_embedding", "a")
        with pytest.raises(core.DeploymentNotFoundError):
            call_method(llm("nope"), kind, "stream_chat", USER)
    finally:
        top.event_handlers.remove(handler)
    names = {type(event).__name__ for event in seen}
    assert names >= {
        "LLMChatStartEvent",
        "LLMChatInProgressEvent",
        "LLMChatEndEvent",
        "LLMStructuredPredictStartEvent",
        "LLMStructuredPredictEndEvent",
        "EmbeddingStartEvent",
        "EmbeddingEndEvent",
        "ExceptionEvent",
    }
    assert not any(llama_endpoint.key in repr(event) for event in seen)


def test_a_rate_limiter_is_acquired_once_per_call(
    llm: Make, embedding: AzInferEmbedding, kind: str
) -> None:
    requests: list[int] = []

    class Limiter(BaseRateLimiter):
        def acquire(self, num_tokens: int = 0) -> None:
            requests.append(1)

        async def async_acquire(self, num_tokens: int = 0) -> None:
            requests.append(1)

    model = llm(rate_limiter=Limiter())
    for method in ("chat", "stream_chat", "complete", "stream_complete"):
        call_method(model, kind, method, "hi" if "complete" in method else USER)
    assert len(requests) == 4
    embedding.rate_limiter = Limiter()
    call_method(embedding, kind, "get_text_embedding_batch", ["a", "b"])
    assert len(requests) == 5


def test_one_client_calls_several_deployments(
    llm: Make, llama_endpoint: LocalEndpoint, kind: str
) -> None:
    model = llm()
    assert call_method(model, kind, "chat", USER, model="PARIS").message.content == "Paris."
    assert "synthetic" in call_method(model, kind, "chat", USER).message.content
    assert [each.deployment for each in llama_endpoint.requests] == ["Paris", "Mistral-Large"]
