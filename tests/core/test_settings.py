"""Clients made from `azinfer.toml`."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    AsyncInferenceClient,
    ConfigurationError,
    DeploymentNotFoundError,
    InferenceClient,
)
from client_driver import KEY, ClientDriver, open_driver
from raw_server import RawServer, chat, failure, reply

MAIN = """
[endpoints.main]
url = "https://contoso.services.ai.azure.com"
credential = "env:MY_KEY"
"""
ENVIRON = {"MY_KEY": KEY}


def write_toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "azinfer.toml"
    path.write_text(text, "utf-8")
    return path


def driver_of(kind: str, path: Path, **named: Any) -> ClientDriver:
    """A driver whose client comes from a file."""
    cls = InferenceClient if kind == "sync" else AsyncInferenceClient
    driver = ClientDriver(kind, "localhost", KEY)
    driver.client = cls.from_config(path, **{"environ": ENVIRON, **named})
    return driver


def test_a_client_uses_the_settings_of_the_file(
    tmp_path: Path, server: RawServer, kind: str
) -> None:
    text = f"""
default = "west"
[endpoints.main]
url = "https://contoso.services.ai.azure.com"
credential = "entra"

[endpoints.west]
url = "{server.url}/openai"
credential = "env:MY_KEY"
surface = "deployments"
api_version = "2025-04-01-preview"
headers = {{ x-team = "search" }}

[deployments."prod@west"]
model_id = "gpt-5-mini"

[local]
port = 1
"""
    server.will(reply(chat()))
    driver = driver_of(kind, write_toml(tmp_path, text), model="prod")
    answer = driver.complete(max_tokens=5)
    driver.close()
    assert answer.routing is not None
    assert (answer.routing.model_id, answer.routing.model_id_source) == ("gpt-5-mini", "declared")
    request = server.received[0]
    assert request.target == (
        "/openai/deployments/prod/chat/completions?api-version=2025-04-01-preview"
    )
    assert (request.header("api-key"), request.header("x-team")) == (KEY, "search")
    assert request.json["max_completion_tokens"] == 5


def test_arguments_win_over_the_file(tmp_path: Path, server: RawServer, kind: str) -> None:
    server.will(reply(chat()))
    text = f'[endpoints.a]\nurl = "{server.url}"\nheaders = {{ x-a = "1" }}\n'
    driver = driver_of(
        kind, write_toml(tmp_path, text), model="m", credential="other-key", headers={"x-b": "2"}
    )
    driver.complete()
    driver.close()
    request = server.received[0]
    assert request.header("api-key") == "other-key"
    assert (request.header("x-a"), request.header("x-b")) == ("1", "2")


def test_the_file_is_read_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toml(tmp_path, MAIN)
    monkeypatch.chdir(tmp_path)
    client = InferenceClient.from_config(environ=ENVIRON)
    assert client.endpoint.url == "https://contoso.services.ai.azure.com/openai/v1"


def test_another_endpoint_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = write_toml(tmp_path, MAIN + '[endpoints.west]\nurl = "localhost:1"\n')
    client = InferenceClient.from_config(path, endpoint="west", credential=KEY)
    assert client.endpoint.url == "http://localhost:1/openai/v1"
    with pytest.raises(ConfigurationError, match=r"has no endpoint 'east', only main, west"):
        InferenceClient.from_config(path, endpoint="east", credential=KEY)
    assert "contoso" in InferenceClient.from_config(path, credential=KEY).endpoint.url
    path = write_toml(tmp_path, MAIN.replace("main", "a") + '[endpoints.b]\nurl = "localhost:1"\n')
    with pytest.raises(ConfigurationError, match=r"several endpoints: pass endpoint=.*a, b"):
        InferenceClient.from_config(path, credential=KEY)


def test_declared_deployments_win_over_listed_ones(
    tmp_path: Path, server: RawServer, kind: str
) -> None:
    arm = {
        "name": "Prod",
        "sku": {"name": "Standard", "capacity": 10},
        "properties": {"model": {"name": "gpt-4o", "version": "1"}, "raiPolicyName": "strict"},
    }
    listed = [{"name": "other", "properties": {"model": {"name": "phi-4"}}}]
    server.will(reply({"value": [arm, *listed]}))
    text = f"""
[endpoints.main]
url = "{server.url}"
credential = "env:MY_KEY"
[deployments."prod@main"]
capacity_type = "ProvisionedManaged"
capacity = 50
[deployments.mine]
model_id = "mistral-large"
model_version = "2411"
model_format = "Mistral AI"
content_filter = "none"
"""
    driver = driver_of(kind, write_toml(tmp_path, text))
    listing = driver.deployments()
    prod = listing["PROD"]
    assert (prod.name, prod.model_name, prod.model_version) == ("Prod", "gpt-4o", "1")
    assert (prod.capacity_type, prod.capacity) == ("ProvisionedManaged", 50)
    assert prod.content_filter == "strict"
    assert list(listing) == ["Prod", "other", "mine"]
    for name, source in (("prod", "listed"), ("mine", "declared"), ("other", "listed")):
        assert driver.client.explain(model=name).model_id_source == source
    driver.close()


def test_a_wrong_name_suggests_what_is_declared(
    tmp_path: Path, server: RawServer, kind: str
) -> None:
    server.will(reply(failure("DeploymentNotFound"), 404))
    text = f'[endpoints.main]\nurl = "{server.url}"\n[deployments."prod-chat@main"]\n'
    driver = driver_of(kind, write_toml(tmp_path, text), credential=KEY, model="prod-chta")
    with pytest.raises(DeploymentNotFoundError) as caught:
        driver.complete()
    driver.close()
    assert caught.value.suggestions == ("prod-chat",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1: endpoints: is missing; add a table"),
        ("[endpoints.main]\n", "line 1: endpoints.main.url: is missing; it must be text"),
        ('[endpoints.main]\nurl = "ftp://x"\n', "line 2: endpoints.main.url: .*not a valid http"),
        ('[endpoints.main]\nurl = "https://x.example/ai"\n', "line 2: .*url: .*Pass its surface"),
        (MAIN + 'surface = "v2"\n', "line 5: endpoints.main.surface: .*unknown surface 'v2'"),
        (MAIN + 'api_version = "1"\n', "line 5: endpoints.main.api_version: .*'1' is not"),
        (MAIN + "headers = { a = 1 }\n", "line 5: endpoints.main.headers.a: must be text"),
        (MAIN + 'surfaces = "v1"\n', "line 5: .*surfaces: is unknown; did you mean 'surface'"),
        ('default = "x"\n' + MAIN, "line 1: default: unknown endpoint 'x'; choose from main"),
        (
            MAIN + '[deployments."a@b"]\n',
            'line 5: deployments."a@b": .*such as a@main; the endpoints are main',
        ),
        (MAIN + '[deployments."@main"]\n', 'line 5: deployments."@main": .*such as gpt-4o@main'),
        (MAIN + '[deployments.a]\nmodel = "m"\n', "line 6: .*model: is unknown; did you mean"),
        (MAIN + '[deployments.a]\ncapacity = "9"\n', "line 6: .*capacity: must be a number"),
        (MAIN + "[routes.chat]\n", "line 5: routes.chat.tiers: is missing; it must be a list"),
        (MAIN + "[endpoint.x]\n", "line 5: endpoint: is unknown; known here:"),
    ],
)
def test_mistakes_are_errors_with_line_and_field(tmp_path: Path, text: str, expected: str) -> None:
    path = write_toml(tmp_path, text)
    with pytest.raises(ConfigurationError, match=f"azinfer.toml, {expected}"):
        InferenceClient.from_config(path, environ=ENVIRON)


def test_a_key_in_the_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = write_toml(tmp_path, f'[endpoints.main]\nurl = "localhost"\ncredential = "{KEY}"\n')
    with pytest.raises(ConfigurationError, match=r"line 3: .*credential: .*\"env:NAME\"") as caught:
        InferenceClient.from_config(path)
    assert KEY not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"main.credential: the variable MY_KEY is not set"
    ):
        InferenceClient.from_config(write_toml(tmp_path, MAIN), environ={})


def test_a_credential_by_name_is_a_key_that_can_be_rotated(server: RawServer, kind: str) -> None:
    server.will(reply(chat()))
    environ = dict(ENVIRON)
    with open_driver(kind, server.url, "env:MY_KEY", "m", environ=environ) as driver:
        driver.complete()
        environ["MY_KEY"] = "new-key"
        driver.complete()
    assert [each.header("api-key") for each in server.received] == [KEY, "new-key"]


def test_entra_is_the_default_credential_of_azure_identity(
    monkeypatch: pytest.MonkeyPatch, server: RawServer, kind: str
) -> None:
    # The managed identity of App Service: one of the sources that azure-identity goes through.
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "secret-of-the-machine")
    token = {"access_token": "a-token", "expires_on": "4102444800", "token_type": "Bearer"}
    server.choose = lambda request: reply(token if "/token" in request.target else chat())
    with open_driver(kind, server.url, "entra", "m") as driver:
        driver.complete()
        again = pickle.loads(pickle.dumps(driver.client))
        assert type(again) is type(driver.client)
    token_request, request = server.received
    assert "resource=https://cognitiveservices.azure.com" in token_request.target
    assert request.header("authorization") == "Bearer a-token"
    assert request.header("api-key") is None


def test_entra_without_azure_identity_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    with pytest.raises(ConfigurationError, match="pip install azure-identity"):
        InferenceClient("localhost", "entra")


@pytest.mark.parametrize("name", ["surface", "api_version"])
def test_an_empty_text_is_refused_where_a_default_exists(tmp_path: Path, name: str) -> None:
    text = f'[endpoints.main]\nurl = "https://h.services.ai.azure.com"\n{name} = ""\n'
    path = tmp_path / "azinfer.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=f"{name}: must not be empty; leave it out"):
        InferenceClient.from_config(path)
