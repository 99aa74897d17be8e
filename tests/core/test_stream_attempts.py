"""Streams that fail before the caller has their first chunk: they are retried like any call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import (
    APIStatusError,
    AsyncInferenceClient,
    BadRequestError,
    Clock,
    ContentFilterError,
    InferenceError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    Timeout,
    UserMessage,
)
from azinfer.core.completions import Usage
from client_driver import KEY, ClientDriver, TestClock
from raw_server import (
    Behaviour,
    Peer,
    RawServer,
    chunked_answer,
    events,
    failure,
    part,
    raw,
    reply,
    stream,
)

Ask = Callable[..., ClientDriver]
GOOD = stream(events(part("hello", "stop")))
# What comes before the first chunk that says something.
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
PREAMBLE = [{"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}, ROLE]


def events_with_error(**error: Any) -> bytes:
    return b"event: error\n" + events(failure(**error), done=False)


TRANSIENT: dict[str, tuple[Behaviour, type[InferenceError]]] = {
    "an overloaded server": (stream(events(failure("server_is_overloaded"))), ServerError),
    "an error that nobody knows": (stream(events(failure("new"), done=False)), ServerError),
    "an error event": (stream(events_with_error(code="server_error")), ServerError),
    "a rate limit": (stream(events(failure("rate_limit_exceeded"))), RateLimitError),
    "an error after the preamble": (stream(events(*PREAMBLE, failure("500"))), ServerError),
    "a connection that ends at once": (stream(b""), StreamInterruptedError),
    "a comment, then the end": (stream(b": ping\n\n"), StreamInterruptedError),
    "the end after the preamble": (
        stream(events(*PREAMBLE, done=False)),
        StreamInterruptedError,
    ),
    "a reset after the preamble": (
        stream(events(*PREAMBLE, done=False), "reset"),
        StreamInterruptedError,
    ),
    "a chunked body that is cut": (
        raw(chunked_answer(events(*PREAMBLE, done=False), whole=False), "close"),
        StreamInterruptedError,
    ),
    "the end inside the first event": (stream(b'data: {"choi'), StreamInterruptedError),
}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_stream_that_fails_before_its_first_chunk_is_sent_again(
    ask: Ask, server: RawServer, clock: TestClock, fault: str
) -> None:
    server.will(TRANSIENT[fault][0], GOOD)
    streamed = ask().stream()
    assert streamed.text == "hello"
    assert (len(server.received), clock.waits) == (2, [0.5])
    assert len(streamed.stream.routing.attempts) == 2
    assert server.received[0].body == server.received[1].body


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_stream_that_always_fails_is_an_error_after_three_attempts(
    ask: Ask, server: RawServer, fault: str
) -> None:
    behaviour, kind = TRANSIENT[fault]
    server.will(behaviour)
    with pytest.raises(kind) as caught:
        ask().stream()
    error = caught.value
    assert (error.attempts, len(server.received), error.deployment) == (3, 3, "gpt-4.1")
    assert str(error).count("Check") <= 1


REFUSED: dict[str, tuple[Any, type[APIStatusError]]] = {
    "a bad request": (failure("invalid_request_error"), BadRequestError),
    "a filtered prompt": (failure("content_filter"), ContentFilterError),
    "a prompt that is not allowed": (failure("invalid_prompt"), BadRequestError),
    "a spent quota": (failure("insufficient_quota"), RateLimitError),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_refused_inside_a_stream_is_not_sent_again(
    ask: Ask, server: RawServer, fault: str
) -> None:
    error, kind = REFUSED[fault]
    server.will(stream(events(*PREAMBLE, error)))
    with pytest.raises(kind) as caught:
        ask().stream()
    assert type(caught.value) is kind
    assert len(server.received) == 1


def test_nothing_is_sent_again_after_the_first_chunk(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(part("hel"), failure("server_error"))))
    texts: list[str] = []
    with pytest.raises(ServerError):
        ask().read(lambda chunk: texts.append(chunk.text))
    assert (texts, len(server.received)) == (["hel"], 1)


def test_the_wait_that_an_event_names_is_kept(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nretry-after: 7\r\n\r\n"
    server.will(raw(head + events(failure("rate_limit_exceeded"))), GOOD)
    assert ask().stream().text == "hello"
    assert clock.waits == [7.0]


def test_silence_before_the_first_chunk_is_retried(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(*PREAMBLE, done=False), "stall"), GOOD)
    driver = ask(timeout=Timeout(read=0.3), clock=Clock(), max_retries=1)
    assert driver.stream().text == "hello"
    assert server.wait_until(lambda: server.open_connections <= 1)


@pytest.mark.parametrize("fault", ["a connection that ends at once", "an overloaded server"])
def test_a_failed_stream_leaves_no_connection_open(ask: Ask, server: RawServer, fault: str) -> None:
    def stall(peer: Peer) -> None:
        TRANSIENT[fault][0](peer)
        peer.wait_until_client_leaves()

    server.will(stall)
    with pytest.raises(InferenceError):
        ask(max_retries=0).stream()
    assert server.wait_until(lambda: server.open_connections == 0)


EXTRA = (
    "Extra parameters ['stream_options'] are not allowed when extra-parameters is not set or set "
    "to be 'error'. Set extra-parameters to 'pass-through' to pass to the model."
)
USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
OPTIONS = {"include_usage": True}


def strict(request: Any) -> Behaviour:
    """Refuse stream_options without the header that passes them through."""
    if "stream_options" in request.json and not request.header("extra-parameters"):
        return reply({"detail": EXTRA}, 400)
    usage = [USAGE] if "stream_options" in request.json else []
    return stream(events(part("hello", "stop"), *usage))


@pytest.mark.parametrize("options", [{}, {"stream_options": OPTIONS}], ids=["ours", "caller's"])
def test_refused_stream_options_are_passed_through(
    ask: Ask, server: RawServer, options: dict[str, Any]
) -> None:
    server.choose = strict
    driver = ask("/models")
    streamed = driver.stream(**options)
    assert streamed.completion.usage == Usage(3, 2, 5)
    assert streamed.stream.routing.adapted[-1] == "extra-parameters: pass-through"
    assert driver.stream(**options).completion.usage == Usage(3, 2, 5)
    sent = [request.header("extra-parameters") for request in server.received]
    assert sent == [None, "pass-through", "pass-through"]


def test_stream_options_that_the_model_refuses_too_are_left_out(
    ask: Ask, server: RawServer
) -> None:
    def choose(request: Any) -> Behaviour:
        detail = {"type": "extra_forbidden", "loc": ["body", "stream_options"]}
        refusal = {"detail": [{**detail, "msg": "Extra inputs are not permitted"}]}
        if request.header("extra-parameters"):
            return reply(refusal, 422)
        return strict(request)

    server.choose = choose
    assert ask("/models").stream().text == "hello"
    assert "stream_options" not in server.received[-1].json
    assert len(server.received) == 3


def test_a_header_of_the_caller_is_never_replaced(ask: Ask, server: RawServer) -> None:
    def choose(request: Any) -> Behaviour:
        assert request.header("extra-parameters") == "error"
        if "stream_options" in request.json:
            return reply({"detail": EXTRA}, 400)
        return GOOD

    server.choose = choose
    assert ask("/models", headers={"Extra-Parameters": "error"}).stream().text == "hello"


def test_a_task_that_is_cancelled_before_the_first_chunk_closes_its_connection(
    server: RawServer,
) -> None:
    server.will(stream(events(*PREAMBLE, done=False), "stall"))

    async def give_up() -> None:
        async with AsyncInferenceClient(server.url + "/openai/v1", KEY, "gpt-4.1") as client:
            task = asyncio.ensure_future(client.stream([UserMessage("hi")]).__aenter__())
            _, pending = await asyncio.wait({task}, timeout=0.3)  # the preamble comes
            assert pending
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(give_up())
    assert len(server.received) == 1


def test_a_stream_of_a_preamble_alone_says_so(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(*PREAMBLE)))
    assert ask().stream().text == ""
