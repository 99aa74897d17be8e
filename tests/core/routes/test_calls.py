"""Calls on a route: which deployment answers, and what the answer says of the others."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import (
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    DeploymentNotFoundError,
    RateLimitError,
    RouteExhaustedError,
    Timeout,
)
from azinfer.core.routes import Policy, Route
from client_driver import TestClock
from fleet import Fleet, rate_limit_reply, routed_driver
from raw_server import chat, failure, raw, reply, vectors

TWO = [["m@a"], ["m@b"]]


def test_the_first_tier_answers(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config(TWO)) as driver:
        answer = driver.complete(model="CHAT")
    assert answer.text == "a"
    routing = answer.routing
    assert routing is not None
    assert routing.decision is not None
    assert (routing.requested, routing.deployment) == ("CHAT", "m")
    decision = routing.decision
    assert (decision.resolution, decision.route, decision.endpoint) == ("route", "chat", "a")
    assert (decision.tier, decision.why, decision.waited) == (0, "the only one", 0.0)
    (attempt,) = routing.attempts
    assert (attempt.status, attempt.deployment, attempt.endpoint) == (200, "m", "a")


@pytest.mark.parametrize(
    ("behaviour", "status", "error"),
    [
        (rate_limit_reply(1), 429, "RateLimitError"),
        (reply(failure("x"), 503), 503, "ServerError"),
        (reply(failure("DeploymentNotFound"), 404), 404, "DeploymentNotFoundError"),
        (reply(failure("x"), 403), 403, "PermissionDeniedError"),
        (raw(b"", "reset"), None, "APIConnectionError"),
        (raw(b"what?\r\n\r\n"), None, "APIConnectionError"),
        (reply(b"not JSON"), None, "InvalidResponseError"),
    ],
)
def test_a_failure_moves_the_call_on(
    fleet: Fleet, kind: str, behaviour: Any, status: int | None, error: str
) -> None:
    fleet["a"].will(behaviour)
    with routed_driver(kind, fleet.config(TWO)) as driver:
        answer = driver.complete(model="chat")
    assert answer.text == "b"
    assert answer.routing is not None
    first, second = answer.routing.attempts
    assert (first.status, first.error, first.endpoint) == (status, error, "a")
    assert (second.status, second.error, second.endpoint) == (200, None, "b")
    assert answer.routing.decision is not None
    assert answer.routing.decision.tier == 1


def test_a_dead_region_moves_the_call_on(fleet: Fleet, kind: str) -> None:
    fleet["a"].stop()
    with routed_driver(kind, fleet.config(TWO)) as driver:
        assert [driver.complete(model="chat").text for _ in range(5)] == ["b"] * 5


def test_a_silent_deployment_costs_the_time_of_an_attempt(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(raw(b"", "stall"))
    timeout = Timeout(attempt=0.2)
    with routed_driver(kind, fleet.config(TWO, policy={"failures": 1}), timeout=timeout) as driver:
        assert [driver.complete(model="chat").text for _ in range(3)] == ["b"] * 3
    assert fleet.counts == {"a": 1, "b": 3, "c": 0}


def test_a_wrong_credential_is_refreshed_once_and_then_left(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(reply(failure("401", "bad key"), 401))
    with routed_driver(kind, fleet.config(TWO)) as driver:
        assert [driver.complete(model="chat").text for _ in range(3)] == ["b"] * 3
    assert fleet.counts["a"] == 1


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_request_stays(fleet: Fleet, kind: str, status: int) -> None:
    fleet["a"].will(reply(failure("x", "cannot read this"), status))
    with routed_driver(kind, fleet.config(TWO)) as driver, pytest.raises(BadRequestError) as caught:
        driver.complete(model="chat")
    assert fleet.counts == {"a": 1, "b": 0, "c": 0}
    assert caught.value.deployment == "m"


def test_a_refused_request_says_nothing_against_the_deployment(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(*[reply(failure("x"), 400)] * 3, reply(chat("a")))
    with routed_driver(kind, fleet.config(TWO)) as driver:
        for _ in range(3):
            with pytest.raises(BadRequestError):
                driver.complete(model="chat")
        assert driver.complete(model="chat").text == "a"


def test_a_refused_prompt_is_sent_nowhere_else(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(reply(failure("content_filter"), 400))
    with routed_driver(kind, fleet.config(TWO)) as driver:
        for _ in range(5):
            with pytest.raises(ContentFilterError):
                driver.complete(model="chat")
    assert fleet.counts["b"] == 0


def test_a_refused_prompt_is_sent_on_if_the_policy_allows(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(reply(failure("content_filter"), 400))
    with routed_driver(kind, fleet.config(TWO, policy={"on_filter": "next"})) as driver:
        assert [driver.complete(model="chat").text for _ in range(2)] == ["b", "b"]
    assert fleet.counts["a"] == 2


def test_no_deployment_gets_a_refused_prompt_twice(fleet: Fleet, kind: str) -> None:
    for name in "ab":
        fleet[name].will(reply(failure("content_filter"), 400))
    config = fleet.config(TWO, policy={"on_filter": "next"})
    with routed_driver(kind, config) as driver, pytest.raises(ContentFilterError):
        driver.complete(model="chat")
    assert fleet.counts == {"a": 1, "b": 1, "c": 0}


def test_a_rejected_field_is_corrected_on_the_same_deployment(fleet: Fleet, kind: str) -> None:
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    error = failure("unsupported_parameter", message, param="max_tokens")
    for server in (fleet["a"], fleet["b"]):
        server.choose = lambda request: reply(
            *((error, 400) if "max_tokens" in request.json else (chat("a"),))
        )
    with routed_driver(kind, fleet.config(TWO)) as driver:
        for _ in range(5):
            assert driver.complete(model="chat", max_tokens=5).text == "a"
    assert fleet.counts == {"a": 6, "b": 0, "c": 0}


def test_a_limited_deployment_is_paused_for_its_retry_after(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    fleet["a"].will(rate_limit_reply(5), reply(chat("a")))
    with routed_driver(kind, fleet.config(TWO), clock=clock) as driver:
        assert [driver.complete(model="chat").text for _ in range(3)] == ["b"] * 3
        clock.now += 5
        assert driver.complete(model="chat").text == "a"
    assert (fleet.counts["a"], clock.waits) == (2, [])


def test_a_call_waits_for_the_soonest(fleet: Fleet, kind: str, clock: TestClock) -> None:
    fleet["a"].will(rate_limit_reply(3))
    fleet["b"].will(rate_limit_reply(2), reply(chat("b")))
    with routed_driver(kind, fleet.config(TWO), clock=clock) as driver:
        answer = driver.complete(model="chat")
    assert (answer.text, clock.waits) == ("b", [2.0])
    assert answer.routing is not None
    assert answer.routing.decision is not None
    assert answer.routing.decision.waited == 2.0
    assert [each.endpoint for each in answer.routing.attempts] == ["a", "b", "b"]


def test_deployments_that_failed_once_are_tried_again_after_a_pause(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    fleet["a"].will(reply(failure("x"), 500), reply(chat("a")))
    fleet["b"].will(reply(failure("x"), 500))
    with routed_driver(kind, fleet.config(TWO), clock=clock) as driver:
        assert driver.complete(model="chat").text == "a"
    assert clock.waits == [0.5]


def test_an_exhausted_route_lists_what_was_tried(fleet: Fleet, kind: str, clock: TestClock) -> None:
    fleet["a"].will(rate_limit_reply(9))
    fleet["b"].will(rate_limit_reply(30))
    config = fleet.config(
        [["m@a"], ["m@b"], ["m@c"]],
        policy={"wait": 2},
        guard=["content_filter"],
        deployments={
            "m@a": {"content_filter": "strict"},
            "m@b": {"content_filter": "strict"},
            "m@c": {"content_filter": "lax"},
        },
    )
    with (
        routed_driver(kind, config, clock=clock) as driver,
        pytest.raises(RouteExhaustedError) as caught,
    ):
        driver.complete(model="chat")
    error = caught.value
    assert isinstance(error.__cause__, RateLimitError)
    assert [(each.endpoint, each.status) for each in error.tried] == [("a", 429), ("b", 429)]
    assert error.skipped["m@c"] == "content_filter is 'lax', not 'strict'"
    assert (error.route, error.retry_after, error.status) == ("chat", 9.0, 429)
    for words in (
        "route 'chat': no deployment answered. Tried: m@a 429 RateLimitError after 0.00 s; m@b",
        "m@c (content_filter is 'lax', not 'strict')",
        "Try again in 9.0 s. The policy allows a wait of 2 s.",
    ):
        assert words in error.message
    assert fleet.counts["c"] == 0


def test_a_route_sends_no_more_than_its_attempts(fleet: Fleet, kind: str, clock: TestClock) -> None:
    for name in "abc":
        fleet[name].will(reply(failure("x"), 500))
    config = fleet.config([["m@a", "m@b", "m@c"]], policy={"attempts": 5})
    with routed_driver(kind, config, clock=clock) as driver:
        with pytest.raises(RouteExhaustedError, match="no deployment answered") as caught:
            driver.complete(model="chat")
        assert sum(fleet.counts.values()) == caught.value.attempts == 5


def test_the_time_of_a_call_bounds_its_waits(fleet: Fleet, kind: str, clock: TestClock) -> None:
    fleet["a"].will(rate_limit_reply(9))
    timeout = Timeout(total=5)
    config = fleet.config([["m@a"]])
    with (
        routed_driver(kind, config, clock=clock, timeout=timeout) as driver,
        pytest.raises(RouteExhaustedError),
    ):
        driver.complete(model="chat")
    assert clock.waits == []


def test_a_client_without_retries_left_stops(fleet: Fleet, kind: str, clock: TestClock) -> None:
    fleet["a"].will(reply(failure("x"), 500))
    policy = {"attempts": 500, "wait": 1e6, "failures": 1000}
    config = fleet.config([["m@a"]], policy=policy)
    with routed_driver(kind, config, clock=clock) as driver, pytest.raises(RouteExhaustedError):
        driver.complete(model="chat", timeout=Timeout(total=1e6))
    assert fleet.counts["a"] == 36


def test_names_lead_to_their_endpoint(fleet: Fleet, kind: str) -> None:
    config = fleet.config(
        TWO,
        deployments={"own@c": {"model_id": "gpt-4.1"}},
        aliases={"fast": "m@c", "talk": "chat"},
    )
    with routed_driver(kind, config) as driver:
        names = ["m@b", "OWN", "fast", "talk", "anything"]
        answers = [driver.complete(model=name) for name in names]
    assert [answer.text for answer in answers] == ["b", "c", "c", "a", "a"]
    rules = [answer.routing.decision.resolution for answer in answers if answer.routing.decision]  # type: ignore[union-attr]
    assert rules == [
        *("name@endpoint", "other endpoint", "alias, name@endpoint"),
        *("alias, route", "passed through"),
    ]
    assert [each.json["model"] for each in fleet["c"].received] == ["own", "m"]


def test_a_named_deployment_fails_with_its_own_error(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    fleet["b"].will(
        rate_limit_reply(1), reply(chat("b")), reply(failure("DeploymentNotFound"), 404)
    )
    with routed_driver(kind, fleet.config(TWO), clock=clock) as driver:
        assert driver.complete(model="m@b").text == "b"
        with pytest.raises(DeploymentNotFoundError):
            driver.complete(model="m@b")
    assert clock.waits == [1.0]


def test_the_model_of_the_client_may_be_a_route(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(rate_limit_reply(1))
    with routed_driver(kind, fleet.config(TWO), model="chat", model_id="gpt-5") as driver:
        answer = driver.complete(max_tokens=3)
        other = driver.client.with_options(model="m@c", headers={"x-team": "search"})
        assert driver.run(other.complete([{"role": "user", "content": "x"}])).text == "c"
    assert answer.routing is not None
    assert answer.routing.model_id == "gpt-5"
    assert fleet["b"].received[0].json["max_completion_tokens"] == 3
    assert fleet["c"].received[0].header("x-team") == "search"


def test_a_route_gives_params_where_the_caller_does_not(fleet: Fleet, kind: str) -> None:
    config = fleet.config(TWO, params={"temperature": 0.2, "top_p": 0.5})
    with routed_driver(kind, config) as driver:
        driver.complete(model="chat", temperature=1, top_p=None)
    body = fleet["a"].received[0].json
    assert (body["temperature"], body["top_p"]) == (1, 0.5)


def test_embeddings_stay_with_their_model_and_version(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(rate_limit_reply(1))
    fleet["b"].will(reply(vectors([1.0, 2.0])))
    config = fleet.config(
        [["e@a", "e@b", "e@c", "other@c"]],
        deployments={
            "e@a": {"model_id": "text-embedding-3-large", "model_version": "1"},
            "e@b": {"model_id": "text-embedding-3-large", "model_version": "1"},
            "e@c": {"model_id": "text-embedding-3-large", "model_version": "2"},
            "other@c": {"model_id": "text-embedding-3-small", "model_version": "1"},
        },
    )
    with routed_driver(kind, config) as driver:
        answer = driver.embed(["x"], model="chat", encoding_format="float")
        assert list(answer.vectors[0]) == [1.0, 2.0]
        assert len(driver.embed(["x"], model="e@b", encoding_format="float").vectors) == 1
        fleet["b"].will(rate_limit_reply(1))
        with pytest.raises(RouteExhaustedError, match="model_version is '2', not '1'"):
            driver.embed(["x"], model="chat", timeout=Timeout(total=0.3))
    assert fleet.counts["c"] == 0


def test_vectors_of_other_lengths_are_not_mixed_in(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    facts = {"model_id": "an-open-model", "model_version": "1"}
    config = fleet.config([["e@a"], ["e@b"]], deployments={"e@a": facts, "e@b": facts})
    fleet["a"].will(reply(vectors([1.0, 2.0])), rate_limit_reply(1))
    fleet["b"].will(reply(vectors([1.0, 2.0, 3.0])))
    with routed_driver(kind, config, clock=clock) as driver:
        form = {"model": "chat", "encoding_format": "float"}
        assert len(driver.embed(["x"], **form).vectors[0]) == 2
        with pytest.raises(RouteExhaustedError) as caught:
            driver.embed(["x"], **form, timeout=Timeout(total=0.5))
        reason = "'e@b' returned vectors of length 3, but 'e@a' of route 'chat' returned 2"
        assert caught.value.skipped["e@b"] == reason
        assert fleet.counts["b"] == 1
        # What was asked for in another length is compared with its own kind.
        clock.now += 60
        fleet["a"].will(rate_limit_reply(1))
        assert len(driver.embed(["x"], **form, dimensions=3).vectors[0]) == 3
        # A deployment whose own vectors change is the only one: nothing is mixed.
        alone = fleet.config([["e@b"]], deployments={"e@b": facts})
    with routed_driver(kind, alone) as driver:
        assert len(driver.embed(["x"], **form).vectors[0]) == 3
        fleet["b"].will(reply(vectors([1.0])))
        assert len(driver.embed(["x"], **form).vectors[0]) == 1


def test_images_follow_routes_too(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(rate_limit_reply(1))
    fleet["b"].will(reply(failure("404", "Resource not found"), 404), reply(vectors([1.0])))
    facts = {"model_id": "cohere-embed", "model_version": "3"}
    config = fleet.config([["e@a"], ["e@b"]], deployments={"e@a": facts, "e@b": facts})
    with routed_driver(kind, config) as driver:
        answer = driver.embed_images(["https://x.example/i.png"], model="chat")
    assert len(answer.vectors) == 1
    routes = [request.target.partition("?")[0] for request in fleet["b"].received]
    assert routes == ["/providers/cohere/v2/embed", "/models/images/embeddings"]


def test_routes_may_be_written_in_python(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(rate_limit_reply(1))
    route = Route("talk", [["m@a"], ["m@c"]], Policy(wait=0))
    with routed_driver(kind, fleet.config(), routes=[route], aliases={"t": "talk"}) as driver:
        assert driver.complete(model="T").text == "c"


def test_info_goes_to_a_named_deployment(fleet: Fleet, kind: str) -> None:
    fleet["b"].will(reply({"model_name": "x", "model_type": "chat", "model_provider_name": "y"}))
    endpoints = {"b": {"surface": "models"}}
    with routed_driver(kind, fleet.config(endpoints=endpoints)) as driver:
        assert driver.info(model="m@b").model_name == "x"


def test_a_call_without_a_name_goes_to_the_default_endpoint(fleet: Fleet, kind: str) -> None:
    endpoints = {"a": {"surface": "models"}}
    fleet["a"].will(reply({"model_name": "x", "model_type": "chat", "model_provider_name": "y"}))
    with routed_driver(kind, fleet.config(endpoints=endpoints)) as driver:
        assert driver.info().model_name == "x"


def test_credential_errors_end_the_call(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(reply(failure("401", "bad key"), 401))
    with routed_driver(kind, fleet.config()) as driver, pytest.raises(AuthenticationError):
        driver.complete(model="m@a")


def test_a_timeout_of_a_named_deployment_is_its_own(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(raw(b"", "stall"))
    with (
        routed_driver(kind, fleet.config(), max_retries=0) as driver,
        pytest.raises(APITimeoutError),
    ):
        driver.complete(model="m@a", timeout=0.1)


def test_a_deployment_that_cannot_carry_the_call_is_skipped_and_listed(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    facts = {"claude-x@b": {"wire": "messages"}}
    tiers = [["m@a"], ["claude-x@b"], ["m@c"]]
    fleet["a"].will(reply(failure("x"), 503))
    with routed_driver(kind, fleet.config(tiers, deployments=facts), clock=clock) as driver:
        assert driver.complete(model="chat", seed=1).text == "c"
        fleet["c"].will(reply(failure("x"), 503))
        with pytest.raises(RouteExhaustedError) as caught:
            driver.complete(model="chat", seed=1)
        with pytest.raises(ConfigurationError, match="seed"):
            driver.complete(model="claude-x@b", seed=1)
        _, b, _ = driver.client.explain(model="chat").decision.candidates
    assert "seed" in caught.value.skipped["claude-x@b"]
    assert b.in_flight == 0
    assert fleet.counts["b"] == 0
