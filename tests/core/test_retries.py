"""Retries and timeouts, on a clock that only counts."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from azinfer.core import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    InferenceError,
    RateLimitError,
    ServerError,
    Timeout,
)
from azinfer.core.clock import Clock
from azinfer.core.retries import RetryBudget, retry_after, wait_before_retry
from client_driver import KEY, ClientDriver, TestClock, open_driver
from raw_server import RawServer, chat, events, failure, part, reply, stream

Ask = Callable[..., ClientDriver]
DATE = "Fri, 15 Jan 2027 08:00:02 GMT"  # two seconds after the test clock's beginning


@pytest.mark.parametrize("status", [408, 409, 424, 429, 500, 502, 503, 504, 529])
def test_a_transient_failure_is_retried(
    ask: Ask, server: RawServer, clock: TestClock, status: int
) -> None:
    headers = {"ms-azureml-model-error-statuscode": "503"} if status == 424 else {}
    server.will(reply(failure("x"), status, headers), reply(chat()))
    answer = ask().complete()
    assert answer.text == "hello"
    assert clock.waits == [0.5]
    assert answer.routing is not None
    assert [each.status for each in answer.routing.attempts] == [status, 200]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 424, 501, 302])
def test_a_permanent_failure_is_not_retried(
    ask: Ask, server: RawServer, clock: TestClock, status: int
) -> None:
    server.will(reply(failure("x"), status, {"location": "/elsewhere"}))
    with pytest.raises(InferenceError) as caught:
        ask().complete()
    assert (len(server.received), clock.waits) == (1, [])
    assert (caught.value.status, caught.value.attempts) == (status, 1)


def test_an_exhausted_quota_is_not_retried(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("insufficient_quota", "all spent"), 429))
    with pytest.raises(RateLimitError, match="all spent"):
        ask().complete()
    assert len(server.received) == 1


def test_the_waits_grow_and_the_retries_end(ask: Ask, server: RawServer, clock: TestClock) -> None:
    server.will(reply(failure("x", "down"), 503))
    with pytest.raises(ServerError) as caught:
        ask(max_retries=6).complete()
    assert clock.waits == [0.5, 1, 2, 4, 8, 8]
    assert caught.value.attempts == len(server.received) == 7
    assert "attempts 7" in str(caught.value)


def test_retries_repeat_the_request_id_and_the_body(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure(), 500), reply(failure(), 500), reply(chat()))
    driver = ask()
    driver.complete()
    driver.complete()
    first, second, third, fourth = server.received
    ids = [each.header("x-ms-client-request-id") for each in server.received]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert first.body == second.body == third.body == fourth.body


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"retry-after": "2"}, 2),
        (429, {"retry-after": "0.2"}, 0.2),
        (429, {"retry-after": DATE}, 2),
        (503, {"retry-after": "2"}, 2),
        (429, {"retry-after-ms": "2500"}, 2.5),
        (429, {"x-ms-retry-after-ms": "2500"}, 2.5),
        (429, {"retry-after": "1", "retry-after-ms": "0"}, 1),
        (429, {"retry-after": "1", "retry-after-ms": "1500"}, 1.5),
        (429, {"x-ratelimit-timeremaining": "7"}, 7),
        (429, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9"}, 9),
        (429, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "3"}, 3),
        (429, {"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "9"}, 0.5),
        (503, {"x-ratelimit-timeremaining": "7"}, 0.5),
        (429, {"retry-after": "soon"}, 0.5),
        (429, {"retry-after": "-5"}, 0.5),
        (429, {"retry-after": "nan"}, 0.5),
        (429, {"retry-after": "inf"}, 0.5),
        (429, {"retry-after": "Fri, 15 Jan 1999 08:00:02 GMT"}, 0.5),
        (429, {"retry-after": "Fri, 99 Jan 99999 08:00:02 GMT"}, 0.5),
    ],
)
def test_retry_after_is_respected(
    ask: Ask, server: RawServer, clock: TestClock, status: int, headers: Any, wait: float
) -> None:
    server.will(reply(failure("x"), status, headers), reply(chat()))
    ask().complete()
    assert clock.waits == [wait]


@pytest.mark.parametrize(
    ("headers", "message"),
    [({"retry-after": "86400"}, "no"), ({}, "Please retry after 86400 seconds.")],
)
def test_a_retry_after_of_a_day_is_not_waited_for(
    ask: Ask, server: RawServer, clock: TestClock, headers: dict[str, str], message: str
) -> None:
    server.will(reply(failure("429", message), 429, headers))
    with pytest.raises(RateLimitError) as caught:
        ask().complete()
    assert caught.value.retry_after == 86400
    assert (len(server.received), clock.waits) == (1, [])


@given(st.text(max_size=30))
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    wait = retry_after(429, {"retry-after": text, "retry-after-ms": text}, TestClock(), text)
    assert wait is None or 0 < wait < float("inf")


def test_the_jitter_is_a_quarter() -> None:
    waits = [
        wait_before_retry(ServerError("x"), 1, 2, RetryBudget(), TestClock(chance=chance))
        for chance in (0, 1)
    ]
    assert waits == [0.375, 0.625]


def test_a_broken_connection_is_retried(ask: Ask, server: RawServer, clock: TestClock) -> None:
    server.will(lambda peer: peer.reset(), reply(chat()))
    assert ask().complete().text == "hello"
    assert clock.waits == [0.5]


def test_a_closed_port_is_an_error_that_says_so(kind: str) -> None:
    server = RawServer().start()
    server.stop()
    driver = ClientDriver(kind, f"{server.url}/models", "k", "m", max_retries=0)
    with pytest.raises(APIConnectionError, match="check the endpoint and the network") as caught:
        driver.complete()
    assert caught.value.endpoint == f"{server.url}/models"
    driver.close()


def test_retries_can_be_switched_off(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure(), 500))
    with pytest.raises(ServerError):
        ask(max_retries=0).complete()
    assert len(server.received) == 1


def test_no_retry_outlasts_the_total(ask: Ask, server: RawServer, clock: TestClock) -> None:
    server.will(reply(failure(), 429, {"retry-after": "40"}))
    with pytest.raises(RateLimitError):
        ask(timeout=Timeout(total=60), max_retries=9).complete()
    assert clock.waits == [40]


def test_a_stream_is_opened_again_before_its_first_byte_alone(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(reply(failure(), 503), stream(events(part("a"), done=False), "reset"))
    with pytest.raises(InferenceError) as caught:
        ask().stream()
    assert (len(server.received), clock.waits) == (2, [0.5])
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"


def test_the_retry_budget_protects_a_dead_service(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure(), 503))
    driver = ask()
    calls = 60
    for _ in range(calls):
        with pytest.raises(ServerError):
            driver.complete()
    assert calls < len(server.received) < 2 * calls
    server.received.clear()
    server.will(reply(chat()))
    for _ in range(14):
        driver.complete()
    server.received.clear()
    server.will(reply(failure(), 503))
    with pytest.raises(ServerError):
        driver.complete()
    assert len(server.received) == 2


def test_the_budget_is_never_overdrawn_or_overfull() -> None:
    budget = RetryBudget()
    budget.give_back()
    assert [budget.take(250), budget.take(250), budget.take(1)] == [True, True, False]
    budget.give_back()
    assert budget.take(1)


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), None, "10"])
@pytest.mark.parametrize("field", ["connect", "read", "total"])
def test_a_missing_timeout_is_not_infinite(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"timeout {field} must be"):
        Timeout(**{field: value})


@pytest.mark.parametrize("value", [0, -1, float("inf"), "10", True])
def test_every_attempt_has_a_time_limit(kind: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be a finite"):
        ClientDriver(kind, "https://contoso.openai.azure.com", "k", timeout=value)


def test_a_number_bounds_each_attempt() -> None:
    assert Timeout.of(5) == Timeout(5, 5, 5, 600)
    assert Timeout.of(700) == Timeout(700, 10, 700, 700)
    assert Timeout.of(None) == Timeout(None, 10, 120, 600)
    chosen = Timeout(read=3)
    assert Timeout.of(chosen) is chosen


def silent(peer: Any) -> None:
    peer.wait_until_client_leaves()


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [(Timeout(read=0.2), "sent nothing within 0.2 seconds"), (0.2, "within 0.2 seconds")],
)
def test_a_silent_service_times_out(
    ask: Ask, server: RawServer, timeout: Any, expected: str
) -> None:
    server.will(silent)
    with pytest.raises(APITimeoutError, match=expected) as caught:
        ask(timeout=timeout, max_retries=0, clock=Clock()).complete()
    assert caught.value.deployment == "gpt-4.1"
    assert server.wait_until(lambda: server.open_connections == 0)


def test_a_silent_attempt_is_retried(ask: Ask, server: RawServer) -> None:
    server.will(silent, reply(chat()))
    assert ask(timeout=1, clock=Clock()).complete().text == "hello"


def test_a_stream_that_falls_silent_ends(ask: Ask, server: RawServer) -> None:
    server.will(stream(events(part("a"), done=False), "stall"))
    with pytest.raises(APITimeoutError) as caught:
        ask(timeout=Timeout(read=1), clock=Clock()).stream()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "a"
    assert len(server.received) == 1


class Late(TestClock):
    """A clock that jumps whenever it is read."""

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def test_the_total_timeout_ends_a_call_that_still_receives(ask: Ask, server: RawServer) -> None:
    def drip(peer: Any) -> None:
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while peer.server.open_connections:
            peer.send(b" ")
            if not _still_there(peer):
                break
        peer.close()

    server.will(drip)
    with pytest.raises(APITimeoutError, match="no complete response came within 60 seconds"):
        ask(timeout=Timeout(total=60), max_retries=0, clock=Late()).complete()


@pytest.mark.parametrize("operation", ["complete", "stream"])
def test_the_total_timeout_ends_a_call_through_a_callers_httpx_client(
    server: RawServer, operation: str
) -> None:
    def drip(peer: Any) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1000000\r\n"
        peer.send(head + b"\r\n")
        parts = itertools.repeat(b": ping\n\n" if operation == "stream" else b" ", 500)
        while _still_there(peer) and (data := next(parts, None)):
            peer.send(data)
        peer.close()

    server.will(drip)
    with httpx.Client() as http:
        limits: dict[str, Any] = {"timeout": Timeout(total=60), "max_retries": 0, "clock": Late()}
        options: dict[str, Any] = {"http_client": http, **limits}
        with (
            open_driver("sync", f"{server.url}/openai/v1", KEY, "m", **options) as driver,
            pytest.raises(APITimeoutError, match="no complete response came within 60 seconds"),
        ):
            getattr(driver, operation)()


def _still_there(peer: Any) -> bool:
    try:
        peer.sock.settimeout(0.001)
        return bool(peer.sock.recv(1))
    except TimeoutError:
        return True
    except OSError:
        return False


def test_a_deadline_before_the_first_byte_is_a_timeout(ask: Ask, server: RawServer) -> None:
    class Jump(TestClock):
        def monotonic(self) -> float:
            self.now += 100
            return self.now

    server.will(reply(chat()))
    with pytest.raises(APITimeoutError):
        ask(timeout=Timeout(total=50), clock=Jump()).complete()
    assert not server.received


def test_waits_use_the_injected_clock() -> None:
    clock = Clock()
    before = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= before
    assert abs(clock.time() - __import__("time").time()) < 5
    assert 0 <= clock.random() < 1


def test_a_budget_may_be_shared_by_threads() -> None:
    budget, taken = RetryBudget(), []
    threads = [
        threading.Thread(target=lambda: taken.append(sum(budget.take(5) for _ in range(50))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 100


def refusal(name: str, message: str, status: int = 400) -> Any:
    return reply(failure("unsupported_parameter", message, param=name), status)


UNSUPPORTED = "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
UNSUPPORTED += "'max_completion_tokens' instead."


def test_a_renamed_parameter_is_learned(ask: Ask, server: RawServer) -> None:
    server.will(refusal("max_tokens", UNSUPPORTED), reply(chat()))
    driver = ask(model="prod-chat")
    answer = driver.complete(max_tokens=5)
    assert answer.routing is not None
    assert answer.routing.adapted == ("max_tokens → max_completion_tokens",)
    again = driver.complete(max_tokens=5)
    assert again.routing is not None
    assert again.routing.adapted == ("max_tokens → max_completion_tokens",)
    assert len(server.received) == 3
    assert [set(each.json) - {"messages", "model"} for each in server.received] == [
        {"max_tokens"},
        {"max_completion_tokens"},
        {"max_completion_tokens"},
    ]


def test_the_old_parameter_name_is_learned_too(ask: Ask, server: RawServer) -> None:
    message = "Validation error at #/max_completion_tokens: Extra inputs are not permitted"
    server.will(reply(failure("400", message), 400), reply(chat()))
    driver = ask(model="prod-chat")
    driver.complete(max_completion_tokens=5)
    assert server.received[1].json["max_tokens"] == 5


def test_a_refusal_of_both_parameter_names_is_an_error(ask: Ask, server: RawServer) -> None:
    server.will(refusal("max_tokens", UNSUPPORTED))
    with pytest.raises(BadRequestError):
        ask(model="prod-chat").complete(max_tokens=5)
    assert len(server.received) == 2


def test_a_field_of_the_caller_is_never_left_out(ask: Ask, server: RawServer) -> None:
    server.will(refusal("temperature", "Unsupported parameter: temperature"))
    with pytest.raises(BadRequestError) as caught:
        ask(model="prod-chat").complete(temperature=0.3)
    assert caught.value.param == "temperature"
    assert len(server.received) == 1


def test_a_field_of_our_own_is_left_out_where_it_is_refused(ask: Ask, server: RawServer) -> None:
    extra = {"detail": "Extra parameters ['stream_options'] are not allowed when extra"}
    server.will(reply(extra, 400), stream(events(part("a", "stop"))))
    driver = ask(model="prod-chat")
    read = driver.stream()
    assert read.text == "a"
    assert read.completion.routing is not None
    assert read.completion.routing.adapted == ("without stream_options",)
    driver.stream()
    assert ["stream_options" in each.json for each in server.received] == [True, False, False]


def test_base64_is_not_requested_after_a_refusal(ask: Ask, server: RawServer) -> None:
    answer = {"data": [{"index": 0, "embedding": [1.0]}], "model": "e"}
    server.will(refusal("encoding_format", "no base64", 422), reply(answer))
    driver = ask(model="prod-embed")
    assert list(driver.embed("a").vectors[0]) == [1.0]
    driver.embed("a")
    assert ["encoding_format" in each.json for each in server.received] == [True, False, False]


TOO_OLD = "Model o1 is enabled only for api versions 2024-12-01-preview and later"


@pytest.mark.parametrize("path", ["/models", "/openai"])
def test_the_version_that_a_model_needs_is_learned(ask: Ask, server: RawServer, path: str) -> None:
    server.will(reply(failure("BadRequest", TOO_OLD), 400), reply(chat()))
    driver = ask(path, model="prod-chat")
    answer = driver.complete()
    assert answer.routing is not None
    assert answer.routing.adapted == ("api-version → 2024-12-01-preview",)
    again = driver.complete()
    assert again.routing is not None
    assert again.routing.url == driver.client.explain().url == answer.routing.url
    versions = [each.target.partition("api-version=")[2] for each in server.received]
    assert versions[1:] == ["2024-12-01-preview"] * 2
    assert versions[0] < versions[1]


def test_the_version_of_the_caller_is_kept(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("BadRequest", TOO_OLD), 400))
    with pytest.raises(BadRequestError, match="2024-12-01-preview and later"):
        ask("/models", api_version="2024-05-01-preview").complete()
    assert len(server.received) == 1


def test_a_second_refused_version_is_an_error(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("BadRequest", TOO_OLD), 400))
    with pytest.raises(BadRequestError, match="2024-12-01-preview and later"):
        ask("/models").complete()
    assert len(server.received) == 2


def test_the_right_operation_is_named_where_a_model_does_another(
    ask: Ask, server: RawServer
) -> None:
    message = "The chatCompletion operation does not work with the specified model, ada"
    server.will(reply(failure("OperationNotSupported", message), 400))
    with pytest.raises(BadRequestError, match=r"model, ada\. .*Call embed"):
        ask().complete()


TOOL = {"type": "function", "function": {"name": "f"}}
NAMED = {"type": "function", "function": {"name": "f"}}


def test_the_only_tool_by_name_is_required_where_names_are_refused(
    ask: Ask, server: RawServer
) -> None:
    detail = [{"loc": ["body", "tool_choice"], "msg": "Input should be a valid string"}]
    server.will(reply({"detail": detail}, 422), reply(chat()))
    driver = ask(model="prod-chat")
    answer = driver.complete(tools=[TOOL], tool_choice="f")
    assert answer.routing is not None
    assert answer.routing.adapted == ("tool_choice by name → required",)
    driver.complete(tools=[TOOL], tool_choice="f")
    driver.complete(tools=[TOOL, {**TOOL}], tool_choice="f")
    choices = [each.json["tool_choice"] for each in server.received]
    assert choices == [NAMED, "required", "required", NAMED]


def test_a_named_tool_of_several_is_not_replaced_by_required(ask: Ask, server: RawServer) -> None:
    server.will(refusal("tool_choice", "tool_choice must be a string", 422))
    with pytest.raises(BadRequestError):
        ask(model="prod-chat").complete(tools=[TOOL, TOOL], tool_choice="f")
    assert len(server.received) == 1
