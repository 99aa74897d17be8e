"""Streams on a route: another deployment takes over until the caller has the first chunk."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

from azinfer.core import (
    APIStatusError,
    BadRequestError,
    RouteExhaustedError,
    StreamInterruptedError,
)
from client_driver import USER, TestClock
from fleet import Fleet, rate_limit_reply, routed_driver
from raw_server import chunked_answer, events, failure, part, raw, reply, stream

TWO = [["m@a"], ["m@b"]]
GOOD = stream(events(part("b", "stop")))
OPEN = stream(events(part("one"), done=False), "stall")


def cut(*parts: Any) -> Any:
    """The behaviour that breaks a stream off after some chunks."""
    return raw(chunked_answer(events(*parts, done=False), whole=False), "close")


@pytest.fixture(autouse=True)
def streams(fleet: Fleet) -> None:
    for name, server in fleet.servers.items():
        server.will(stream(events(part(name, "stop"))))


def test_a_stream_says_who_answered(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config(TWO)) as driver:
        streamed = driver.stream(model="chat")
    assert streamed.text == "a"
    assert streamed.stream.routing.decision.endpoint == "a"


@pytest.mark.parametrize(
    "behaviour",
    [
        rate_limit_reply(1),
        reply(failure("x"), 503),
        raw(b"", "reset"),
        cut(),
        stream(b": nothing yet\n\n"),
        stream(events(failure("500", "overloaded", status=500), done=False)),
        stream(events(part())[:-14]),
    ],
    ids=["429", "503", "reset", "cut", "silent", "error", "empty"],
)
def test_a_stream_without_a_chunk_moves_on(fleet: Fleet, kind: str, behaviour: Any) -> None:
    fleet["a"].will(behaviour)
    with routed_driver(kind, fleet.config(TWO)) as driver:
        streamed = driver.stream(model="chat")
    assert streamed.text == "b"
    first, second = streamed.stream.routing.attempts
    assert first.error is not None
    assert (first.endpoint, second.endpoint, second.status) == ("a", "b", 200)


def test_a_stream_that_broke_is_not_sent_again(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(cut(part("one "), part("two")))
    with routed_driver(kind, fleet.config(TWO)) as driver:
        with pytest.raises(StreamInterruptedError) as caught:
            driver.stream(model="chat")
        assert fleet.counts["b"] == 0
        assert caught.value.partial is not None
        assert caught.value.partial.text == "one two"
        # It counts against the deployment, so that the next streams are whole.
        assert [driver.stream(model="chat").text for _ in range(4)] == ["b"] * 4
    assert fleet.counts["a"] == 1


def test_an_error_in_the_middle_counts_too(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(stream(events(part("one"), failure("500", "down", status=500), done=False)))
    config = fleet.config(TWO, policy={"failures": 1})
    with routed_driver(kind, config) as driver:
        with pytest.raises(APIStatusError):
            driver.stream(model="chat")
        assert driver.stream(model="chat").text == "b"


def test_a_refused_request_stays(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(reply(failure("x"), 400))
    with routed_driver(kind, fleet.config(TWO)) as driver, pytest.raises(BadRequestError):
        driver.stream(model="chat")
    assert fleet.counts["b"] == 0


def test_streams_keep_their_place_until_they_end(fleet: Fleet, kind: str, clock: TestClock) -> None:
    facts = {"m@a": {"concurrency": 1}}
    config = fleet.config([["m@a"]], deployments=facts, policy={"wait": 0.1})
    with routed_driver(kind, config, clock=clock) as driver:
        inside: list[Any] = []

        def second(chunk: Any) -> bool:
            inside.append(driver.client.explain(model="chat").decision.candidates[0])
            return True

        driver.read(second, model="chat")
        (candidate,) = inside
        assert candidate.in_flight == 1
        assert candidate.reason == "its limit of concurrent calls is reached"
        assert driver.stream(model="chat").text == "a"
        assert driver.client.explain(model="chat").decision.candidates[0].in_flight == 0


def test_a_stream_that_is_dropped_gives_its_place_back(fleet: Fleet) -> None:
    with routed_driver("sync", fleet.config(TWO)) as driver:
        driver.client.stream([{"role": "user", "content": "x"}], model="chat")
        gc.collect()
        assert driver.client.explain(model="chat").decision.candidates[0].in_flight == 0


def test_a_stream_closed_twice_gives_one_place_back(fleet: Fleet) -> None:
    with routed_driver("sync", fleet.config(TWO)) as driver:
        chunks = driver.client.stream([{"role": "user", "content": "x"}], model="chat")
        chunks.close()
        chunks.close()
        assert list(chunks) == []
        assert driver.client.explain(model="chat").decision.candidates[0].in_flight == 0


def test_an_exhausted_route_has_no_stream(fleet: Fleet, kind: str, clock: TestClock) -> None:
    for name in "ab":
        fleet[name].will(cut())
    config = fleet.config(TWO, policy={"attempts": 4})
    with routed_driver(kind, config, clock=clock) as driver:
        with pytest.raises(RouteExhaustedError) as caught:
            driver.stream(model="chat")
        candidates = driver.client.explain(model="chat").decision.candidates
    assert len(caught.value.tried) == 4
    assert [each.in_flight for each in candidates] == [0, 0]


@pytest.mark.parametrize("model", ["chat", "m@b"])
def test_a_dropped_stream_closes_at_once_also_after_a_failure(fleet: Fleet, model: str) -> None:
    fleet["a"].will(reply(failure("x"), 503))
    again = reply(failure("x"), 429, {"retry-after-ms": "1"})
    fleet["b"].will(*([again] if model == "m@b" else []), OPEN)
    with routed_driver("sync", fleet.config(TWO)) as driver:
        gc.disable()
        try:
            assert next(driver.client.stream(USER, model=model)).text == "one"
            assert fleet["b"].wait_until(lambda: fleet["b"].open_connections == 0)
        finally:
            gc.enable()
        candidates = driver.client.explain(model="chat").decision.candidates
    assert [each.in_flight for each in candidates] == [0, 0]


def test_a_stream_may_end_while_its_own_thread_chooses_a_deployment(fleet: Fleet) -> None:
    fleet["a"].will(OPEN)
    streams: list[Any] = []

    class Dropping(TestClock):
        """A clock that drops a stream where garbage collection could."""

        def random(self) -> float:
            streams.clear()
            return 0.5

    config = fleet.config([["m@a", "n@a"]])
    with routed_driver("sync", config, clock=Dropping()) as driver:
        streams.append(driver.client.stream(USER, model="chat"))
        done = threading.Thread(target=driver.client.explain, kwargs={"model": "chat"}, daemon=True)
        done.start()
        done.join(10)
        assert not done.is_alive()
        candidates = driver.client.explain(model="chat").decision.candidates
        assert [each.in_flight for each in candidates] == [0, 0]
