"""Configuration files that change during calls."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import DeploymentNotFoundError, InferenceClient
from azinfer.core.names import Names
from azinfer.core.router import Router
from client_driver import KEY, USER, TestClock
from fleet import Fleet, routed_driver
from raw_server import Peer, failure, reply


def toml(fleet: Fleet, default: str = "east", **endpoints: str) -> str:
    tables = [
        f'[endpoints.{name}]\nurl = "{fleet[server].url}"\n' for name, server in endpoints.items()
    ]
    return f'default = "{default}"\n{"".join(tables)}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "azinfer.toml"


def test_endpoints_may_swap_their_urls(
    fleet: Fleet, kind: str, clock: TestClock, path: Path
) -> None:
    path.write_text(toml(fleet, east="a", west="b"), "utf-8")
    options: dict[str, Any] = {"clock": clock, "reload_after": 1}
    with routed_driver(kind, path, **options) as driver:  # type: ignore[arg-type]
        names = ("m@east", "m@west")
        assert [driver.complete(model=name).text for name in names] == ["a", "b"]
        path.write_text(toml(fleet, east="b", west="a") + "# new\n", "utf-8")
        clock.now += 1
        assert [driver.complete(model=name).text for name in names] == ["b", "a"]


@pytest.mark.parametrize("default", ["east", "west"])
def test_files_and_lists_follow_the_default_endpoint(
    fleet: Fleet, kind: str, clock: TestClock, path: Path, default: str
) -> None:
    path.write_text(toml(fleet, east="a", west="b"), "utf-8")
    options: dict[str, Any] = {"clock": clock, "reload_after": 1, "headers": {"x-token": "mine"}}
    with routed_driver(kind, path, **options) as driver:  # type: ignore[arg-type]
        driver.complete(model="m@east")
        driver.complete(model="m@west")
        east = "c" if default == "east" else "a"
        path.write_text(toml(fleet, default, east=east, west="b") + "# new\n", "utf-8")
        clock.now += 1
        server = fleet["c" if default == "east" else "b"]
        server.received.clear()
        server.will(reply({"data": [{"id": "gpt-4o", "object": "model"}]}))
        driver.client = driver.client.with_options(headers={"x-secret": "added"})
        assert "gpt-4o" in driver.deployments()
        if kind == "sync":
            list(driver.client.batches.list())
        else:
            driver.run(anext(driver.client.files.list()))
    sent = [(each.header("x-token"), each.header("x-secret")) for each in server.received]
    assert sent == [("mine", "added")] * 2


def test_a_call_ends_with_the_file_that_it_began_with(
    fleet: Fleet, clock: TestClock, path: Path
) -> None:
    text = toml(fleet, "a", a="a", b="b")
    path.write_text(text + '[routes.chat]\ntiers = [["m@a"], ["m@b"]]\n', "utf-8")
    options: dict[str, Any] = {"clock": clock, "reload_after": 1}
    with routed_driver("sync", path, **options) as driver:  # type: ignore[arg-type]

        def change(peer: Peer) -> None:
            path.write_text(toml(fleet, "a", a="a"), "utf-8")
            clock.now += 1
            driver.client.explain(model="m")
            reply(failure("x"), 503)(peer)

        fleet["a"].will(change)
        assert driver.complete(model="chat").text == "b"
        assert driver.client.routes == ()
        with pytest.raises(DeploymentNotFoundError):
            driver.complete(model="m@b")


def test_a_new_file_is_not_lost_to_another_thread(
    fleet: Fleet, clock: TestClock, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text(target: str) -> str:
        return toml(fleet, "a", a="a", b="b") + f'[aliases]\nx = "m@{target}"\n'

    path.write_text(text("a"), "utf-8")
    client = InferenceClient.from_config(
        path, environ={"AZURE_AI_API_KEY": KEY}, clock=clock, reload_after=1
    )
    ready = Router._ready
    others: list[threading.Thread] = []

    def ready_while_another_reads(self: Router, names: Names) -> Names:
        result = ready(self, names)
        if not others:
            path.write_text(text("b") + "# new\n", "utf-8")
            clock.now += 1
            others.append(threading.Thread(target=client.explain, kwargs={"model": "x"}))
            others[0].start()
            others[0].join(0.2)
        return result

    monkeypatch.setattr(Router, "_ready", ready_while_another_reads)
    client.explain(model="m@b")
    client.explain(model="m@b")
    others[0].join(10)
    assert client.complete(USER, model="x").text == "b"
