"""The URL "local": the address and the key of a local endpoint, as the same file has them."""

from __future__ import annotations

from typing import Any

import pytest

from azinfer.core import ConfigurationError, InferenceClient
from azinfer.core.client_config import read_client_config

TWO = {"main": {"key": "k1"}, "west": {"port": 9000, "key": "env:WEST"}}


def config(local: dict[str, Any], names: str = "main west", **endpoint: Any) -> dict[str, Any]:
    return {
        "endpoints": {name: {"url": "local", **endpoint} for name in names.split()},
        "local": local,
    }


@pytest.mark.parametrize(
    ("local", "url"),
    [
        ({}, "http://127.0.0.1:8765"),
        ({"port": 1234, "host": "localhost"}, "http://localhost:1234"),
        ({"host": "0.0.0.0", "https": True}, "https://127.0.0.1:8765"),
        ({"host": "::"}, "http://[::1]:8765"),
        ({"https": True, "endpoints": {"main": {"https": False, "port": 1}}}, "http://127.0.0.1:1"),
        ({"endpoints": {"other": {}, "main": {}}}, "http://127.0.0.1:8766"),
    ],
)
def test_the_address_is_that_of_the_local_table(local: dict[str, Any], url: str) -> None:
    client = InferenceClient.from_config(config(local, "main"), environ={"AZURE_AI_API_KEY": "k"})
    assert client.endpoint.url == f"{url}/openai/v1"


def test_each_endpoint_has_its_own_key() -> None:
    settings = read_client_config(config({"endpoints": TWO}))
    assert [each.url[-4:] for each in settings.endpoints.values()] == ["8765", "9000"]
    assert [each.credential for each in settings.endpoints.values()] == ["k1", "env:WEST"]
    assert "k1" not in repr(settings.endpoints["main"])
    own = read_client_config(config({"endpoints": TWO}, credential="env:MINE"))
    assert {each.credential for each in own.endpoints.values()} == {"env:MINE"}
    shared = read_client_config(config({"key": "k2", "endpoints": {"main": {}}}, "main"))
    assert shared.endpoints["main"].credential == "k2"


@pytest.mark.parametrize(
    ("local", "message"),
    [
        (
            {"endpoints": {"east": {}}},
            'endpoints.main.url: is "local", but [local.endpoints] has no',
        ),
        ({"port": 0}, "local.port: must be above 0, because [endpoints.main] refers to it"),
        ({"endpoints": {"main": {"port": 0}}}, "local.endpoints.main.port: must be above 0"),
        ({"port": "x"}, "local.port: must be a whole number"),
    ],
)
def test_a_local_endpoint_that_cannot_be_found_is_refused(
    local: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_client_config(config(local, "main"))
    assert message in caught.value.message
