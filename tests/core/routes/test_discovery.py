"""`discover` in azinfer.toml: each endpoint lists its own deployments, and routes learn from it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from azinfer.core import ConfigurationError, Deployment, Deployments, InferenceClient
from azinfer.core.deployment_lists import list_url, models_url, with_retirements
from azinfer.core.endpoints import Endpoint
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY, ClientDriver, TestClock
from fleet import Fleet, routed_driver
from raw_server import failure, reply

PROJECT = "https://contoso.services.ai.azure.com/api/projects/team"
SUBSCRIPTION = "ocp-apim-subscription-key"
ACCOUNT = "https://management.azure.com/subscriptions/s/accounts/a"


class Identity:
    """A credential of azure-identity, as far as the client uses it."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        return SimpleNamespace(token="t0ken", expires_on=time.time() + 3600)


def test_each_endpoint_lists_its_own_deployments(kind: str, clock: TestClock) -> None:
    with (
        LocalEndpoint([LocalDeployment("chat", "gpt-4.1", capacity=7)]) as one,
        LocalEndpoint([LocalDeployment("other", "gpt-4o")], key=one.key) as two,
    ):
        config = {
            "default": "one",
            "endpoints": {
                "one": {"url": one.url, "discover": "azure"},
                "two": {"url": two.url, "discover": "classic"},
                "three": {"url": two.url.replace("127.0.0.1", "localhost")},
            },
            "routes": {"r": {"tiers": [["chat@one", "othre@two"]]}},
        }
        with routed_driver(kind, config, clock=clock, environ=_environ(one)) as driver:
            known = _discover(driver)
            assert {name: list(each) for name, each in known.items()} == {
                "one": ["chat"],
                "two": ["other"],
            }
            assert known["one"]["chat"].sources["capacity"] == "azure"
            assert known["two"]["other"].sources["model_name"] == "classic"
            assert driver.complete(model="OTHER").routing.decision.endpoint == "two"  # type: ignore[union-attr]
            notes = [each.note for each in driver.client.explain(model="r").decision.candidates]
            assert notes == ["", "two lists no deployment 'othre': did you mean 'other'?"]

            requests = len(one.requests) + len(two.requests)
            clock.sleep(3599)
            _discover(driver)
            assert len(one.requests) + len(two.requests) == requests
            clock.sleep(1)
            _discover(driver)
            assert len(one.requests) + len(two.requests) > requests


def test_a_list_that_cannot_be_read_changes_nothing(
    fleet: Fleet, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    fleet["a"].will(reply(failure("Forbidden"), 403))
    fleet["b"].will(reply({"data": [{"id": "m", "model": "gpt-4o"}]}))
    config = fleet.config(
        [["m@a"], ["m@b"], ["x@b"]],
        endpoints={name: {"discover": "classic"} for name in "ab"},
        deployments={"mine@a": {"model_id": "gpt-4.1"}},
    )
    with routed_driver(kind, config) as driver:
        known = _discover(driver)
        assert [list(known["a"]), list(known["b"])] == [["mine"], ["m"]]
        assert "endpoint 'a' are not discovered" in caplog.text
        driver.client.explain(model="chat")
        driver.run(driver.client.discover(max_age=0))
        driver.client.explain(model="chat")
    assert caplog.text.count("a route has a deployment that is not there: b lists no") == 1


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"credential": "env:NOT_SET"}, "the variable NOT_SET is not set"),
        ({"discover": "project"}, "is not a Foundry project"),
    ],
)
def test_an_endpoint_that_cannot_be_used_keeps_no_other_from_being_discovered(
    broken: dict[str, str], reason: str, fleet: Fleet, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    fleet["b"].will(reply({"data": [{"id": "m", "model": "gpt-4o"}]}))
    config = fleet.config(endpoints={"a": {"discover": "classic"}, "b": {"discover": "classic"}})
    config["endpoints"] = {
        "a": {**config["endpoints"]["a"], **broken},
        "b": config["endpoints"]["b"],
    }
    config["default"] = "b"
    with routed_driver(kind, config) as driver:
        assert list(_discover(driver)["b"]) == ["m"]
    assert "endpoint 'a' are not discovered" in caplog.text
    assert reason in caplog.text


def test_secret_headers_go_to_the_default_endpoint_only(fleet: Fleet, kind: str) -> None:
    for name in "ab":
        fleet[name].will(reply({"data": [{"id": "m", "model": "gpt-4o"}]}))
    config = fleet.config(endpoints={name: {"discover": "classic"} for name in "ab"})
    with routed_driver(kind, config) as driver:
        driver.client = driver.client.with_options(headers={SUBSCRIPTION: "s3cret", "x-team": "t"})
        _discover(driver)
        sent = {name: dict(fleet[name].received[-1].headers) for name in "ab"}
        assert [SUBSCRIPTION in sent[name] for name in "ab"] == [True, False]
        assert [sent[name]["x-team"] for name in "ab"] == ["t", "t"]


def test_secret_headers_do_not_go_to_a_list_on_another_host(fleet: Fleet, kind: str) -> None:
    fleet["b"].will(reply({"value": []}))
    headers = {SUBSCRIPTION: "s3cret", "x-team": "t"}
    driver = ClientDriver(kind, fleet["a"].url, Identity(), headers=headers)
    account = f"{fleet['b'].url}/subscriptions/s/accounts/a"
    driver.run(driver.client.deployments(source=account))
    driver.close()
    sent = dict(fleet["b"].received[0].headers)
    assert SUBSCRIPTION not in sent
    assert sent["x-team"] == "t"


def test_a_client_of_one_endpoint_discovers_nothing(kind: str) -> None:
    driver = ClientDriver(kind, "https://contoso.openai.azure.com", KEY)
    assert _discover(driver) == {}
    driver.close()


@pytest.mark.parametrize("models", ["dates", "refused"])
def test_the_account_says_when_models_retire(fleet: Fleet, kind: str, models: str) -> None:
    entry = {"name": "m", "properties": {"model": {"name": "gpt-4o", "version": "1"}}}
    deprecation = {"inference": "2027-04-14T00:00:00Z", "fineTune": "2026-01-01T00:00:00Z"}
    listed = {"name": "gpt-4o", "version": "1", "deprecation": deprecation}
    refusal = reply(failure("Forbidden"), 403)
    answer = reply({"value": [listed]}) if models == "dates" else refusal
    fleet["a"].will(reply({"value": [entry]}), answer)
    url = f"{fleet['a'].url}/subscriptions/s/accounts/a"
    config = fleet.config(endpoints={"a": {"discover": url}})
    with routed_driver(kind, config) as driver:
        deployment = _discover(driver)["a"]["m"]
    expected = ("2027-04-14", "azure") if models == "dates" else (None, None)
    assert (deployment.retires, deployment.sources.get("retires")) == expected
    assert fleet["a"].received[1].target.startswith("/subscriptions/s/accounts/a/models?api-")


def test_odd_dates_are_no_facts() -> None:
    deployments = Deployments([Deployment("m", "gpt-4o", model_version="1"), Deployment("n")])
    odd: list[Any] = [3, {}, {"name": "gpt-4o", "deprecation": 3}]
    odd += [{"name": "gpt-4o", "version": "1", "deprecation": {"inference": "soon"}}]
    assert with_retirements(deployments, [{"value": odd}, {}]) is deployments
    good = {"name": "gpt-4o", "version": "1", "deprecation": {"inference": "2027-01-02T00:00:00Z"}}
    dated = with_retirements(deployments, [{"value": [good]}])
    assert (dated["m"].retires, dated["n"].retires) == ("2027-01-02", None)


def test_each_source_has_its_url() -> None:
    project, resource = Endpoint.parse(PROJECT), Endpoint.parse("https://contoso.openai.azure.com")
    assert list_url(project, "project")[0] == f"{PROJECT}/deployments?api-version=v1"
    classic, _ = list_url(project, "classic")
    assert classic.startswith("https://contoso.services.ai.azure.com/openai/deployments?")
    with pytest.raises(ConfigurationError, match="is not a Foundry project"):
        list_url(resource, "project")
    assert models_url(classic) is None
    arm, _ = list_url(resource, ACCOUNT)
    assert models_url(arm) == f"{ACCOUNT}/models?api-version=2025-09-01"


def test_an_unknown_source_is_refused() -> None:
    endpoints = {"a": {"url": "https://contoso.openai.azure.com", "discover": "auto"}}
    with pytest.raises(ConfigurationError, match=r'discover: must be "project", .* not \'auto\''):
        InferenceClient.from_config({"endpoints": endpoints}, environ={"AZURE_AI_API_KEY": KEY})


def _environ(endpoint: LocalEndpoint) -> dict[str, str]:
    return {"AZURE_AI_API_KEY": endpoint.key or ""}


def _discover(driver: ClientDriver) -> dict[str, Deployments]:
    known: dict[str, Deployments] = driver.run(driver.client.discover())
    return known
