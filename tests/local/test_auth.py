"""Who may call: two keys that can be renewed at run time, and tokens of a local issuer."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.abc import MetaPathFinder
from typing import Any

import httpx
import jwt
import pytest
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential

from azinfer.core import (
    AsyncInferenceClient,
    AuthenticationError,
    ConfigurationError,
    InferenceClient,
    UserMessage,
)
from azinfer.local import LocalDeployment, LocalEndpoint

COGNITIVE = "https://cognitiveservices.azure.com"
ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
VERSION = {"api-version": "2025-09-01"}
# A path of each surface, and whom tokens are for there.
SURFACES = {
    "/models/info?model=only": [COGNITIVE],
    "/openai/v1/models": [COGNITIVE, "https://ai.azure.com"],
    "/openai/deployments": [COGNITIVE],
    "/info": ["https://ml.azure.com", COGNITIVE],
    "/api/projects/p/deployments": ["https://ai.azure.com"],
    "/deployments": ["https://ai.azure.com"],
    f"{ACCOUNT}/deployments?api-version=2025-09-01": [
        "https://management.azure.com",
        "https://management.core.windows.net/",
    ],
}
AUDIENCES = {audience for audiences in SURFACES.values() for audience in audiences}


class Turned:
    """A clock that a test turns."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own() -> Iterator[LocalEndpoint]:
    """An endpoint whose keys a test may renew."""
    with LocalEndpoint([LocalDeployment("only")], key="first", key2="second") as endpoint:
        yield endpoint


def status(endpoint: LocalEndpoint, path: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(endpoint.url + path, headers=named).status_code


def test_both_keys_are_accepted_and_renewed_separately(own: LocalEndpoint) -> None:
    def opens(key: str) -> bool:
        return status(own, "/openai/v1/models", api_key=key) == 200

    assert (own.key, own.key2) == ("first", "second")
    values = ("first", "second", "", "firs", "firsts", "third")
    assert [opens(key) for key in values] == [True, True, False, False, False, False]
    client = httpx.Client(base_url=own.url + ACCOUNT, params=VERSION, headers={"api-key": "second"})
    assert client.post("/listKeys").json() == {"key1": "first", "key2": "second"}
    renewed = client.post("/regenerateKey", json={"keyName": "key1"}).json()
    assert renewed == {"key1": own.key, "key2": "second"}
    assert not opens("first")
    assert opens(own.key)
    client.post("/regenerateKey", json={"keyName": "Key2"})
    assert client.post("/listKeys").status_code == 401
    assert opens(own.key2)
    client.close()


@pytest.mark.parametrize("key", ["", " k", "k\n", "clé", "a\x00b"])
def test_keys_that_no_header_can_carry_are_rejected(key: str) -> None:
    with pytest.raises(ConfigurationError, match="a key must be ASCII text"):
        LocalEndpoint(key=key)
    with pytest.raises(ConfigurationError, match="a key must be ASCII text"):
        LocalEndpoint(key2=key)


def test_an_unknown_key_name_is_not_renewed(own: LocalEndpoint) -> None:
    headers = {"api-key": own.key}
    url = f"{own.url}{ACCOUNT}/regenerateKey"
    answer = httpx.post(url, params=VERSION, headers=headers, json={"keyName": "Key3"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "InvalidResourceProperties"
    assert "Key1, Key2, not 'Key3'" in answer.json()["error"]["message"]
    answer = httpx.post(url, params=VERSION, headers=headers, content=b"{")
    assert answer.json()["error"]["code"] == "InvalidRequestContent"


def test_a_running_client_follows_a_renewed_key(own: LocalEndpoint) -> None:
    class KeyHolder:
        @property
        def key(self) -> str:
            return own.key

    with InferenceClient(own.url, KeyHolder(), "only") as client:
        assert client.complete([UserMessage("hi")]).text
        httpx.post(
            f"{own.url}{ACCOUNT}/regenerateKey",
            params=VERSION,
            headers={"api-key": own.key},
            json={"keyName": "Key1"},
        )
        assert client.complete([UserMessage("hi")]).text


def test_keys_are_generated_by_default_and_never_shown() -> None:
    first, second = LocalEndpoint(), LocalEndpoint()
    keys = {first.key, first.key2, second.key, second.key2}
    assert len(keys) == 4
    assert min(map(len, keys)) >= 32
    shown = repr(first) + repr(vars(first)) + repr(vars(first._authenticator))
    assert not [key for key in keys if key in shown]


@pytest.mark.parametrize(("path", "audiences"), SURFACES.items())
def test_a_token_is_accepted_on_the_surfaces_of_its_audience(
    own: LocalEndpoint, path: str, audiences: list[str]
) -> None:
    for audience in AUDIENCES:
        token = own.credential().get_token(f"{audience}/.default").token
        result = status(own, path, authorization=f"Bearer {token}")
        assert result == (200 if audience in audiences else 401), audience


def test_a_wrong_audience_is_refused_as_the_service_does(own: LocalEndpoint) -> None:
    token = own.credential().get_token("https://ml.azure.com/.default").token
    headers = {"authorization": f"Bearer {token}"}
    for path, audience in (
        ("/models/info?model=only", COGNITIVE),
        ("/openai/v1/models", COGNITIVE),
        ("/api/projects/p/deployments", "https://ai.azure.com"),
    ):
        assert httpx.get(own.url + path, headers=headers).json() == {
            "statusCode": 401,
            "message": "Unauthorized. Access token is missing, invalid, audience is incorrect "
            f"({audience}), or have expired.",
        }
    answer = httpx.get(f"{own.url}{ACCOUNT}/deployments", params=VERSION, headers=headers)
    assert answer.json()["error"]["code"] == "InvalidAuthenticationTokenAudience"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_each_surface_has_its_own_words_for_a_bad_credential(own: LocalEndpoint) -> None:
    serverless = {
        "statusCode": 401,
        "message": "Auth token validation failed. Please provide a valid key or a valid AAD token",
    }
    for headers in ({"api-key": "no"}, {"authorization": "Bearer no"}, {}):
        answer = httpx.get(f"{own.url}/info", headers=headers)
        assert (answer.status_code, answer.json()) == (401, serverless)
        assert answer.headers["x-ms-error-reason"] == "Invalid JWT."
    url = f"{own.url}{ACCOUNT}/deployments?api-version=2025-09-01"
    codes = {"api-key": "AuthenticationFailed", "authorization": "InvalidAuthenticationToken"}
    for name, code in codes.items():
        answer = httpx.get(url, headers={name: "Bearer no"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_a_token_expires_at_its_expiry_and_not_earlier() -> None:
    clock = Turned()
    with LocalEndpoint([LocalDeployment("only")], now=clock, token_lifetime=60) as endpoint:
        token, expires = endpoint.credential().get_token(f"{COGNITIVE}/.default")
        bearer = {"authorization": f"Bearer {token}"}
        arm, _ = endpoint.credential().get_token("https://management.azure.com/.default")
        assert expires == clock.now + 60
        clock.now += 59
        assert status(endpoint, "/openai/v1/models", **bearer) == 200
        clock.now += 1
        assert status(endpoint, "/openai/v1/models", **bearer) == 401
        answer = httpx.get(
            f"{endpoint.url}{ACCOUNT}/deployments",
            params=VERSION,
            headers={"authorization": f"Bearer {arm}"},
        )
        assert answer.json()["error"]["code"] == "ExpiredAuthenticationToken"
        clock.now -= 3600
        assert status(endpoint, "/openai/v1/models", **bearer) == 401


@pytest.mark.parametrize(
    "forged",
    [
        lambda claims, token: jwt.encode(claims, "another secret of thirty-two bytes", "HS256"),
        lambda claims, token: jwt.encode(claims, "", "none"),
        lambda claims, token: token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"),
        lambda claims, token: token.rpartition(".")[0] + ".",
        lambda claims, token: token.partition(".")[2],
    ],
    ids=["another issuer", "no signature", "changed", "cut", "half"],
)
def test_a_forged_token_is_refused(own: LocalEndpoint, forged: Callable[[Any, str], str]) -> None:
    token = own.credential().get_token(f"{COGNITIVE}/.default").token
    claims = jwt.decode(token, options={"verify_signature": False})
    bearer = f"Bearer {forged(claims, token)}"
    assert status(own, "/openai/v1/models", authorization=bearer) == 401
    assert status(own, "/openai/v1/models", authorization=f"Bearer {token}") == 200


def test_a_token_of_another_endpoint_is_refused(own: LocalEndpoint) -> None:
    token = LocalEndpoint().credential().get_token(f"{COGNITIVE}/.default").token
    assert status(own, "/openai/v1/models", authorization=f"Bearer {token}") == 401


def test_our_clients_accept_the_credentials(own: LocalEndpoint) -> None:
    with own.credential() as credential, InferenceClient(own.url, credential, "only") as client:
        assert client.complete([UserMessage("hi")]).text
        assert client.deployments(own.url + ACCOUNT)["only"].capacity == 1
        assert client.deployments(f"{own.url}/api/projects/p")["only"].model_name == "only"
    assert "Bearer" not in repr(credential)

    async def send() -> str:
        async with (
            own.async_credential() as credential,
            AsyncInferenceClient(own.url, credential, "only") as client,
        ):
            assert repr(credential) == "AsyncLocalCredential(…)"
            return (await client.complete([UserMessage("hi")])).text

    assert asyncio.run(send())


def test_our_client_reports_an_expired_token() -> None:
    clock = Turned()
    with LocalEndpoint([LocalDeployment("only")], now=clock) as endpoint:
        token = endpoint.credential().get_token(f"{COGNITIVE}/.default").token
        clock.now += 3600
        with (
            InferenceClient(endpoint.url, lambda: token, "only") as client,
            pytest.raises(AuthenticationError, match="have expired"),
        ):
            client.complete([UserMessage("hi")])


def test_azure_identity_gets_tokens_from_the_local_authority(secure: LocalEndpoint) -> None:
    fields: dict[str, Any] = {
        "authority": secure.url,
        "disable_instance_discovery": True,
        "connection_verify": secure.ca_file,
    }
    with ClientSecretCredential("tenant", "client", secure.key2, **fields) as credential:
        token = credential.get_token(f"{COGNITIVE}/.default").token
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["tid"], claims["appid"], claims["aud"]) == ("tenant", "client", COGNITIVE)

    async def send() -> str:
        async with AsyncClientSecretCredential("t", "c", secure.key, **fields) as credential:
            return (await credential.get_token(f"{COGNITIVE}/.default")).token

    for each in (token, asyncio.run(send())):
        with httpx.Client(verify=_ssl_context(secure), base_url=secure.url) as client:
            answer = client.get("/openai/v1/models", headers={"authorization": f"Bearer {each}"})
            assert answer.status_code == 200


GRANT = {
    "grant_type": "client_credentials",
    "client_id": "c",
    "client_secret": "first",
    "scope": f"{COGNITIVE}/.default",
}


@pytest.mark.parametrize(
    ("changed", "error", "code", "status"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type", 70003, 400),
        ({"client_secret": "wrong"}, "invalid_client", 7000215, 401),
        ({"client_secret": ""}, "invalid_client", 7000215, 401),
        ({"scope": COGNITIVE}, "invalid_scope", 1002012, 400),
        ({"scope": ""}, "invalid_scope", 1002012, 400),
    ],
)
def test_a_request_for_a_token_is_refused_as_entra_does(
    own: LocalEndpoint, changed: dict[str, str], error: str, code: int, status: int
) -> None:
    answer = httpx.post(f"{own.url}/t/oauth2/v2.0/token", data={**GRANT, **changed})
    assert answer.status_code == status
    assert answer.json()["error"] == error
    assert answer.json()["error_codes"] == [code]
    assert answer.json()["error_description"].startswith(f"AADSTS{code}: ")


def test_no_secret_is_in_the_request_log(own: LocalEndpoint) -> None:
    token = httpx.post(f"{own.url}/t/oauth2/v2.0/token", data=GRANT).json()["access_token"]
    assert status(own, "/openai/v1/models", authorization=f"Bearer {token}") == 200
    httpx.post(
        f"{own.url}{ACCOUNT}/listKeys", params=VERSION, headers={"api-key": "second"}
    ).raise_for_status()
    assert len(own.requests) == 3
    shown = repr(own.requests) + repr([entry.to_wire() for entry in own.requests])
    assert not [secret for secret in ('"first"', '"second"', "=first", token) if secret in shown]


class SlowFinder(MetaPathFinder):
    """Finds no module, and that of tokens slowly."""

    def __init__(self) -> None:
        self.begun, self.over = threading.Event(), threading.Event()

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """Wait."""
        if name == "jwt":
            self.begun.set()
            self.over.wait()


@pytest.mark.parametrize("path", ["/openai/v1/models", "/t/oauth2/v2.0/token"])
def test_requests_are_answered_while_the_library_of_tokens_loads(
    own: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "jwt"]:
        monkeypatch.delitem(sys.modules, name)
    finder = SlowFinder()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    with ThreadPoolExecutor() as pool:
        try:
            if path.endswith("token"):
                loading = pool.submit(httpx.post, own.url + path, data=GRANT)
            else:
                headers = {"authorization": "Bearer token"}
                loading = pool.submit(httpx.get, own.url + path, headers=headers)
            assert finder.begun.wait(60)
            assert status(own, "/openai/v1/models", api_key="first") == 200
        finally:
            finder.over.set()
        assert loading.result().status_code == (200 if path.endswith("token") else 401)


def _ssl_context(endpoint: LocalEndpoint) -> Any:
    import ssl

    return ssl.create_default_context(cafile=endpoint.ca_file)
