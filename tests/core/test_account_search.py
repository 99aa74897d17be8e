"""`client.deployments("azure")`: the account of an endpoint, found by its host."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import ConfigurationError, Deployment, Deployments, PermissionDeniedError
from azinfer.core.account_search import management_origin, search_account
from azinfer.core.endpoints import Endpoint
from azinfer.core.model_catalog import find
from azinfer.local import LocalDeployment, LocalEndpoint
from client_driver import KEY, ClientDriver
from raw_server import RawServer, failure, reply

ARM = "https://management.azure.com"
ENDPOINT = Endpoint.parse("https://contoso.services.ai.azure.com")


def search(*lists: Any) -> tuple[list[str], str]:
    """The URLs that a search reads, and the account that it finds."""
    searching = search_account(ENDPOINT)
    urls = [next(searching)]
    for pages in lists:
        try:
            urls.append(searching.send(pages))
        except StopIteration as end:
            return urls, end.value
    raise AssertionError("more lists are wanted")


def test_subscriptions_are_read_until_one_has_the_host() -> None:
    subscriptions = [{"value": [{"subscriptionId": "s1"}]}, {"value": [{"subscriptionId": "s2"}]}]
    other = {"id": "/x", "properties": {"endpoint": "https://other.openai.azure.com/"}}
    endpoints = {"AI Foundry API": "https://contoso.services.ai.azure.com/", "x": 3}
    wanted = {"id": "/subscriptions/s2/…/accounts/contoso", "properties": {"endpoints": endpoints}}
    urls, account = search(subscriptions, [{"value": [other, 3, {}]}], [{"value": [wanted]}])
    assert account == f"{ARM}/subscriptions/s2/…/accounts/contoso"
    path = "providers/Microsoft.CognitiveServices/accounts?api-version=2025-09-01"
    assert urls == [
        f"{ARM}/subscriptions?api-version=2022-12-01",
        f"{ARM}/subscriptions/s1/{path}",
        f"{ARM}/subscriptions/s2/{path}",
    ]


def test_an_endpoint_that_no_subscription_has_is_an_error() -> None:
    with pytest.raises(
        ConfigurationError, match=r"contoso\.services\.ai\.azure\.com: this credential"
    ):
        search([{"value": [{"subscriptionId": "s1"}]}], [{"value": "odd"}])


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://x.openai.azure.com", ARM),
        ("https://x.openai.azure.us", "https://management.usgovcloudapi.net"),
        ("https://x.openai.azure.cn", "https://management.chinacloudapi.cn"),
        ("http://127.0.0.1:8765/openai/v1", "http://127.0.0.1:8765"),
    ],
)
def test_each_cloud_has_its_own_management(url: str, origin: str) -> None:
    assert management_origin(url) == origin


def test_the_account_of_an_endpoint_is_found_and_remembered(kind: str) -> None:
    with LocalEndpoint([LocalDeployment("chat", "gpt-4.1", capacity=7)]) as endpoint:
        driver = ClientDriver(kind, endpoint.url, endpoint.key)
        for _ in range(2):
            deployments = driver.run(driver.client.deployments("azure"))
        driver.close()
        paths = [entry.path for entry in endpoint.requests]
    assert deployments["chat"].capacity == 7
    # Of the local endpoint's catalog, in the form of Azure's.
    facts = find("gpt-4.1", is_model_id=True)
    assert facts is not None
    assert deployments["chat"].retires == facts.retires
    assert deployments["chat"].sources["retires"] == "azure"
    assert [path for path in paths if path == "/subscriptions"] == ["/subscriptions"]
    assert len(paths) == 6


def test_a_subscription_that_may_not_be_read_is_passed_over(kind: str, server: RawServer) -> None:
    names = [{"subscriptionId": "s1"}, {"subscriptionId": "s2"}]
    account = {"id": "/subscriptions/s2/accounts/a", "properties": {"endpoint": server.url}}
    server.will(
        reply({"value": names}),
        reply(failure("AuthorizationFailed"), 403),
        reply({"value": [account]}),
        reply({"value": [{"name": "d", "properties": {}}]}),
        reply(failure("AuthorizationFailed"), 403),
    )
    driver = ClientDriver(kind, server.url, KEY)
    assert list(driver.run(driver.client.deployments("azure"))) == ["d"]  # and no dates
    with pytest.raises(PermissionDeniedError):
        driver.run(driver.client.deployments("azure"))
    driver.close()
    assert server.received[3].target.startswith("/subscriptions/s2/accounts/a/deployments?")


def test_a_key_is_not_sent_to_the_management(kind: str) -> None:
    driver = ClientDriver(kind, "https://contoso.openai.azure.com", KEY)
    with pytest.raises(ConfigurationError, match="a key is sent to no other host"):
        driver.run(driver.client.deployments("azure"))
    driver.close()


def test_each_fact_has_its_source() -> None:
    arm = {"name": "a", "properties": {"model": {"name": "m"}}, "sku": {"name": "Standard"}}
    project = {"name": "b", "type": "ModelDeployment", "modelName": "m"}
    entries: list[dict[str, Any]] = [arm, project, {"id": "c", "model": "m"}]
    listed = Deployments(map(Deployment.from_wire, entries))
    assert [each.sources["model_name"] for each in listed.values()] == [
        *("azure", "project", "classic"),
    ]
    declared = Deployments([Deployment("A", "mine", concurrency=3), Deployment("d", "m")])
    both = declared.over(listed)
    assert both["a"].sources == {
        "model_name": "declared",
        "capacity_type": "azure",
        "concurrency": "declared",
    }
    assert both["a"].raw == arm
    assert both["d"].sources == {"model_name": "declared"}
