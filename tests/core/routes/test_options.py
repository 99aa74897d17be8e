"""Options of a client with many endpoints: which endpoint gets which option."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from azinfer.core import AuthenticationError, ConfigurationError, Timeout
from client_driver import KEY
from fleet import Fleet, routed_driver
from raw_server import failure, reply

TWO = [["m@a"], ["m@b"]]


def test_headers_with_the_name_of_a_secret_go_to_the_default_endpoint_only(
    fleet: Fleet, kind: str
) -> None:
    config = fleet.config(TWO, endpoints={"b": {"headers": {"x-token": "of-b"}}})
    headers = {"Api-Key": "of-a", "x-token": "mine", "x-all": "1"}
    with routed_driver(kind, config, headers=headers) as driver:
        driver.client = driver.client.with_options(headers={"x-secret": "added", "x-more": "2"})
        fleet["a"].will(reply(failure("x"), 503))
        driver.complete(model="chat", headers={"x-signature": "once", "x-once": "3"})
    (a,), (b,) = fleet["a"].received, fleet["b"].received
    names = ("api-key", "x-token", "x-all", "x-secret", "x-more", "x-signature", "x-once")
    assert [a.header(name) for name in names] == ["of-a", "mine", "1", "added", "2", "once", "3"]
    assert [b.header(name) for name in names] == [KEY, "of-b", "1", None, "2", None, "3"]


def test_a_call_to_a_named_endpoint_sends_its_own_secrets_there(fleet: Fleet, kind: str) -> None:
    with routed_driver(kind, fleet.config()) as driver:
        driver.complete(model="m@b", headers={"x-token": "of-b"})
    assert fleet["b"].received[0].header("x-token") == "of-b"


def test_headers_of_the_file_stay_beside_those_of_the_caller(fleet: Fleet, kind: str) -> None:
    each = {name: {"headers": {"X-Team": name, "X-Trace": "file"}} for name in "ab"}
    with routed_driver(kind, fleet.config(endpoints=each), headers={"x-trace": "1"}) as driver:
        for name in "ab":
            driver.complete(model=f"m@{name}")
            (received,) = fleet[name].received
            assert (received.header("x-team"), received.header("x-trace")) == (name, "1")


def test_a_wire_that_is_added_later_goes_with_every_call(fleet: Fleet, kind: str) -> None:
    facts = {"m@b": {"wire": "chat"}}
    with routed_driver(kind, fleet.config(TWO, deployments=facts)) as driver:
        fleet["a"].will(reply(failure("x"), 503))
        driver.client = driver.client.with_options(wire="responses")
        assert driver.client.explain(model="chat").wire == "responses"
        # What the file declares of a deployment wins, as for a client of one endpoint.
        assert driver.complete(model="chat").text == "b"
    assert fleet["a"].received[0].target.endswith("/responses")


@pytest.mark.parametrize("option", [{"surface": "models"}, {"api_version": "2025-01-01"}])
def test_a_surface_is_not_for_a_client_of_many_endpoints(
    fleet: Fleet, kind: str, option: dict[str, Any]
) -> None:
    with (
        routed_driver(kind, fleet.config(TWO)) as driver,
        pytest.raises(ConfigurationError, match=f"{next(iter(option))}= is for a client of one"),
    ):
        driver.client.with_options(**option)


def test_a_credential_that_fails_leads_to_another_endpoint(fleet: Fleet, kind: str) -> None:
    def no_token() -> str:
        raise RuntimeError("Entra is down")

    with routed_driver(kind, fleet.config(TWO), credential=no_token) as driver:
        answer = driver.complete(model="chat")
        with pytest.raises(AuthenticationError, match="Entra is down"):
            driver.complete(model="m@a")
        (a, _) = driver.client.explain(model="chat").decision.candidates
    assert answer.text == "b"
    assert answer.routing is not None
    assert [each.error for each in answer.routing.attempts] == ["AuthenticationError", None]
    assert (a.state, a.in_flight) == ("open", 0)


def test_an_async_credential_that_hangs_leads_to_another_endpoint(fleet: Fleet) -> None:
    async def forever() -> str:
        await asyncio.Event().wait()
        return ""

    timeout = Timeout(attempt=0.05)
    with routed_driver("async", fleet.config(TWO), credential=forever, timeout=timeout) as driver:
        answer = driver.complete(model="chat")
    assert answer.text == "b"
    assert answer.routing is not None
    assert [each.error for each in answer.routing.attempts] == ["APITimeoutError", None]
    assert not fleet["a"].received
