"""Routes that share through a real Redis server; each client stands for a process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import redis

from azinfer.core import (
    AsyncInferenceClient,
    ConfigurationError,
    InferenceClient,
    RouteExhaustedError,
)
from azinfer.core.client_config import SharedConfig
from azinfer.core.clock import SYSTEM
from azinfer.core.endpoint_knowledge import EndpointKnowledge
from azinfer.core.routes.choice import Need, Tier
from azinfer.core.routes.facts import Facts
from azinfer.core.routes.plan import Plan
from azinfer.core.routes.route import Member, Route
from azinfer.core.routes.traffic import Traffic
from azinfer.redis import RedisSharing
from azinfer.redis.scripts import LEASE
from client_driver import KEY, USER, ClientDriver
from fleet import Fleet, rate_limit_reply, routed_driver
from raw_server import chat, failure, reply, vectors
from redis_server import RedisServer

TWO = [["m@a"], ["m@b"]]
ENVIRON = {"AZURE_AI_API_KEY": KEY}


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread brings about; the test's own limit ends it."""
    while not condition():
        time.sleep(0.01)


def shared_config(fleet: Fleet, server: RedisServer, **more: Any) -> dict[str, Any]:
    # A time-out that only a busy machine needs.
    shared = {"redis": server.url, "timeout": 5}
    return {**fleet.config(more.pop("tiers", TWO), **more), "shared": shared}


def test_processes_share_a_limit(
    fleet: Fleet, kind: str, one_server: RedisServer, store: redis.Redis
) -> None:
    config = shared_config(fleet, one_server, deployments={"m@a": {"rpm": 60}})  # 10 in 10 s
    with routed_driver(kind, config) as one, routed_driver(kind, config) as two:
        answers = [driver.complete(model="chat").text for _ in range(8) for driver in (one, two)]
    assert answers.count("a") in (8, 9, 10)  # each process may have one in reserve
    assert len(answers) == 16
    assert fleet.counts["a"] + fleet.counts["b"] == 16


def test_tokens_are_shared_too(
    fleet: Fleet, kind: str, one_server: RedisServer, store: redis.Redis
) -> None:
    config = shared_config(fleet, one_server, deployments={"m@a": {"tpm": 1000}})
    long: list[Any] = [{"role": "user", "content": "x" * 2000}]
    fleet["a"].will(reply(chat("a", usage={"total_tokens": 600})))
    with routed_driver(kind, config) as one, routed_driver(kind, config) as two:
        assert one.complete(long, model="chat", max_tokens=100).text == "a"
        until(lambda: total_usage(store, "tokens") >= 600)
        assert two.complete(long, model="chat", max_tokens=100).text == "b"


def total_usage(store: redis.Redis, kind: str) -> float:
    return sum(
        float(amount) for key in store.scan_iter(f"azinfer:{kind}:*") for amount in store.hvals(key)
    )


def test_what_is_not_used_goes_back(
    fleet: Fleet, one_server: RedisServer, store: redis.Redis
) -> None:
    config = shared_config(fleet, one_server, deployments={"m@a": {"rpm": 60}})
    with routed_driver("sync", config) as driver:
        assert driver.complete(model="chat").text == "a"
        until(lambda: total_usage(store, "requests") == 1.0)
        sharing = driver.client._router._traffic.sharing
        until(lambda: sharing._thread is None)
        assert driver.complete(model="chat").text == "a"


def test_a_lease_that_is_taken_twice_is_taken_once(store: redis.Redis) -> None:
    for _ in range(3):  # as after answers that were lost
        assert store.eval(LEASE, 1, "w", "me", 10, 100, 30, "0", "5") == "30"
    assert _sum(store) == 35
    assert store.eval(LEASE, 1, "w", "other", 10, 100, 90) == "65"
    assert store.eval(LEASE, 1, "w", "other", 10, 100, 0, "0", "60") == "0"
    assert store.eval(LEASE, 1, "w", "me", 10, 100, 90, "0", "10") == "30"
    assert store.eval(LEASE, 1, "w", "me", 10, 100, 1, "12", "7") == "1"  # too long ago
    assert _sum(store) == 61
    assert 0 < store.pttl("w") <= 20_000


def _sum(store: redis.Redis) -> float:
    return sum(map(float, store.hvals("w")))


def test_a_breaker_opens_and_closes_for_all(
    fleet: Fleet, kind: str, one_server: RedisServer, store: redis.Redis
) -> None:
    config = shared_config(fleet, one_server)
    fleet["a"].will(rate_limit_reply(1), reply(chat("a")))
    with routed_driver(kind, config) as one, routed_driver(kind, config) as two:
        assert one.complete(model="chat").text == "b"
        until(lambda: store.exists("azinfer:breakers") == 1)

        # It knows before its first call, and does not try the deployment itself.
        assert two.complete(model="chat").text == "b"
        candidate = two.client.explain(model="chat").decision.candidates[0]
        assert (candidate.state, candidate.reason) == ("open", "after 429")
        assert fleet.counts["a"] == 1
        until(lambda: one.complete(model="chat").text == "a")
        until(lambda: two.complete(model="chat").text == "a")


def test_a_server_that_is_not_there_changes_nothing(
    fleet: Fleet, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer()  # never started
    config = shared_config(fleet, server, deployments={"m@a": {"rpm": 60}}, policy={"wait": 0})
    with caplog.at_level(logging.INFO, "azinfer.redis"), routed_driver(kind, config) as driver:
        answers = [driver.complete(model="chat").text for _ in range(12)]
    assert answers == ["a"] * 10 + ["b"] * 2
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "each process keeps to the limits by itself" in caplog.text


def test_a_name_that_resolves_slowly_delays_no_event_loop(
    fleet: Fleet, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, answered, threads = socket.getaddrinfo, threading.Event(), list[str]()

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "redis.internal":
            return real(host, *arguments, **options)
        threads.append(threading.current_thread().name)
        if threads[-1] == "azinfer-redis":  # anywhere else, it would wait for itself
            answered.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    table = {"redis": "redis://redis.internal:6379"}
    config = {**fleet.config(TWO, deployments={"m@a": {"rpm": 60}}), "shared": table}
    with routed_driver(kind, config) as driver:
        answers = [driver.complete(model="chat").text for _ in range(3)]
        answered.set()
    assert answers == ["a"] * 3
    assert set(threads) == {"azinfer-redis"}
    assert caplog.text.count("Redis does not answer (TimeoutError)") == 1


def test_only_the_thread_waits_for_the_server(
    fleet: Fleet, kind: str, one_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, threads = RedisSharing._exchange_once, set[str]()

    def exchange_once(*arguments: Any) -> None:
        threads.add(threading.current_thread().name)
        real(*arguments)

    monkeypatch.setattr(RedisSharing, "_exchange_once", exchange_once)
    config = shared_config(fleet, one_server, deployments={"m@a": {"rpm": 6000}})
    with routed_driver(kind, config) as driver:
        misses = driver.client._router._traffic.sharing._demands
        until(lambda: driver.complete(model="chat").text == "a" and not misses)
    assert threads == {"azinfer-redis"}


def test_lengths_of_vectors_are_learned_from_others(
    fleet: Fleet, kind: str, one_server: RedisServer, store: redis.Redis
) -> None:
    fleet["a"].will(reply(vectors([1.0, 2.0])))
    fleet["b"].will(reply(vectors([1.0, 2.0, 3.0])))
    facts = {"model_id": "text-embedding-3-large", "model_version": "1"}
    config = shared_config(
        fleet, one_server, deployments={"m@a": facts, "m@b": facts}, policy={"wait": 1}
    )

    def embed(driver: ClientDriver) -> int:
        vectors = driver.embed(["x"], model="chat", encoding_format="float").vectors
        return len(vectors[0])

    store.hset("azinfer:facts", '["vector length","chat","no JSON","m","https://x"]', "1")
    with routed_driver(kind, config) as one, routed_driver(kind, config) as two:
        until(lambda: embed(one) == 2 and store.hlen("azinfer:facts") == 2)
        fleet["a"].will(reply(failure("x"), 503))
        with pytest.raises(RouteExhaustedError, match=r"length 3, but 'm@a' .* returned 2"):
            embed(two)


def test_old_lengths_of_vectors_stop_no_route(
    fleet: Fleet, kind: str, one_server: RedisServer, store: redis.Redis
) -> None:
    facts = {"model_id": "text-embedding-3-large", "model_version": "1"}
    config = shared_config(fleet, one_server, deployments={"m@a": facts, "m@b": facts})

    def embed(driver: ClientDriver) -> int:
        answer = driver.embed(["x"], model="chat", encoding_format="float")
        return len(answer.vectors[0])

    for name in "ab":
        fleet[name].will(reply(vectors([1.0, 2.0])))
    with routed_driver(kind, config) as one:
        until(lambda: embed(one) == 2 and store.hlen("azinfer:facts") == 1)
        fleet["a"].will(reply(failure("x"), 503))
        until(lambda: embed(one) == 2 and store.hlen("azinfer:facts") == 2)
    assert 6 * 86_400 < store.ttl("azinfer:facts") <= 7 * 86_400
    # The models behind both deployments are replaced, and the program starts again.
    for name in "ab":
        fleet[name].will(reply(vectors([1.0, 2.0, 3.0])))
    with routed_driver(kind, config) as two:
        until(lambda: embed(two) == 3 and store.hlen("azinfer:facts") == 1)
    assert list(store.hgetall("azinfer:facts").values()) == ["3"]
    with routed_driver(kind, config) as three:
        fleet["a"].will(reply(failure("x"), 503))
        until(lambda: embed(three) == 3 and store.hlen("azinfer:facts") == 2)


def test_a_store_that_others_have_written_to_fails_no_call(
    fleet: Fleet, kind: str, one_server: RedisServer, store: redis.Redis
) -> None:
    store.set("azinfer:breakers", "not a hash")
    store.hset("azinfer:facts", b"\xff", b"\xff")
    with routed_driver(
        kind, shared_config(fleet, one_server, deployments={"m@a": {"rpm": 60}})
    ) as driver:
        assert [driver.complete(model="chat").text for _ in range(12)].count("a") == 10
    store.delete("azinfer:breakers")
    with routed_driver(kind, shared_config(fleet, one_server)) as driver:
        assert driver.complete(model="chat").text == "a"


def test_a_server_that_dies_and_comes_back_fails_no_call(
    fleet: Fleet, kind: str, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    config = shared_config(fleet, own_server, deployments={"m@a": {"rpm": 60000}})
    with caplog.at_level(logging.INFO, "azinfer.redis"), routed_driver(kind, config) as driver:

        def answer() -> bool:
            assert driver.complete(model="chat").text in ("a", "b")
            return True

        answer()
        own_server.kill()
        until(lambda: answer() and len(caplog.records) == 1)
        own_server.start()
        until(lambda: answer() and len(caplog.records) >= 2)
        with redis.Redis.from_url(own_server.url) as client:
            until(lambda: answer() and bool(client.keys("azinfer:requests:*")))
        until(lambda: driver.client._router._traffic.sharing._thread is None)
    # Two threads may both report that it is back, but nobody is warned twice.
    levels = [each.levelname for each in caplog.records]
    assert (levels[0], set(levels[1:])) == ("WARNING", {"INFO"})


def test_facts_are_learned_from_others(one_server: RedisServer, store: redis.Redis) -> None:
    mine, theirs = EndpointKnowledge(), EndpointKnowledge()
    mine.corrections_of("v1", "m")["max_tokens"] = "max_completion_tokens"
    mine.corrections_of("v1", "m")["https://a/.default"] = "https://b/.default"
    mine.learn_wire("m", "responses")
    theirs.corrections_of("v1", "m")["stop"] = ""
    store.hset("azinfer:facts", mapping={"no JSON": "x", '["https://x"]': "x", '["u","v"]': "w"})
    for knowledge in (mine, theirs):
        exchange(one_server, knowledge)
    assert theirs.corrections_of("v1", "m") == {"max_tokens": "max_completion_tokens", "stop": ""}
    assert theirs.wires == {"m": "responses"}


def exchange(server: RedisServer, knowledge: EndpointKnowledge | None) -> None:
    traffic = Traffic(SYSTEM)
    places = {"a": ("https://a.example", knowledge), "b": ("https://b.example", None)}
    sharing = RedisSharing(SharedConfig(server.url), traffic, lambda: places, SYSTEM)
    traffic.sharing = sharing
    plan = Plan(Route("r", [["m@a"]]), (Tier([Member("m", "a", facts=Facts())]),), {}, {}, False)
    traffic.add(plan)
    traffic.take(plan, Need())


def test_a_pickled_client_shares_as_a_process_of_its_own(
    fleet: Fleet, one_server: RedisServer, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AI_API_KEY", KEY)
    config = shared_config(fleet, one_server, deployments={"m@a": {"rpm": 60}})
    with InferenceClient.from_config(config) as client, pickle.loads(pickle.dumps(client)) as copy:
        for each in (client, copy):
            assert each.complete(USER, model="chat").text == "a"
    owners = {
        field.split()[1]
        for key in store.scan_iter("azinfer:requests:*")
        for field in store.hkeys(key)
    }
    assert len(owners) == 2


def _child(client: InferenceClient, answers: Any) -> None:
    answers.put(client.complete(USER, model="chat").text)
    os._exit(0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_shares_as_a_process_of_its_own(
    fleet: Fleet, one_server: RedisServer, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AI_API_KEY", KEY)
    config = shared_config(fleet, one_server, deployments={"m@a": {"rpm": 60}})
    client = InferenceClient.from_config(config)
    assert client.complete(USER, model="chat").text == "a"
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_child, args=(client, answers))
    child.start()
    child.join(30)
    assert answers.get() == "a"
    with client:
        assert client.complete(USER, model="chat").text == "a"


def test_the_thread_ends_once_no_calls_are_sent(fleet: Fleet, one_server: RedisServer) -> None:
    config = shared_config(fleet, one_server)
    with InferenceClient.from_config(config, environ=ENVIRON) as client:
        client.complete(USER, model="chat")
        thread = client._router._traffic.sharing._thread
        until(lambda: not thread.is_alive())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "shared.redis: is missing"),
        ({"redis": "localhost"}, 'shared.redis: must be a URL such as "redis://'),
        ({"redis": "redis://x", "timeout": 9}, "shared.timeout: must be above 0 and at most 5"),
        ({"redis": "redis://x", "ttl": 9}, "shared.ttl: is unknown"),
        ({"redis": "env:NO_REDIS"}, "the variable NO_REDIS is not set"),
        ({"redis": "redis://x:port"}, "is not a valid URL"),
        ({"redis": "redis://:geheim/12@x:6379/0"}, "with %2F for / in the password"),
    ],
)
def test_a_mistake_in_the_table_is_an_error(
    fleet: Fleet, table: dict[str, Any], message: str
) -> None:
    config = {**fleet.config(TWO), "shared": table}
    with pytest.raises(ConfigurationError) as caught:
        AsyncInferenceClient.from_config(config, environ=ENVIRON)
    assert message in caught.value.message
    assert "geheim" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_the_url_may_be_in_the_environment(
    fleet: Fleet, one_server: RedisServer, store: redis.Redis
) -> None:
    table = {"redis": "env:MY_REDIS", "prefix": "mine", "timeout": 1}
    config = {**fleet.config(TWO, deployments={"m@a": {"rpm": 60}}), "shared": table}
    with routed_driver("sync", config, environ={**ENVIRON, "MY_REDIS": one_server.url}) as driver:
        driver.complete(model="chat")
        assert len(list(store.scan_iter("mine:requests:m@http*"))) == 1
