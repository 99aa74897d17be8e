"""Hedging: a second deployment answers where the first is silent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from azinfer.core import ConfigurationError, RouteExhaustedError
from azinfer.core.routes import Policy
from azinfer.core.routes.state import Event, Opened
from azinfer.core.routes.traffic import Ticket, Traffic
from client_driver import USER, TestClock
from fleet import Fleet, routed_driver
from raw_server import Behaviour, Peer, chat, events, failure, part, raw, reply, stream

TWO = [["m@a"], ["m@b"]]
SILENT = raw(b"", "stall")
HEDGED = {"hedge": 0.05}


def late(event: threading.Event, behaviour: Behaviour) -> Behaviour:
    """The behaviour that waits for a test to go on."""

    def behave(peer: Peer) -> None:
        event.wait(10)
        behaviour(peer)

    return behave


def test_a_hedge_answers_for_a_silent_deployment(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(SILENT)
    with routed_driver(kind, fleet.config(TWO, policy=HEDGED)) as driver:
        answers = [driver.complete(model="chat") for _ in range(4)]
        candidates = driver.client.explain(model="chat").decision.candidates
    assert [answer.text for answer in answers] == ["b"] * 4
    assert answers[0].routing is not None
    hedged, answered = answers[0].routing.attempts
    assert (hedged.endpoint, hedged.error, hedged.status) == ("a", "Hedged", None)
    assert (answered.endpoint, answered.status) == ("b", 200)
    # Two hedges found it silent, so that it is left alone.
    assert fleet.counts["a"] == 2
    assert [each.in_flight for each in candidates] == [0, 0]


def test_a_hedged_stream_begins_where_it_is_answered(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(SILENT)
    fleet["b"].will(stream(events(part("b", "stop"))))
    with routed_driver(kind, fleet.config(TWO, policy=HEDGED)) as driver:
        assert driver.stream(model="chat").text == "b"
        assert driver.client.explain(model="chat").decision.candidates[1].in_flight == 0


def test_a_fast_deployment_is_not_hedged(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config(TWO, policy={"hedge": 30})) as driver:
        assert driver.complete(model="chat").text == "a"
    assert fleet.counts == {"a": 1, "b": 0, "c": 0}


def test_hedges_stay_in_their_budget(fleet: Fleet, kind: str) -> None:
    go_on = threading.Event()
    fleet["a"].will(SILENT)
    policy = {"hedge": 0.01, "hedge_share": 0, "failures": 100}
    with routed_driver(kind, fleet.config(TWO, policy=policy)) as driver:
        assert [driver.complete(model="chat").text for _ in range(20)] == ["b"] * 20
        fleet["a"].will(late(go_on, reply(chat("a"))))
        threading.Timer(0.05, go_on.set).start()
        assert driver.complete(model="chat").text == "a"
    assert fleet.counts["b"] >= 20


def test_without_a_second_deployment_the_first_is_awaited(fleet: Fleet, kind: str) -> None:
    go_on = threading.Event()
    fleet["a"].will(late(go_on, reply(chat("a"))))
    threading.Timer(0.05, go_on.set).start()
    with routed_driver(kind, fleet.config([["m@a"]], policy={"hedge": 0.01})) as driver:
        assert driver.complete(model="chat").text == "a"
    assert fleet.counts["a"] == 1


def test_the_first_may_still_win(fleet: Fleet, kind: str) -> None:
    go_on = threading.Event()

    def behave(peer: Peer) -> None:
        go_on.set()
        peer.wait_until_client_leaves()

    fleet["a"].will(late(go_on, reply(chat("a"))))
    fleet["b"].will(behave)
    with routed_driver(kind, fleet.config(TWO, policy={"hedge": 0.02})) as driver:
        answer = driver.complete(model="chat")
    assert answer.text == "a"
    assert answer.routing is not None
    assert [(each.endpoint, each.error) for each in answer.routing.attempts] == [
        ("b", "Hedged"),
        ("a", None),
    ]


@pytest.mark.parametrize("first", ["a", "b"])
def test_if_one_hedged_request_fails_the_other_answers(fleet: Fleet, kind: str, first: str) -> None:
    begun, go_on = threading.Event(), threading.Event()
    other = "b" if first == "a" else "a"

    def refuse(peer: Peer) -> None:
        begun.wait(10)
        reply(failure("x"), 500)(peer)
        go_on.set()

    def answer(peer: Peer) -> None:
        begun.set()
        late(go_on, reply(chat(other)))(peer)

    fleet[first].will(refuse)
    fleet[other].will(answer)
    policy = {"hedge": 0.02, "attempts": 1}
    with routed_driver(kind, fleet.config(TWO, policy=policy)) as driver:
        assert driver.complete(model="chat").text == other


def test_if_both_fail_the_call_raises(fleet: Fleet, kind: str) -> None:
    begun = threading.Event()

    def last(peer: Peer) -> None:
        begun.set()
        reply(failure("x"), 500)(peer)

    fleet["a"].will(late(begun, reply(failure("x"), 503)))
    fleet["b"].will(last)
    policy = {"hedge": 0.02, "attempts": 1}
    with (
        routed_driver(kind, fleet.config(TWO, policy=policy)) as driver,
        pytest.raises(RouteExhaustedError) as caught,
    ):
        driver.complete(model="chat")
    assert caught.value.status == 503
    assert [each.endpoint for each in caught.value.tried] == ["b", "a"]


def test_a_stream_that_comes_too_late_is_closed(fleet: Fleet) -> None:
    go_on, left = threading.Event(), threading.Event()

    def behave(peer: Peer) -> None:
        go_on.wait(10)
        stream(events(part("a")), "stall")(peer)
        left.set()

    fleet["a"].will(behave)
    fleet["b"].will(stream(events(part("b", "stop"))))
    with routed_driver("sync", fleet.config(TWO, policy=HEDGED)) as driver:
        assert driver.stream(model="chat").text == "b"
        go_on.set()
        assert left.wait(10)


def test_a_cancelled_call_gives_its_place_back(fleet: Fleet) -> None:
    fleet["a"].will(SILENT)
    with routed_driver("async", fleet.config(TWO)) as driver:

        async def cancel_call() -> None:
            messages: list[Any] = [{"role": "user", "content": "x"}]
            task = asyncio.create_task(driver.client.complete(messages, model="chat"))
            while not fleet["a"].received:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        driver.run(cancel_call())
        assert driver.client.explain(model="chat").decision.candidates[0].in_flight == 0


def signal(event: threading.Event, behaviour: Behaviour) -> Behaviour:
    """The behaviour that first says that a request has come."""

    def behave(peer: Peer) -> None:
        event.set()
        behaviour(peer)

    return behave


def wait_for_losers() -> None:
    """Wait until the threads of all hedged calls have ended."""
    for thread in threading.enumerate():
        if "(run)" in thread.name:
            thread.join(10)


def test_a_lost_request_is_not_sent_again(fleet: Fleet) -> None:
    begun, waiting, go_on = threading.Event(), threading.Event(), threading.Event()

    class Waiting(TestClock):
        """A clock on which the first request waits before it is sent again."""

        def sleep(self, seconds: float) -> None:
            if seconds:
                waiting.set()
                go_on.wait(10)

    fleet["a"].will(late(begun, reply(failure("x"), 503)), reply(chat("a")))
    fleet["b"].will(signal(begun, late(waiting, reply(chat("b")))))
    config = fleet.config(TWO, policy=HEDGED, deployments={"m@b": {"concurrency": 1}})
    with routed_driver("sync", config, clock=Waiting()) as driver:
        assert driver.complete(model="chat").text == "b"
        go_on.set()
        wait_for_losers()
    assert fleet.counts == {"a": 1, "b": 1, "c": 0}


def slowly(behaviour: Behaviour) -> Behaviour:
    """The behaviour that answers after a hedge would have been sent."""

    def behave(peer: Peer) -> None:
        threading.Event().wait(0.04)
        behaviour(peer)

    return behave


def test_a_hedge_that_cannot_be_sent_uses_no_budget(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(slowly(reply(chat("a"))))
    message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "b"}]}
    fleet["b"].will(reply({**message, "id": "1", "stop_reason": "end_turn"}))
    facts = {"claude-x@b": {"wire": "messages", "rpm": 60, "tpm": 1000}}
    policy = {"hedge": 0.01, "hedge_share": 0, "failures": 100}
    config = fleet.config([["m@a"], ["claude-x@b"]], policy=policy, deployments=facts)
    with routed_driver(kind, config) as driver:
        assert [driver.complete(model="chat", seed=1).text for _ in range(21)] == ["a"] * 21
        candidates = driver.client.explain(model="chat").decision.candidates
        assert [each.in_flight for each in candidates] == [0, 0]
        # No limit and no hedge is used up by what was never sent.
        assert (candidates[1].requests_left, candidates[1].tokens_left) == (10.0, 1000.0)
        fleet["a"].will(SILENT)
        assert driver.complete(model="chat").text == "b"


def test_a_cancelled_call_does_not_count_against_its_deployment(fleet: Fleet) -> None:
    fleet["a"].will(SILENT)
    with routed_driver("async", fleet.config(TWO, policy={"hedge": 30, "failures": 1})) as driver:

        async def cancel_call() -> None:
            task = asyncio.create_task(driver.client.complete(USER, model="chat"))
            while not fleet["a"].received:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        driver.run(cancel_call())
        (a, _) = driver.client.explain(model="chat").decision.candidates
    assert (a.state, a.in_flight) == ("closed", 0)


def test_a_stream_that_begins_while_it_loses_gives_one_place_back(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    settle = Traffic.settle

    def settle_late(self: Traffic, ticket: Ticket, event: Event, policy: Policy) -> None:
        settle(self, ticket, event, policy)
        if isinstance(event, Opened) and ticket.member.endpoint == "a":
            begun.set()
            go_on.wait(10)

    monkeypatch.setattr(Traffic, "settle", settle_late)
    hedged = threading.Event()
    fleet["a"].will(late(hedged, stream(events(part("a", "stop")))))
    answer = late(begun, stream(events(part("b", "stop"))))
    fleet["b"].will(signal(hedged, answer))
    with routed_driver("sync", fleet.config(TWO, policy=HEDGED)) as driver:
        assert driver.stream(model="chat").text == "b"
        go_on.set()
        wait_for_losers()
        candidates = driver.client.explain(model="chat").decision.candidates
    assert [each.in_flight for each in candidates] == [0, 0]


def test_a_call_that_the_only_deployment_cannot_carry_is_an_error_at_once(
    fleet: Fleet, kind: str
) -> None:
    config = fleet.config([["claude-x@a"]], deployments={"claude-x@a": {"wire": "messages"}})
    with routed_driver(kind, config) as driver, pytest.raises(ConfigurationError, match="seed"):
        driver.complete(model="chat", seed=1)
    assert fleet.counts["a"] == 0
