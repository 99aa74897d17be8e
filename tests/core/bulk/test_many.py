"""`embed_many` and `complete_many` of both clients, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from azinfer.core import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    InferenceClient,
    InvalidResponseError,
    RateLimitError,
    ServerError,
    UnsupportedParameterError,
    UserMessage,
)
from azinfer.core.bulk import (
    BulkEstimate,
    BulkProgress,
    CompletionJob,
    EmbeddingJob,
    estimate,
)
from azinfer.core.operations import CallOptions
from bulk_calls import echo, echo_chat, numbers, results_of, texts_of
from client_driver import ClientDriver, TestClock
from raw_server import RawServer, failure, reply, vectors

Ask = Callable[..., ClientDriver]


@pytest.mark.parametrize("count", [0, 1, 97, 5000])
def test_any_number_of_texts_comes_back_in_order(ask: Ask, server: RawServer, count: int) -> None:
    server.choose = echo
    texts = (str(at) for at in range(count))
    results = results_of(ask(model="prod-embed"), "embed_many", texts)
    assert numbers(results) == list(map(float, range(count)))
    assert [result.index for result in results] == list(range(count))
    assert [result.item for result in results] == [str(at) for at in range(count)]
    assert len(server.received) == -(-count // 96)


def test_results_come_as_they_are_ready_if_wanted(ask: Ask, server: RawServer) -> None:
    others = threading.Event()

    def slow_first(request: Any) -> Any:
        if "0" in request.json["input"]:
            return lambda peer: (others.wait(5), echo(request)(peer))
        if "199" in request.json["input"]:
            others.set()
        return echo(request)

    server.choose = slow_first
    texts = [str(at) for at in range(200)]
    results = results_of(ask(), "embed_many", texts, ordered=False, batch_size=10)
    assert sorted(numbers(results)) == list(map(float, range(200)))
    assert results[0].index >= 10


def test_one_slow_item_leaves_memory_bounded(ask: Ask, server: RawServer) -> None:
    taken = 0
    stalled = threading.Event()

    def endless() -> Iterator[list[Any]]:
        nonlocal taken
        for taken in itertools.count(1):
            yield [UserMessage(str(taken))]

    def slow_first(request: Any) -> Any:
        if request.json["messages"][-1]["content"] != "1":
            if len(server.received) == 256:
                stalled.set()
            return echo_chat(request)
        return lambda peer: (stalled.wait(5), echo_chat(request)(peer))

    server.choose = slow_first
    results = results_of(ask(), "complete_many", endless(), most=3)
    assert texts_of(results) == ["1", "2", "3"]
    assert stalled.is_set()
    assert taken <= 260


def test_texts_may_come_from_an_async_iterable(ask: Ask, server: RawServer, kind: str) -> None:
    server.choose = echo

    async def texts() -> AsyncIterator[str]:
        for at in range(200):
            await asyncio.sleep(0)
            yield str(at)

    if kind == "sync":
        with pytest.raises(TypeError):
            results_of(ask(), "embed_many", texts())
        return
    results = results_of(ask(), "embed_many", texts(), batch_size=96)
    assert numbers(results) == list(map(float, range(200)))


def test_options_reach_every_request(ask: Ask, server: RawServer) -> None:
    server.choose = echo
    named: dict[str, Any] = {"model": "Embed-2", "dimensions": 2, "headers": {"x-job": "night"}}
    results_of(ask(), "embed_many", ["1", "2"], batch_size=1, **named)
    assert {request.json["model"] for request in server.received} == {"Embed-2"}
    assert {request.json["dimensions"] for request in server.received} == {2}
    assert {request.header("x-job") for request in server.received} == {"night"}


@pytest.mark.parametrize("method", ["embed_many", "complete_many"])
@pytest.mark.parametrize("seconds", [5, 90.0])
def test_work_ends_when_its_patience_does(
    ask: Ask, server: RawServer, method: str, seconds: float
) -> None:
    server.choose = lambda request: reply(failure("503", "maintenance"), 503)
    driver = ask(max_retries=0)
    began = driver.client._clock.now
    items: list[Any] = ["1", "2"] if method == "embed_many" else [[UserMessage("1")]]
    with pytest.raises(ServerError, match="maintenance"):
        results_of(driver, method, items, patience=seconds)
    assert seconds < driver.client._clock.now - began < 2 * seconds + 60
    assert not any("patience" in request.json for request in server.received)


@pytest.mark.parametrize("method", ["embed_many", "complete_many"])
@pytest.mark.parametrize("value", [0, math.nan])
def test_patience_is_a_number_above_0(ask: Ask, method: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=f"patience must be above 0, not {value}"):
        results_of(ask(), method, [], patience=value)


@pytest.mark.parametrize("name", ["concurrency", "batch_size"])
def test_a_number_that_is_not_above_0_is_an_error(ask: Ask, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be above 0, not 0"):
        results_of(ask(), "embed_many", ["1"], **{name: 0})


def test_a_bad_text_is_found_and_the_others_are_embedded_once(ask: Ask, server: RawServer) -> None:
    def no_seven(request: Any) -> Any:
        if "7" in request.json["input"]:
            return reply(failure("BadRequest", "input has an empty string"), 400)
        return echo(request)

    server.choose = no_seven
    results = results_of(ask(), "embed_many", [str(at) for at in range(64)])
    assert [result.index for result in results if result.error] == [7]
    assert isinstance(results[7].error, BadRequestError)
    assert results[7].value is None
    embedded = [text for request in server.received for text in request.json["input"]]
    refused = [r for r in server.received if "7" in r.json["input"]]
    assert len(refused) == 7
    good = [text for r in server.received if "7" not in r.json["input"] for text in r.json["input"]]
    assert sorted(good) == sorted(set(embedded) - {"7"})


def test_an_item_that_is_not_text_is_an_error_of_its_own(ask: Ask, server: RawServer) -> None:
    server.choose = echo
    results = results_of(ask(), "embed_many", ["1", 2, "\ud800", "4"])
    kinds = [type(result.error) for result in results]
    assert kinds == [type(None), ConfigurationError, ConfigurationError, type(None)]
    assert "an item has the type int" in str(results[1].error)


def test_requests_have_messages_and_options_of_their_own(ask: Ask, server: RawServer) -> None:
    server.choose = echo_chat
    requests = [
        [UserMessage("a")],
        {"id": "two", "messages": [UserMessage("b")], "max_tokens": 5, "model": "other"},
        {"prompt": "c"},
        "d",
        None,
    ]
    driver = ask()
    results = results_of(driver, "complete_many", requests, temperature=0, concurrency=1)
    assert texts_of(results[:2]) == ["a", "b"]
    assert "a request has no messages: ['prompt']" in str(results[2].error)
    for result in results[3:]:
        assert isinstance(result.error, ConfigurationError)
    sent = [request.json for request in server.received]
    assert [each["model"] for each in sent] == ["gpt-4.1", "other"]
    assert [each["temperature"] for each in sent] == [0, 0]
    assert any(5 in (each.get("max_tokens"), each.get("max_completion_tokens")) for each in sent)


def test_a_request_that_cannot_be_read_is_an_error_of_its_own(ask: Ask, server: RawServer) -> None:
    class Unread(list[UserMessage]):
        def __iter__(self) -> Iterator[UserMessage]:
            raise ValueError("the file is closed")

    server.choose = echo_chat
    requests = [[UserMessage("a")], Unread([UserMessage("b")]), [UserMessage("c")]]
    results = results_of(ask(), "complete_many", requests)
    assert texts_of([results[0], results[2]]) == ["a", "c"]
    assert isinstance(results[1].error, ConfigurationError)
    assert "the file is closed" in str(results[1].error)


def test_refused_prompts_are_values(ask: Ask, server: RawServer) -> None:
    refusal = reply(failure("content_filter", "The prompt was filtered."), 400)
    server.choose = lambda request: refusal
    requests = [[UserMessage(str(at))] for at in range(20)]
    results = results_of(ask(), "complete_many", requests)
    assert [type(result.error) for result in results] == [ContentFilterError] * 20


def test_a_wrong_key_ends_the_work_at_once(ask: Ask, server: RawServer) -> None:
    server.choose = lambda request: reply(failure("401", "Access denied"), 401)
    requests = ([UserMessage("x")] for _ in itertools.count())
    with pytest.raises(AuthenticationError):
        results_of(ask(), "complete_many", requests)
    assert len(server.received) <= 16


@pytest.mark.parametrize(
    ("refusal", "kind_of_error"),
    [
        (
            failure("x", "Unrecognized request argument supplied: dimension"),
            UnsupportedParameterError,
        ),
        (failure("insufficient_quota", "You exceeded your quota"), RateLimitError),
        (failure("BadRequest", "invalid 'encoding_format'"), BadRequestError),
    ],
)
def test_what_every_request_gets_ends_the_work(
    ask: Ask, server: RawServer, refusal: Any, kind_of_error: type[Exception]
) -> None:
    status = 429 if "quota" in str(refusal) else 400
    server.choose = lambda request: reply(refusal, status)
    with pytest.raises(kind_of_error):
        results_of(ask(), "embed_many", (str(at) for at in itertools.count()), concurrency=4)
    assert len(server.received) < 200


def test_a_429_is_waited_for_and_nothing_is_lost(ask: Ask, server: RawServer) -> None:
    number = itertools.count()
    busy = reply(failure("429", "slow down"), 429, {"retry-after": "3"})
    server.choose = lambda request: busy if next(number) % 5 == 1 else echo(request)
    reports: list[BulkProgress] = []
    texts = [str(at) for at in range(100)]
    results = results_of(
        ask(), "embed_many", texts, batch_size=10, concurrency=1, on_progress=reports.append
    )
    assert numbers(results) == list(map(float, range(100)))
    assert reports[-1].refused == 3
    assert reports[-1].requests == len(server.received) == 13


def test_progress_says_how_far_it_is(ask: Ask, server: RawServer) -> None:
    reports: list[BulkProgress] = []
    reported = threading.Event()

    def answer_last_after_a_report(request: Any) -> Any:
        if "39" in request.json["input"]:
            reported.wait(10)
        return echo(request)

    def report(progress: BulkProgress) -> None:
        reports.append(progress)
        if progress.seconds_left:  # the first report may be of the part that fails at once
            reported.set()

    server.choose = answer_last_after_a_report
    driver = ask()

    def texts() -> Iterator[Any]:
        for at in range(40):
            driver.client._clock.now += 0.5  # each text takes half a second to read
            yield str(at) if at != 35 else None

    results_of(driver, "embed_many", texts(), total=40, batch_size=10, on_progress=report)
    last = reports[-1]
    assert (last.total, last.done, last.failed, last.resumed) == (40, 39, 1, 0)
    assert (last.tokens, last.in_flight) == (2 * last.requests, 0)
    assert last.rate == pytest.approx(2.0)
    assert last.token_rate == pytest.approx(last.tokens / 20)
    assert last.seconds_left == 0
    assert any(report.seconds_left for report in reports[:-1])
    many = driver.client.embed_many(["1"])
    assert many.progress.total == 1
    assert (many.progress.rate, many.progress.seconds_left) == (0.0, None)
    assert many.progress.token_rate == 0.0


def test_an_error_of_the_input_or_the_callback_ends_the_work(ask: Ask, server: RawServer) -> None:
    server.choose = echo

    def texts() -> Iterator[str]:
        yield "1"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        results_of(ask(), "embed_many", texts(), batch_size=1)

    def fail(progress: BulkProgress) -> None:
        raise LookupError("no bar")

    with pytest.raises(LookupError, match="no bar"):
        results_of(ask(), "embed_many", ["1"], on_progress=fail)


def test_vectors_of_another_length_end_the_work(ask: Ask, server: RawServer) -> None:
    server.choose = lambda request: reply(vectors([1.0] * (2 + (request.json["input"] == ["2"]))))
    with pytest.raises(InvalidResponseError, match="the model behind the deployment has changed"):
        results_of(ask(), "embed_many", ["1", "2"], batch_size=1, concurrency=1)


def test_an_unexpected_error_is_raised(ask: Ask, server: RawServer) -> None:
    class Broken(TestClock):
        def random(self) -> float:
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        results_of(ask(clock=Broken()), "embed_many", ["1"])


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_whatever_ends_a_request_reaches_the_caller(
    ask: Ask, kind: str, raised: type[BaseException]
) -> None:
    def fail() -> str:
        raise raised("log in first")

    async def fail_later() -> str:
        return fail()

    driver = ask(credential=fail if kind == "sync" else fail_later)
    with pytest.raises(raised):
        results_of(driver, "embed_many", ["1"])


def test_whatever_reading_an_answer_raises_reaches_the_caller(
    ask: Ask, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(job: Any, answer: Any) -> Any:
        raise MemoryError("too many vectors")

    server.choose = echo
    monkeypatch.setattr(EmbeddingJob, "values", fail)
    with pytest.raises(MemoryError, match="too many vectors"):
        results_of(ask(), "embed_many", ["1"])


def limit_threads(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Refuse to start further threads of bulk work, as a full system does."""
    start, started = threading.Thread.start, itertools.count(1)

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "azinfer-bulk" and next(started) > most:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("kind", ["sync"])
def test_a_system_without_further_threads_gets_fewer_requests_at_once(
    ask: Ask, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.choose = echo
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        # Not all threads that run count: one that ends has no request under way.
        if thread.name == "azinfer-bulk":
            work = thread._args[0]  # type: ignore[attr-defined]
            if work.__self__.run._pace.in_flight > 3:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    results = results_of(ask(), "embed_many", map(str, range(100)), batch_size=1)
    assert numbers(results) == list(map(float, range(100)))


@pytest.mark.parametrize("kind", ["sync"])
def test_a_system_without_any_thread_ends_the_work(
    ask: Ask, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_threads(monkeypatch, 0)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        results_of(ask(), "embed_many", ["1"])
    assert server.received == []


@pytest.mark.parametrize("kind", ["sync"])
@pytest.mark.parametrize("most", [1, 2])
def test_work_that_nothing_can_wake_ends(
    ask: Ask, server: RawServer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    server.choose = lambda request: reply(failure("429", "busy"), 429, {"retry-after": "30"})
    limit_threads(monkeypatch, most)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        results_of(ask(max_retries=0), "embed_many", ["1"])
    assert len(server.received) == 1


def test_work_that_is_left_sends_nothing_more(ask: Ask, server: RawServer, kind: str) -> None:
    server.choose = echo
    driver = ask()
    texts = (str(at) for at in itertools.count())
    if kind == "sync":
        many = driver.client.embed_many(texts, batch_size=1)
        assert next(many).index == 0
        del many  # nobody closes it
        gc.collect()
    else:
        results_of(driver, "embed_many", texts, most=1, batch_size=1)
    count = len(server.received)
    assert server.wait_until(lambda: len(server.received) > count + 64, 0.2) is False


def test_ended_work_stays_ended(ask: Ask, server: RawServer, kind: str) -> None:
    server.choose = echo
    driver = ask()
    many = driver.client.embed_many(["1"])
    if kind == "sync":
        assert iter(many) is many
        assert len(list(many)) == 1
        assert list(many) == []
        many.close()
        return

    async def twice() -> None:
        assert len([result async for result in many]) == 1
        assert [result async for result in many] == []
        await many.aclose()

    driver.run(twice())


def test_clients_that_do_no_bulk_work_do_not_load_it() -> None:
    code = (
        "import sys; from azinfer.core import InferenceClient as C; C('http://127.0.0.1', 'k');"
        "assert not [m for m in sys.modules if 'bulk' in m and 'operations' not in m]; "
        "assert 'sqlite3' not in sys.modules"
    )
    # What measures coverage in a subprocess loads sqlite3 itself.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=env)
    assert done.returncode == 0, done.stderr


def test_the_estimate_sends_nothing(server: RawServer) -> None:
    with InferenceClient(server.url, "k", "prod-embed") as client:
        options = CallOptions(None, None, None, None, {})
        job = EmbeddingJob(client, options)
        texts = BulkEstimate(items=200, requests=3, input_tokens=600)
        assert estimate(job, ["12345678"] * 200) == texts
        nothing = BulkEstimate(items=0, requests=0, input_tokens=0)
        assert estimate(job, iter([])) == nothing
        assert estimate(job, ["12345678"] * 20, batch_size=5).requests == 4
        chats = CompletionJob(client, options._replace(options={"max_tokens": 100}))
        messages = [UserMessage("12345678")]
        answers = BulkEstimate(items=3, requests=3, input_tokens=6, answer_tokens=300)
        assert estimate(chats, [messages] * 3) == answers
        chats = CompletionJob(client, options)
        wrong = [{}, {"messages": messages, "max_tokens": 1e999}]
        requests = [messages, {"messages": messages, "max_tokens": 5}, *wrong]
        mixed = {"items": 4, "requests": 4, "input_tokens": 4, "answer_tokens": 5, "unlimited": 1}
        assert asdict(estimate(chats, requests)) == mixed
    assert server.received == []


@pytest.mark.parametrize("method", ["embed_many", "complete_many"])
def test_one_text_is_not_a_list_of_letters(ask: Ask, method: str) -> None:
    with pytest.raises(ConfigurationError, match="pass a list of items, not one text: 'hello'"):
        results_of(ask(), method, "hello")


def test_work_on_a_route_goes_on_where_a_deployment_is_throttled(server: RawServer) -> None:
    busy = reply(failure("429", "slow down"), 429, {"retry-after": "30"})
    numbered = itertools.count()

    def throttle_one(request: Any) -> Any:
        throttled = request.json["model"] == "one" and next(numbered) > 2
        return busy if throttled else echo(request)

    server.choose = throttle_one
    config = {
        "endpoints": {"main": {"url": f"{server.url}/openai/v1", "credential": "env:KEY"}},
        "deployments": {
            f"{name}@main": {"model_id": "m", "model_version": "1"} for name in ("one", "two")
        },
        "routes": {"embed": {"tiers": [["one@main", "two@main"]]}},
    }
    with InferenceClient.from_config(config, environ={"KEY": "k"}, clock=TestClock()) as client:
        results = list(client.embed_many(map(str, range(400)), model="embed", batch_size=10))
    assert numbers(results) == list(map(float, range(400)))
    models = [request.json["model"] for request in server.received]
    assert {"one", "two"} == set(models)
