"""Faults on a route: the caller gets one whole answer, or an error that lists the attempts."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azinfer.core import InferenceError, RouteExhaustedError, StreamInterruptedError
from client_driver import TestClock
from fleet import Fleet, rate_limit_reply, routed_driver
from raw_server import Behaviour, chat, chunked_answer, events, failure, part, raw, reply, stream

# What a deployment does, whole and streamed; only the first is an answer.
FAULTS: dict[str, tuple[Behaviour, Behaviour]] = {
    "good": (reply(chat("whole answer")), stream(events(part("whole "), part("answer", "stop")))),
    "429": (rate_limit_reply(1), rate_limit_reply(1)),
    "503": (reply(failure("x"), 503), reply(failure("x"), 503)),
    "404": (reply(failure("DeploymentNotFound"), 404), reply(failure("DeploymentNotFound"), 404)),
    "reset": (raw(b"", "reset"), raw(b"", "reset")),
    "garbage": (reply(b"no JSON"), stream(b": nothing\n\n")),
    "cut": (
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "close"),
        raw(chunked_answer(events(part("whole "), done=False), whole=False), "close"),
    ),
}
PLANS = st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=4)
TIERS = st.sampled_from(
    [
        [["m@a", "m@b", "m@c"]],
        [["m@a"], ["m@b"], ["m@c"]],
        [["m@a:3", "m@b"], ["m@c"]],
    ]
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    plans=st.tuples(PLANS, PLANS, PLANS), tiers=TIERS, streams=st.lists(st.booleans(), max_size=6)
)
def test_an_answer_is_whole_and_once_or_an_error_lists_the_attempts(
    fleet: Fleet, plans: tuple[list[str], ...], tiers: Any, streams: list[bool]
) -> None:
    clock = TestClock()
    policy = {"wait": 2, "attempts": 5}
    deployments = {"m@b": {"rpm": 30, "concurrency": 1}}
    config = fleet.config(tiers, policy=policy, deployments=deployments)
    with routed_driver("sync", config, clock=clock) as driver:
        for streamed in streams:
            for server, plan in zip(fleet.servers.values(), plans, strict=True):
                server.will(*(FAULTS[fault][streamed] for fault in plan))
            before = sum(fleet.counts.values())
            check(driver, fleet, streamed, before)
            clock.now += 0.5
        candidates = driver.client.explain(model="chat").decision.candidates
    assert [each.in_flight for each in candidates] == [0, 0, 0]


def check(driver: Any, fleet: Fleet, streamed: bool, before: int) -> None:
    """Send one call, and compare what it says with what the servers got."""
    outcome: Any
    try:
        outcome = (driver.stream if streamed else driver.complete)(model="chat")
    except InferenceError as error:
        outcome = error
    sent = sum(fleet.counts.values()) - before
    if isinstance(outcome, RouteExhaustedError):
        assert len(outcome.tried) == sent
        assert all(each.error for each in outcome.tried)
        assert outcome.tried or outcome.skipped
    elif isinstance(outcome, StreamInterruptedError):
        assert outcome.partial is not None
        assert outcome.partial.text == "whole "
    else:
        assert not isinstance(outcome, InferenceError), outcome
        assert outcome.text == "whole answer"
        attempts = (outcome.stream if streamed else outcome).routing.attempts
        assert len(attempts) == sent
        assert [each.error is None for each in attempts] == [False] * (sent - 1) + [True]
