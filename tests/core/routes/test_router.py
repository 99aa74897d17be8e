"""Routers: explanations, memory, counts, and reading their file again."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    AssistantMessage,
    AsyncInferenceClient,
    ConfigurationError,
    DeploymentNotFoundError,
    InferenceClient,
    RouteExhaustedError,
)
from azinfer.core.routes import Member, Policy, Route
from client_driver import KEY, USER, TestClock
from fleet import Fleet, rate_limit_reply, routed_driver
from raw_server import answer, chat, events, failure, part, reply, stream

TWO = [["m@a"], ["m@b"]]


def test_explaining_sends_nothing(fleet: Fleet, kind: str, clock: TestClock) -> None:
    fleet["a"].will(rate_limit_reply(5))
    config = fleet.config(
        [["m@a"], ["m@b:2", "m@c"]],
        guard=["content_filter"],
        deployments={
            "m@a": {"content_filter": "x"},
            "m@b": {"content_filter": "x", "rpm": 60, "tpm": 1000},
        },
    )
    with routed_driver(kind, config, clock=clock) as driver:
        before = driver.client.explain(model="Chat")
        assert sum(fleet.counts.values()) == 0
        driver.complete(model="chat")
        after = driver.client.explain(model="Chat")
    assert (before.requested, before.deployment) == ("Chat", "m")
    assert before.decision.endpoint == "a"
    assert after.endpoint.startswith(fleet["b"].url)
    decision = after.decision
    assert (decision.route, decision.resolution, decision.endpoint) == ("chat", "route", "b")
    a, b, c = decision.candidates
    assert (a.state, a.wait, a.reason, a.tier) == ("open", 5.0, "after 429", 0)
    assert (b.state, b.wait, b.reason, b.weight, b.latency) == ("closed", 0.0, "", 2.0, 0.0)
    assert (b.requests_left, b.tokens_left) == (9.0, 995.0)
    assert (c.tier, c.wait) == (1, float("inf"))
    assert c.reason.startswith("content_filter is not known")


def test_explaining_a_route_that_is_closed_shows_its_first_deployment(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    fleet["a"].will(rate_limit_reply(5))
    config = fleet.config([["m@a"]], policy={"wait": 0})
    with routed_driver(kind, config, clock=clock) as driver:
        with pytest.raises(RouteExhaustedError):
            driver.complete(model="chat")
        routing = driver.client.explain(model="chat")
    assert (routing.deployment, routing.decision.endpoint, routing.decision.tier) == (
        *("m", None),
        None,
    )


def test_explaining_names_says_what_they_mean(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config(aliases={"x": "m@b"}), model="x") as driver:
        routing = driver.client.explain()
        assert (routing.requested, routing.deployment) == ("x", "m")
        assert routing.decision.resolution == "alias, name@endpoint"
        with pytest.raises(DeploymentNotFoundError, match="Endpoints: a, b, c"):
            driver.client.explain(model="m@nowhere")


def test_a_listed_endpoint_refuses_unknown_names_without_a_request(fleet: Fleet, kind: str) -> None:
    fleet["a"].will(reply({"data": [{"id": "gpt-4o"}]}))
    with routed_driver(kind, fleet.config(TWO)) as driver:
        assert driver.client.explain(model="gpt4o").decision.resolution == "passed through"
        driver.deployments()
        with pytest.raises(DeploymentNotFoundError) as caught:
            driver.complete(model="gpt4o")
        assert driver.client.explain(model="GPT-4O").deployment == "gpt-4o"
    assert caught.value.suggestions[0] == "gpt-4o"
    assert fleet.counts["a"] == 1


def test_names_of_the_file_are_suggested_for_one_that_the_service_does_not_know(
    fleet: Fleet, kind: str
) -> None:
    fleet["a"].will(reply(failure("DeploymentNotFound", "no such deployment"), 404))
    config = fleet.config(TWO, aliases={"fast": "chat"}, deployments={"mini@a": {"rpm": 6}})
    with routed_driver(kind, config) as driver:
        for name, nearest in (("chta", ("chat",)), ("fsat", ("fast",)), ("mini", ()), ("zzz", ())):
            with pytest.raises(DeploymentNotFoundError, match="no such deployment") as caught:
                driver.complete(model=name)
            assert caught.value.suggestions == nearest
            hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
            assert f"no such deployment. {hint}" in str(caught.value)


def test_rate_limits_are_kept_and_calls_wait_for_them(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    facts = {"m@a": {"rpm": 12}}
    with routed_driver(kind, fleet.config([["m@a"]], deployments=facts), clock=clock) as driver:
        start = clock.now
        for _ in range(5):
            driver.complete(model="chat")
    assert fleet.counts["a"] == 5
    assert 20 <= clock.now - start <= 23


def test_tokens_are_estimated_and_settled(fleet: Fleet, kind: str, clock: TestClock) -> None:
    facts = {"m@a": {"tpm": 1000}}
    config = fleet.config([["m@a"], ["m@b"]], deployments=facts)
    with routed_driver(kind, config, clock=clock) as driver:
        long: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "x" * 2000}]}]
        assert driver.complete(long, model="chat", max_tokens=100).text == "a"
        left = driver.client.explain(model="chat").decision.candidates[0].tokens_left
        assert left == 995  # the answer says that it used five
        assert driver.complete(long, model="chat", max_tokens=600).text == "b"
        assert driver.complete(long, model="chat", max_completion_tokens=300).text == "a"


def test_the_usage_of_a_stream_corrects_its_estimate(
    fleet: Fleet, kind: str, clock: TestClock
) -> None:
    usage = {"choices": [], "usage": {"total_tokens": 7}}
    whole = events(part("a", "stop"), usage)
    fleet["a"].will(stream(whole), stream(events(part("one"), done=False), "stall"))
    config = fleet.config([["m@a"]], deployments={"m@a": {"tpm": 1000}})
    with routed_driver(kind, config, clock=clock) as driver:

        def tokens_left() -> Any:
            return driver.client.explain(model="chat").decision.candidates[0].tokens_left

        assert driver.stream(model="chat", max_tokens=400).text == "a"
        assert tokens_left() == 993
        # A stream that was left early has no usage: its estimate stays.
        driver.read(lambda chunk: True, model="chat", max_tokens=400)
        assert tokens_left() == 593


def test_concurrency_is_kept_and_calls_wait_for_a_place(fleet: Fleet, clock: TestClock) -> None:
    config = fleet.config([["m@a"]], deployments={"m@a": {"concurrency": 1}}, policy={"wait": 3})
    with routed_driver("sync", config, clock=clock) as driver:
        client = driver.client
        with client.stream(USER, model="chat"), pytest.raises(RouteExhaustedError) as caught:
            client.complete(USER, model="chat")
    assert "m@a (its limit of concurrent calls is reached)" in caught.value.message
    assert "Waited" in caught.value.message
    assert 2 < sum(clock.waits) <= 3


def test_conversations_that_begin_alike_go_to_one_deployment(fleet: Fleet, kind: str) -> None:
    config = fleet.config([["m@a", "m@b", "m@c"]], policy={"affinity": "prefix"})
    with routed_driver(kind, config) as driver:
        for number in range(12):
            later = [*USER, {"role": "assistant", "content": "x"}] * (1 + number % 2)
            driver.complete([*later, *USER], model="chat")
    assert sorted(fleet.counts.values()) == [0, 0, 12]


def test_calls_with_one_cache_key_go_to_one_deployment(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config([["m@a", "m@b", "m@c"]])) as driver:
        for number in range(12):
            messages: list[Any] = [{"role": "user", "content": str(number)}]
            answer = driver.complete(messages, model="chat", prompt_cache_key="team")
    assert sorted(fleet.counts.values()) == [0, 0, 12]
    assert answer.routing is not None
    assert answer.routing.decision is not None
    assert answer.routing.decision.why == "affinity"


def state(server: Any, wire: str = "responses") -> dict[str, Any]:
    resource = f"127.0.0.1:{server.port}" if server else ""
    return {"wire": wire, "resource": resource, "items": [{"type": "reasoning"}]}


def test_state_goes_back_to_its_resource(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config([["m@a", "m@b", "m@c"]])) as driver:
        for _ in range(6):
            message = AssistantMessage("x", state=state(fleet["b"]))
            assert driver.complete([*USER, message, *USER], model="chat").text == "b"
            wire = {"role": "assistant", "content": "x", "state": state(fleet["b"])}
            assert driver.complete([*USER, wire, *USER], model="chat").text == "b"
    assert fleet.counts == {"a": 0, "b": 12, "c": 0}


def test_state_never_goes_to_another_resource(fleet: Fleet, kind: str, clock: TestClock) -> None:
    fleet["b"].will(rate_limit_reply(30))
    message = AssistantMessage("x", state=state(fleet["b"]))
    config = fleet.config([["m@a", "m@b", "m@c"]], policy={"wait": 1})
    with routed_driver(kind, config, clock=clock) as driver:
        with pytest.raises(RouteExhaustedError, match="has state of '127") as caught:
            driver.complete([*USER, message, *USER], model="chat")
        assert caught.value.skipped["m@a"] == "the conversation belongs to another resource"
        elsewhere = AssistantMessage("x", state={**state(fleet["b"]), "resource": "contoso"})
        with pytest.raises(RouteExhaustedError, match="has state of 'contoso'"):
            driver.complete([*USER, elsewhere, *USER], model="chat")
    assert (fleet.counts["a"], fleet.counts["c"]) == (0, 0)


def test_state_of_an_unknown_resource_needs_a_route_of_one(fleet: Fleet, kind: str) -> None:
    message = AssistantMessage("x", state=state(None))
    routes = {"one": {"tiers": [["m@a", "n@a"]]}}
    with routed_driver(kind, fleet.config([["m@a", "m@b"]], routes=routes)) as driver:
        with pytest.raises(RouteExhaustedError, match="state of 'an unknown resource'"):
            driver.complete([*USER, message], model="chat")
        with pytest.raises(RouteExhaustedError, match="unknown resource"):
            driver.complete(model="chat", previous_response_id="resp_1")
        assert driver.complete([*USER, message], model="one").text == "a"


def test_state_of_two_resources_is_refused(fleet: Fleet, kind: str) -> None:
    one, two = (AssistantMessage("x", state=state(fleet[name])) for name in "ab")
    with (
        routed_driver(kind, fleet.config(TWO)) as driver,
        pytest.raises(ConfigurationError, match="state of several resources"),
    ):
        driver.complete([*USER, one, two], model="chat")


def test_the_service_is_asked_to_spill_over(fleet: Fleet, kind: str) -> None:
    spilled = {"x-ms-is-spilled-over": "true", "x-ms-deployment-name": "std"}
    fleet["a"].will(reply(chat("a"), 200, spilled))
    tiers = [["ptu@a"], ["other@b", "std@a"]]
    facts = {"ptu@a": {"capacity_type": "ProvisionedManaged"}}
    routes = {"off": {"tiers": tiers, "policy": {"service_spillover": False}}}
    with routed_driver(kind, fleet.config(tiers, deployments=facts, routes=routes)) as driver:
        answer = driver.complete(model="chat", headers={"x-mine": "1"})
        driver.complete(model="off")
    first, second = fleet["a"].received
    assert (first.header("x-ms-spillover-deployment"), first.header("x-mine")) == ("std", "1")
    assert second.header("x-ms-spillover-deployment") is None
    assert answer.routing is not None
    assert (answer.routing.deployment, answer.routing.spilled_over) == ("std", True)


def test_a_router_is_shared_copied_and_pickled(fleet: Fleet) -> None:
    fleet["a"].will(rate_limit_reply(60))
    config = json.loads(json.dumps(fleet.config(TWO)))
    for each in config["endpoints"].values():
        each["credential"] = "env:MY_KEY"
    client = InferenceClient.from_config(config, environ={"MY_KEY": KEY}, model="chat")
    assert client.complete(USER).text == "b"
    twin = client.to_async()
    assert isinstance(twin, AsyncInferenceClient)
    assert client.with_options(timeout=3).explain().decision.endpoint == "b"  # type: ignore[union-attr]
    assert twin.explain().decision.endpoint == "b"  # type: ignore[union-attr]
    again = pickle.loads(pickle.dumps(client))
    # The state of this process is not that of another.
    assert again.explain().decision.endpoint == "a"
    assert KEY.encode() not in pickle.dumps(client)
    client.close()


def test_options_go_to_every_endpoint_but_credentials_to_the_default(fleet: Fleet) -> None:
    options: dict[str, Any] = {"credential": "mine", "headers": {"x-all": "1"}}
    with routed_driver("sync", fleet.config(), **options) as driver:
        driver.complete(model="m@a")
        driver.complete(model="m@b")
    a, b = fleet["a"].received[0], fleet["b"].received[0]
    assert (a.header("api-key"), a.header("x-all")) == ("mine", "1")
    assert (b.header("api-key"), b.header("x-all")) == (KEY, "1")


def test_the_routes_of_a_client_are_listed(fleet: Fleet) -> None:
    route = Route("Mine", [[Member("m", "c")]], Policy(), guard=("model",))
    with routed_driver("sync", fleet.config(TWO), routes=[route]) as driver:
        assert driver.client.routes == ("chat", "Mine")
    assert InferenceClient("localhost", KEY).routes == ()


def toml(fleet: Fleet, tiers: str) -> str:
    endpoints = "".join(
        f'[endpoints.{name}]\nurl = "{server.url}"\n' for name, server in fleet.servers.items()
    )
    return f'default = "a"\n{endpoints}[routes.chat]\ntiers = {tiers}\n'


def test_a_changed_file_is_read_again(
    fleet: Fleet, kind: str, clock: TestClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "azinfer.toml"
    path.write_text(toml(fleet, '[["m@a"]]'), "utf-8")
    options: dict[str, Any] = {"clock": clock, "reload_after": 5}
    with routed_driver(kind, path, **options) as driver, caplog.at_level(logging.WARNING):  # type: ignore[arg-type]
        assert driver.complete(model="chat").text == "a"
        path.write_text(toml(fleet, '[["m@b"], ["m@c"]]'), "utf-8")
        assert driver.complete(model="chat").text == "a"
        clock.now += 5
        assert driver.complete(model="chat").text == "b"
        # A file that is wrong, or gone, changes nothing.
        path.write_text(toml(fleet, '[["m@nowhere"]]'), "utf-8")
        clock.now += 5
        assert driver.complete(model="chat").text == "b"
        clock.now += 5
        assert driver.complete(model="chat").text == "b"
        path.unlink()
        clock.now += 5
        assert driver.complete(model="chat").text == "b"
        path.write_text(toml(fleet, '[["m@c"]]').replace("[routes", "[aliases]\n[routes"), "utf-8")
        clock.now += 5
        assert driver.complete(model="chat").text == "c"
    (record,) = caplog.records
    assert "the routes stay as they were: " in record.message
    assert "line 9: routes.chat.tiers: 'm@nowhere' names an unknown endpoint" in record.message


def test_a_new_file_keeps_what_is_known_and_changes_limits(
    fleet: Fleet, clock: TestClock, tmp_path: Path
) -> None:
    path = tmp_path / "azinfer.toml"
    text = toml(fleet, '[["m@a"], ["m@b"]]')
    path.write_text(text + '[deployments."m@b"]\nrpm = 60\ntpm = 1000\n', "utf-8")
    fleet["a"].will(rate_limit_reply(60))
    options: dict[str, Any] = {"clock": clock, "reload_after": 1}
    with routed_driver("sync", path, **options) as driver:  # type: ignore[arg-type]
        driver.complete(model="chat")
        path.write_text(text + '[deployments."m@b"]\nrpm = 120\nconcurrency = 3\n', "utf-8")
        clock.now += 1
        a, b = driver.client.explain(model="chat").decision.candidates
    assert a.state == "open"
    assert (b.requests_left, b.tokens_left) == (19.0, None)


def test_answers_correct_the_budget(fleet: Fleet, kind: str, clock: TestClock) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "8"}
    fleet["a"].will(lambda peer: peer.send(answer(chat("a"), 200, headers)))
    with routed_driver(kind, fleet.config(TWO), clock=clock) as driver:
        assert driver.complete(model="chat").text == "a"
        assert driver.complete(model="chat").text == "b"
        (a, _) = driver.client.explain(model="chat").decision.candidates
        clock.now += 8
        assert driver.complete(model="chat").text == "a"
    assert (a.reason, a.wait) == ("its rate limit is used up", 8.0)


def test_many_names_are_understood_but_not_all_remembered(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("azinfer.core.router._MOST_NAMES", 2)
    with routed_driver("sync", fleet.config()) as driver:
        for number in range(4):
            assert driver.client.explain(model=f"m{number}").deployment == f"m{number}"


def test_a_client_of_one_endpoint_does_not_import_routes() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from azinfer.core import InferenceClient; InferenceClient('localhost', 'k');"
        "print([name for name in sys.modules if 'azinfer.core.rout' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['azinfer.core.routing']"


TEXT = {"type": "output_text", "text": "hi", "annotations": []}


@pytest.mark.parametrize(
    ("item", "goes_on"),
    [
        ({"type": "message", "id": "msg_1", "role": "assistant", "content": [TEXT]}, True),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, True),
        ({"type": "text", "text": "x", "citations": [{"encrypted_index": "abc"}]}, False),
        ({"type": "message", "id": "msg_1", "content": (), "signature": "abc"}, False),
        ({"type": "reasoning", "id": "rs_1", "encrypted_content": "abc"}, False),
        ("odd", False),
    ],
)
def test_only_what_one_resource_can_read_keeps_a_conversation_there(
    fleet: Fleet, kind: str, clock: TestClock, item: Any, goes_on: bool
) -> None:
    fleet["a"].will(rate_limit_reply(30))
    message = AssistantMessage("hi", state={**state(fleet["a"]), "items": [item]})
    with routed_driver(kind, fleet.config(TWO, policy={"wait": 1}), clock=clock) as driver:
        if goes_on:
            assert driver.complete([*USER, message, *USER], model="chat").text == "b"
            return
        with pytest.raises(RouteExhaustedError, match="has state of '127"):
            driver.complete([*USER, message, *USER], model="chat")
    assert fleet.counts["b"] == 0


def test_a_call_that_never_fits_fails_at_once(fleet: Fleet, kind: str, clock: TestClock) -> None:
    config = fleet.config([["m@a"]], deployments={"m@a": {"tpm": 1000}})
    long: list[Any] = [{"role": "user", "content": "x" * 8000}]
    with routed_driver(kind, config, clock=clock) as driver:
        with pytest.raises(RouteExhaustedError, match="may use 2016 tokens, more than m@a can"):
            driver.complete(long, model="chat")
        assert clock.waits == []
        assert driver.complete(model="chat").text == "a"
