"""Clients created by `with_options`: what differs from the first client, and what they share."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from azinfer.core import ConfigurationError, InferenceClient, Timeout
from client_driver import KEY, ClientDriver
from raw_server import RawServer, chat, failure, reply

Ask = Callable[..., ClientDriver]


def derive(driver: ClientDriver, **options: Any) -> ClientDriver:
    """Return a driver of a client with other options, on the same event loop."""
    derived = object.__new__(ClientDriver)
    derived.__dict__.update(driver.__dict__)
    derived.client = driver.client.with_options(**options)
    return derived


def test_each_option_is_used_by_the_new_client_alone(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    first = ask(model="a", model_id="gpt-4.1", headers={"X-A": "1", "x-b": "1"})
    second = derive(first, model="b", headers={"x-a": "2", "X-C": "3"}, timeout=7, max_retries=0)
    first.complete()
    second.complete()
    models = [request.json["model"] for request in server.received]
    headers = [dict(request.headers) for request in server.received]
    assert models == ["a", "b"]
    assert [each.get("x-a") for each in headers] == ["1", "2"]
    assert [each.get("x-b") for each in headers] == ["1", "1"]
    assert [each.get("x-c") for each in headers] == [None, "3"]
    assert (second.client.timeout, second.client.max_retries) == (Timeout.of(7), 0)
    assert (first.client.timeout, first.client.max_retries) == (Timeout(), 2)


def test_no_option_changes_nothing(ask: Ask) -> None:
    first = ask(model="a", model_id="gpt-4.1", timeout=3, max_retries=1).client
    second = first.with_options()
    assert second is not first
    names = ("endpoint", "model", "model_id", "timeout", "max_retries")
    assert all(getattr(first, name) == getattr(second, name) for name in names)


@pytest.mark.parametrize(
    ("options", "model_id"),
    [
        ({"model": "CHAT"}, "gpt-4.1"),
        ({"model": "other"}, None),
        ({"model": "other", "model_id": "o3"}, "o3"),
        ({"model_id": "o3"}, "o3"),
    ],
)
def test_the_model_id_stays_with_its_deployment(options: Any, model_id: str | None) -> None:
    client = InferenceClient("https://contoso.openai.azure.com", KEY, "chat", model_id="gpt-4.1")
    assert client.with_options(**options).model_id == model_id


def test_connections_are_shared_and_closed_together(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    first = ask()
    for timeout in (5, 6, 7):
        derive(first, timeout=timeout).complete()
    first.complete()
    assert server.connections == 1
    second = derive(first, timeout=8)
    second.run(second.client.close() if second.kind == "sync" else second.client.aclose())
    assert server.wait_until(lambda: server.open_connections == 0)
    assert first.complete().text == "hello"
    assert second.complete().text == "hello"


def test_the_retry_budget_is_shared(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("x", "down"), 500))
    first = ask(max_retries=0)
    patient = derive(first, max_retries=100)
    with pytest.raises(Exception, match="down"):
        patient.complete()
    sent = len(server.received)
    with pytest.raises(Exception, match="down"):
        derive(first, max_retries=5).complete()
    assert sent == 1 + 500 // 14
    assert len(server.received) == sent + 1


def test_a_refusal_is_learned_by_both(ask: Ask, server: RawServer) -> None:
    message = "Unsupported parameter: use 'max_completion_tokens' instead"
    server.will(reply(failure("unsupported_parameter", message), 400), reply(chat()))
    first = ask(model="prod-chat")
    derive(first, timeout=5).complete(max_tokens=5)
    first.complete(max_tokens=5)
    assert ["max_tokens" in each.json for each in server.received] == [True, False, False]


def test_the_other_kind_of_client_shares_the_connections_too(server: RawServer) -> None:
    client = InferenceClient(f"{server.url}/models", KEY, "m")
    derived = client.to_async().with_options(timeout=5).to_sync()
    assert derived is not client
    assert derived._transport is client._transport
    assert derived.timeout == Timeout.of(5)


@pytest.mark.parametrize(
    ("url", "options", "target"),
    [
        ("", {"surface": "models"}, "/models/chat/completions?api-version=2024-05-01-preview"),
        (
            "?a=b",
            {"surface": "models", "api_version": "2025-04-01"},
            "/models/chat/completions?a=b&api-version=2025-04-01",
        ),
        ("/openai/deployments/m", {"surface": "v1"}, "/openai/v1/chat/completions"),
        (
            "/openai/deployments/m",
            {"api_version": "2025-01-01-preview"},
            "/openai/deployments/m/chat/completions?api-version=2025-01-01-preview",
        ),
        (
            "/openai/deployments/m?api-version=2024-06-01",
            {"surface": "deployments"},
            "/openai/deployments/m/chat/completions?api-version=2024-06-01",
        ),
        ("/models?api-version=2024-06-01", {"surface": "v1"}, "/openai/v1/chat/completions"),
    ],
)
def test_another_surface_of_the_resource_can_be_used(url: str, options: Any, target: str) -> None:
    client = InferenceClient(f"https://contoso.services.ai.azure.com{url}", KEY, "m")
    assert client.with_options(**options).explain().url.endswith(f".azure.com{target}")


def test_a_gateway_without_a_root_stays_where_it_is() -> None:
    client = InferenceClient("https://gateway.example/llm/v1", KEY, "m")
    assert (
        client.with_options(surface="serverless").endpoint.url == "https://gateway.example/llm/v1"
    )


@pytest.mark.parametrize("options", [{"surface": "nowhere"}, {"api_version": "2024-11-20"}])
def test_options_that_are_not_valid_are_refused(options: Any) -> None:
    client = InferenceClient("https://contoso.openai.azure.com", KEY, "m")
    with pytest.raises(ConfigurationError):
        client.with_options(**options)


def test_a_client_with_options_can_be_pickled() -> None:
    client = InferenceClient("https://contoso.openai.azure.com", "entra", "m").with_options(
        model="n"
    )
    assert pickle.loads(pickle.dumps(client)).model == "n"
