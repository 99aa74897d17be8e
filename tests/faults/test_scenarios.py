"""Every scenario of the table in both clients; the table is `tests/support/scenarios.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest

from azinfer.core import InferenceError, forget_endpoints
from azinfer.core.retries import RetryBudget
from client_driver import KEY, ClientDriver, TestClock
from raw_server import Behaviour, Peer, RawServer
from scenarios import FAMILIES, HOST, Scenario

SENT = "hello"  # what a right answer says, so that a part of it is its beginning


@pytest.fixture(scope="module")
def table_server() -> Iterator[RawServer]:
    """One server for all scenarios."""
    server = RawServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["sync", "async"])
def table_kind(request: pytest.FixtureRequest) -> str:
    """The kind of client: all scenarios run with one kind before the other."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def driver(table_kind: str, table_server: RawServer) -> Iterator[ClientDriver]:
    """One client for all scenarios, so that each call also follows the fault of another."""
    url = f"{table_server.url}/openai/v1"
    driver = ClientDriver(table_kind, url, KEY, model="gpt-4.1", clock=TestClock())
    yield driver
    driver.close()


def send_answer(data: bytes, scenario: Scenario, url: str) -> Behaviour:
    """Send an answer, as a whole or each byte alone."""
    data = data.replace(HOST.encode(), url.encode())

    def behave(peer: Peer) -> None:
        for piece in [data[at : at + 1] for at in range(len(data))] if scenario.pieces else [data]:
            peer.send(piece)
        if scenario.closes and len(scenario.answers) == 1:
            peer.close()

    return behave


def result_of(driver: ClientDriver, scenario: Scenario) -> dict[str, Any]:
    """Return what the caller gets."""
    if scenario.operation == "embed":
        embeddings = driver.embed(["text"] * scenario.inputs)
        return {"vectors": [list(each) for each in embeddings]}
    if scenario.operation == "deployments":
        return {"names": list(driver.deployments())}
    if scenario.operation == "stream":
        streamed = driver.stream()
        completion = streamed.completion
        assert streamed.text == completion.text
    else:
        completion = driver.complete()
    usage = completion.usage
    return {
        "text": completion.text,
        "finish": completion.finish_reason,
        "usage": usage and (usage.prompt_tokens, usage.completion_tokens),
    }


def differences(scenario: Scenario, got: dict[str, Any], error: InferenceError | None) -> list[str]:
    """Return how a result differs from what was expected."""
    expected = dict(scenario.expected)
    kind = expected.pop("error", None)
    if error is not None and (
        "maybe" in expected or "maybe vectors" in expected or not scenario.expected
    ):
        return []
    if kind is not None and not isinstance(error, kind):
        return [f"{error!r} is not a {kind.__name__}"]
    if kind is None and error is not None:
        return [f"{error!r}"]
    checks: dict[str, Callable[[Any], bool]] = {
        "maybe": lambda value: got["text"] == value,
        "maybe vectors": lambda value: got["vectors"] == value,
        "says": lambda value: error is not None and value in error.message,
        "partial": lambda value: error is not None and SENT.startswith(text_before(error)),
        "code": lambda value: error is not None and error.code == value,
        "status": lambda value: error is not None and error.status == value,
    }
    return [
        f"{name}: {got.get(name, error)!r} instead of {value!r}"
        for name, value in expected.items()
        if not (checks[name](value) if name in checks else got.get(name) == value)
    ]


def text_before(error: InferenceError) -> str:
    """Return what came before an error in the middle of a stream."""
    return error.partial.text if error.partial else ""


def run(driver: ClientDriver, server: RawServer, scenario: Scenario) -> list[str]:
    """Return how what the caller gets differs from what was expected."""
    forget_endpoints()
    server.will(*[send_answer(data, scenario, server.url) for data in scenario.answers])
    clock, driver.client._budget = driver.client._clock, RetryBudget()
    clock.now, clock.waits = TestClock.now, []
    driver.client.max_retries = scenario.retries
    got: dict[str, Any] = {}
    failure = None
    try:
        got = result_of(driver, scenario)
    except InferenceError as error:
        failure = error
    except Exception as error:
        return [f"{scenario.name}: {error!r} is not an InferenceError"]
    got["waits"] = clock.waits
    if scenario.closes:  # or the next request may be sent before the end of its connection comes
        driver.run(driver.client.close() if driver.kind == "sync" else driver.client.aclose())
    return [f"{scenario.name}: {each}" for each in differences(scenario, got, failure)]


@pytest.mark.parametrize("family", FAMILIES)
def test_each_scenario_of_a_family_has_the_expected_result(
    driver: ClientDriver, table_server: RawServer, family: str
) -> None:
    wrong = [run(driver, table_server, scenario) for scenario in FAMILIES[family]()]
    assert list(chain.from_iterable(wrong)) == []


def test_the_table_has_not_become_smaller() -> None:
    assert sum(len(list(scenarios())) for scenarios in FAMILIES.values()) >= 1190
