"""Credentials: the right header and scope, fresh tokens, and nothing secret anywhere."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.identity import ClientSecretCredential
from pydantic import SecretStr

from azinfer.core import (
    AsyncInferenceClient,
    AuthenticationError,
    ConfigurationError,
    Endpoint,
    InferenceClient,
    InferenceError,
    PermissionDeniedError,
    credentials,
)
from azinfer.core.credentials import Secret
from azinfer.core.deployment_lists import list_url
from azinfer.core.locks import _renew_all
from azinfer.core.secret_names import without_secrets
from azinfer.core.surfaces import MODELS, scope_of
from client_driver import KEY, ClientDriver, TestClock, open_driver
from raw_server import RawServer, chat, failure, reply, vectors

Ask = Callable[..., ClientDriver]
ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a"
V1 = "https://contoso.openai.azure.com/openai/v1"
COGNITIVE = "https://cognitiveservices.azure.com/.default"


@dataclass
class Token:
    token: str
    expires_on: float


@dataclass
class TokenCredential:
    """A credential as azure-identity has them."""

    clock: TestClock
    lives: float = 3600.0
    scopes: list[str] = field(default_factory=list)
    broken: bool = False

    __hash__ = object.__hash__

    def get_token(self, *scopes: str) -> Token:
        if self.broken:
            raise RuntimeError("no login")
        self.scopes += scopes
        return Token(f"token-{len(self.scopes)}", self.clock.now + self.lives)


@dataclass
class AsyncTokenCredential(TokenCredential):
    __hash__ = object.__hash__

    async def get_token(self, *scopes: str) -> Token:  # type: ignore[override]
        await asyncio.sleep(0)
        return TokenCredential.get_token(self, *scopes)


@dataclass
class KeyCredential:
    key: str


class SecretText:
    def get_secret_value(self) -> str:
        return "from-pydantic"


def authorizations(server: RawServer) -> list[str | None]:
    return [request.header("authorization") for request in server.received]


@pytest.mark.parametrize(
    ("credential", "key"),
    [(KEY, KEY), (f" {KEY}\n", KEY), (KeyCredential("k2"), "k2"), (SecretText(), "from-pydantic")],
)
def test_a_key_is_sent_from_every_kind_of_credential(
    ask: Ask, server: RawServer, credential: Any, key: str
) -> None:
    server.will(reply(chat()))
    ask(credential=credential).complete()
    assert server.received[0].header("api-key") == key


def test_a_key_that_changes_is_sent_anew(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    holder = KeyCredential("old")
    driver = ask(credential=holder)
    driver.complete()
    holder.key = "new"
    driver.complete()
    assert [request.header("api-key") for request in server.received] == ["old", "new"]


@pytest.mark.parametrize(
    ("path", "surface", "scope"),
    [
        ("/models", None, COGNITIVE),
        ("/openai/v1", None, COGNITIVE),
        ("/openai", None, COGNITIVE),
        ("", "serverless", "https://ml.azure.com/.default"),
        ("", "managed", "https://ml.azure.com/.default"),
    ],
)
def test_a_token_has_the_scope_of_the_surface(
    ask: Ask, server: RawServer, clock: TestClock, path: str, surface: str | None, scope: str
) -> None:
    server.will(reply(chat()))
    credential = TokenCredential(clock)
    ask(path, credential, surface=surface).complete()
    assert credential.scopes == [scope]
    assert authorizations(server) == ["Bearer token-1"]
    assert server.received[0].header("api-key") is None


@pytest.mark.parametrize(
    ("url", "scope"),
    [
        ("https://contoso.openai.azure.com", COGNITIVE),
        ("https://contoso.openai.azure.us", "https://cognitiveservices.azure.us/.default"),
        ("https://contoso.openai.azure.cn", "https://cognitiveservices.azure.cn/.default"),
        ("https://x.eastus.models.ai.azure.com", "https://ml.azure.com/.default"),
        ("https://azure.us.example.com/openai/v1", COGNITIVE),
    ],
)
def test_a_token_has_the_scope_of_its_cloud(url: str, scope: str) -> None:
    endpoint = Endpoint.parse(url)
    assert scope_of(endpoint.surface, endpoint.url) == scope


@pytest.mark.parametrize(
    ("url", "scope"),
    [
        (f"https://management.{cloud}{ARM}", f"https://management.{cloud}/.default")
        for cloud in ("azure.com", "usgovcloudapi.net", "chinacloudapi.cn")
    ]
    + [(f"https://evil.example.com{ARM}", "https://management.azure.com/.default")],
)
def test_a_list_of_management_has_the_scope_of_its_cloud(url: str, scope: str) -> None:
    endpoint = Endpoint.parse("https://contoso.openai.azure.com")
    assert list_url(endpoint, url) == (f"{url}/deployments?api-version=2025-09-01", scope)


def audience(name: str) -> Any:
    text = "Unauthorized. Access token is missing, invalid, audience is incorrect "
    return reply({"statusCode": 401, "message": f"{text}({name}), or have expired."}, 401)


def test_a_token_for_another_audience_is_replaced_once_and_for_all(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(audience("https://ai.azure.com"), reply(chat()))
    credential = TokenCredential(clock)
    driver = ask(credential=credential)
    driver.complete()
    driver.complete()
    assert credential.scopes == [COGNITIVE, "https://ai.azure.com/.default"]
    assert authorizations(server) == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


def test_a_service_cannot_choose_the_audience_of_a_token(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(audience("https://management.azure.com"), reply(chat()))
    credential = TokenCredential(clock)
    ask(credential=credential).complete()
    assert set(credential.scopes) == {COGNITIVE}


def test_a_resource_without_keys_names_the_accepted_credentials(
    ask: Ask, server: RawServer
) -> None:
    message = "Key based authentication is disabled for this resource."
    server.will(reply(failure("AuthenticationTypeDisabled", message), 403))
    with pytest.raises(PermissionDeniedError, match=r"Pass a credential of azure-identity"):
        ask().complete()


def test_a_surface_without_a_scope_takes_no_entra_token(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    surface = replace(MODELS, name="own", path="", scope=None)
    with pytest.raises(ConfigurationError, match="own surface does not accept Entra ID tokens"):
        ask("/inference", TokenCredential(clock), surface=surface).complete()
    assert not server.received


def test_clients_of_one_credential_request_a_token_once(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(reply(chat()))
    credential = TokenCredential(clock)
    for client in (ask(credential=credential), ask("/models", credential)):
        client.complete()
        client.complete()
    assert authorizations(server) == ["Bearer token-1"] * 4


@dataclass
class Unhashable:
    """A credential that cannot be a key of a weak dictionary."""

    inner: TokenCredential

    def get_token(self, *scopes: str) -> Token:
        return self.inner.get_token(*scopes)


def test_a_credential_that_cannot_be_hashed_has_its_tokens_cached_too(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(reply(chat()))
    driver = ask(credential=Unhashable(TokenCredential(clock)))
    driver.complete()
    driver.complete()
    assert authorizations(server) == ["Bearer token-1"] * 2


def test_a_token_is_renewed_before_it_expires(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(reply(chat()))
    driver = ask(credential=TokenCredential(clock))
    driver.complete()
    clock.now += 3600 - 299
    driver.complete()
    assert authorizations(server) == ["Bearer token-1", "Bearer token-2"]


def test_an_old_token_is_used_while_renewal_fails(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(reply(chat()))
    credential = TokenCredential(clock)
    driver = ask(credential=credential)
    driver.complete()
    clock.now += 3600 - 100
    credential.broken = True
    driver.complete()
    assert authorizations(server) == ["Bearer token-1"] * 2
    clock.now += 100
    with pytest.raises(AuthenticationError, match="returned no token: RuntimeError: no login"):
        driver.complete()


@pytest.mark.parametrize("form", ["function", "async function", "credential"])
@pytest.mark.parametrize("raised", [RuntimeError, ValueError, OSError, TimeoutError])
def test_the_failure_of_a_credential_is_the_cause_of_the_error(
    ask: Ask, server: RawServer, form: str, raised: type[Exception]
) -> None:
    driver = ask(credential=failing_credential(form, raised("no login")))
    if form == "async function" and driver.kind == "sync":
        pytest.skip("sync code refuses it")
    with pytest.raises(AuthenticationError, match=f": {raised.__name__}: no login") as caught:
        driver.complete()
    assert isinstance(caught.value.__cause__, raised)
    assert not server.received


@pytest.mark.parametrize("form", ["function", "async function", "credential"])
@pytest.mark.parametrize(
    "mistake", [TypeError, KeyError, AttributeError, NameError, AssertionError, RecursionError]
)
def test_a_mistake_in_the_code_of_a_credential_passes_through(
    ask: Ask, server: RawServer, form: str, mistake: type[Exception]
) -> None:
    driver = ask(credential=failing_credential(form, mistake("a mistake")))
    if form == "async function" and driver.kind == "sync":
        pytest.skip("sync code refuses it")
    with pytest.raises(mistake, match="a mistake"):
        driver.complete()
    assert not server.received


def failing_credential(form: str, error: Exception) -> Any:
    """A credential that raises an error."""

    def function(*scopes: str) -> str:
        raise error

    async def later() -> str:
        return function()

    class FailingCredential:
        get_token = staticmethod(function)

    forms: dict[str, Any] = {"function": function, "async function": later}
    return forms.get(form) or FailingCredential()


def test_a_token_is_fetched_for_each_attempt(ask: Ask, server: RawServer, clock: TestClock) -> None:
    server.will(reply(failure(), 500), reply(chat()))
    ask(credential=TokenCredential(clock, lives=0)).complete()
    assert authorizations(server) == ["Bearer token-1", "Bearer token-2"]


def test_a_401_is_retried_once_with_a_fresh_token(
    ask: Ask, server: RawServer, clock: TestClock
) -> None:
    server.will(reply(failure("401"), 401), reply(chat()))
    ask(credential=TokenCredential(clock)).complete()
    assert authorizations(server) == ["Bearer token-1", "Bearer token-2"]
    assert not clock.waits


def test_a_401_is_retried_only_once(ask: Ask, server: RawServer, clock: TestClock) -> None:
    server.will(reply(failure("401"), 401))
    with pytest.raises(AuthenticationError) as caught:
        ask(credential=TokenCredential(clock)).complete()
    assert len(server.received) == caught.value.attempts == 2


def test_a_refused_key_is_not_retried(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("401"), 401))
    with pytest.raises(AuthenticationError) as caught:
        ask().complete()
    assert len(server.received) == caught.value.attempts == 1


def test_a_credential_function_is_called_for_each_attempt(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure(), 500), reply(chat()))
    tokens = iter(["a", "b"])
    ask(credential=lambda: next(tokens)).complete()
    assert authorizations(server) == ["Bearer a", "Bearer b"]


def test_the_same_token_after_a_401_is_not_retried(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("401"), 401))
    with pytest.raises(AuthenticationError):
        ask(credential=lambda: "same").complete()
    assert len(server.received) == 1


def test_a_failing_credential_function_is_an_error(ask: Ask, server: RawServer) -> None:
    def fail() -> str:
        raise OSError("vault is sealed")

    with pytest.raises(AuthenticationError, match="OSError: vault is sealed"):
        ask(credential=fail).complete()
    assert not server.received


def test_async_credentials_serve_async_clients(server: RawServer, clock: TestClock) -> None:
    server.will(reply(chat()))

    async def token() -> str:
        return "awaited"

    with open_driver("async", f"{server.url}/models", token, "m") as driver:
        driver.complete()
    credential = AsyncTokenCredential(clock)
    with open_driver("async", f"{server.url}/models", credential, "m", clock=clock) as driver:

        async def at_once() -> None:
            await asyncio.gather(*(driver.client.complete([{"role": "user"}]) for _ in range(5)))

        driver.run(at_once())
    assert authorizations(server) == ["Bearer awaited"] + ["Bearer token-1"] * 5
    assert credential.scopes == [COGNITIVE]


def test_a_failing_async_credential_is_an_error(server: RawServer, clock: TestClock) -> None:
    server.will(reply(chat()))
    credential = AsyncTokenCredential(clock)
    with open_driver("async", f"{server.url}/models", credential, "m", clock=clock) as driver:
        driver.complete()
        clock.now += 3500
        credential.broken = True
        driver.complete()
        clock.now += 3500
        with pytest.raises(AuthenticationError, match="no login"):
            driver.complete()


def test_an_async_credential_in_a_sync_client_is_an_error_with_advice(
    server: RawServer, clock: TestClock
) -> None:
    async def token() -> str:
        return "never"

    for credential in (AsyncTokenCredential(clock), token):
        client = InferenceClient(f"{server.url}/models", credential, "m")
        with pytest.raises(ConfigurationError, match="AsyncInferenceClient"):
            client.complete([{"role": "user"}])
    assert not server.received


def test_an_awaitable_credential_in_a_sync_client_is_an_error(server: RawServer) -> None:
    class Awaitable:
        def __await__(self) -> Any:
            return iter(())

    client = InferenceClient(f"{server.url}/models", lambda: Awaitable(), "m")
    with pytest.raises(ConfigurationError, match="async function"):
        client.complete([{"role": "user"}])


def test_a_sync_credential_does_not_block_the_loop(server: RawServer, clock: TestClock) -> None:
    server.will(reply(chat()))

    class Slow(TokenCredential):
        __hash__ = object.__hash__

        def get_token(self, *scopes: str) -> Token:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(5)
            return super().get_token(*scopes)

    with open_driver("async", f"{server.url}/models", Slow(clock), "m", clock=clock) as driver:
        loop = driver._runner.get_loop()
        driver.complete()
    assert authorizations(server) == ["Bearer token-1"]


@pytest.mark.parametrize(
    "credential", ["", "  ", "two words", "kéy", "a\nb", KeyCredential("é"), lambda: "", 7]
)
def test_an_invalid_credential_is_refused_without_showing_it(
    ask: Ask, server: RawServer, credential: Any
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask(credential=credential).complete()
    assert not server.received
    for secret in ("two words", "kéy", "é"):
        assert secret not in str(caught.value)


ENDPOINTS = ["AZURE_INFERENCE_ENDPOINT", "AZURE_AI_ENDPOINT", "AZURE_OPENAI_ENDPOINT"]
PAIRS = [
    ("AZURE_INFERENCE_ENDPOINT", "AZURE_INFERENCE_CREDENTIAL"),
    ("AZURE_INFERENCE_ENDPOINT", "AZURE_INFERENCE_API_KEY"),
    ("AZURE_AI_ENDPOINT", "AZURE_AI_API_KEY"),
    ("AZURE_AI_ENDPOINT", "AZURE_AI_KEY"),
    ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"),
]


@pytest.mark.parametrize(("endpoint", "key"), PAIRS)
def test_endpoint_and_key_come_from_the_environment(
    kind: str, server: RawServer, endpoint: str, key: str
) -> None:
    server.will(reply(chat()))
    with open_driver(
        kind, model="m", environ={endpoint: f"{server.url}/openai/v1", key: KEY}
    ) as driver:
        driver.complete()
        assert repr(driver.client._credential) == f"Keys({key})"
    assert server.received[0].header("api-key") == KEY


@pytest.mark.parametrize("credential", ["env:MY_KEY", SecretStr("env:MY_KEY")])
def test_a_variable_is_named_also_in_a_secret_text(kind: str, credential: Any) -> None:
    driver = ClientDriver(kind, V1, credential, environ={"MY_KEY": KEY})
    assert repr(driver.client._credential) == "Keys(MY_KEY)"


def test_the_environment_is_read_in_order() -> None:
    environ = {name: f"https://e{at}.openai.azure.com" for at, name in enumerate(ENDPOINTS)}
    environ["AZURE_INFERENCE_CREDENTIAL"] = KEY
    assert InferenceClient(environ=environ).endpoint.url == "https://e0.openai.azure.com/openai/v1"
    del environ["AZURE_INFERENCE_ENDPOINT"]
    assert InferenceClient(environ=environ).endpoint.url == "https://e1.openai.azure.com/openai/v1"


def test_the_process_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AI_ENDPOINT", "https://contoso.openai.azure.com")
    monkeypatch.setenv("AZURE_AI_API_KEY", KEY)
    assert InferenceClient().endpoint.url == "https://contoso.openai.azure.com/openai/v1"


def test_a_key_from_the_environment_goes_only_to_its_endpoint() -> None:
    environ = {
        "AZURE_AI_ENDPOINT": "https://contoso.services.ai.azure.com",
        "AZURE_AI_API_KEY": KEY,
    }
    with pytest.raises(ConfigurationError, match="names another host") as caught:
        InferenceClient("https://evil.openai.azure.com", environ=environ)
    assert KEY not in str(caught.value)
    InferenceClient("https://contoso.services.ai.azure.com/models", environ=environ)


def test_without_endpoint_or_credential_the_variables_are_named() -> None:
    with pytest.raises(ConfigurationError, match="AZURE_INFERENCE_ENDPOINT, or AZURE_AI_ENDPOINT"):
        InferenceClient(environ={})
    with pytest.raises(ConfigurationError, match="set one of AZURE_INFERENCE_CREDENTIAL"):
        InferenceClient("https://contoso.openai.azure.com", environ={})


@pytest.mark.parametrize("credential", [KEY, KeyCredential(KEY), lambda: KEY])
def test_nothing_is_sent_in_clear_text_to_another_machine(kind: str, credential: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not https"):
        ClientDriver(kind, "http://example.com/openai/v1", credential)
    driver = ClientDriver(kind, "http://example.com/openai/v1", credential, allow_http=True)
    assert driver.client.endpoint.url == "http://example.com/openai/v1"


def test_secrets_do_not_appear_in_repr(ask: Ask, server: RawServer, clock: TestClock) -> None:
    server.will(reply(chat()))
    driver = ask("/models")
    driver.complete()
    shown = [driver.client, vars(driver.client), Secret(KEY, ("api-key",)), driver.client.explain()]
    assert not any(KEY in repr(each) or KEY in str(each) for each in shown)


def test_secrets_do_not_appear_in_logs(
    ask: Ask, server: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.will(reply(chat()), reply(failure("500"), 500), reply(failure("400"), 400))
    driver = ask("/models", max_retries=0)
    driver.complete()
    for _ in range(2):
        with pytest.raises(InferenceError):
            driver.complete()
    assert KEY not in caplog.text
    assert "secret prompt" not in caplog.text


def test_secrets_in_responses_are_redacted(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("401", f"bad key {KEY}!"), 401, {"x-was": f"Bearer {KEY}"}))
    with pytest.raises(AuthenticationError, match=r"bad key \[redacted\]!") as caught:
        ask().complete()
    error = caught.value
    assert error.headers["x-was"] == "Bearer [redacted]"
    assert KEY.encode() not in pickle.dumps(error)
    assert KEY not in repr(vars(error)) + repr(error)


def test_a_key_of_one_letter_does_not_garble_messages(ask: Ask, server: RawServer) -> None:
    server.will(reply(failure("401", "not known"), 401), lambda peer: peer.reset())
    for kind in (AuthenticationError, InferenceError):
        with pytest.raises(kind) as caught:
            ask(credential="k", max_retries=0).complete()
        assert "redacted" not in str(caught.value)


def test_secrets_do_not_appear_in_tracebacks_of_connection_errors(
    ask: Ask, server: RawServer
) -> None:
    server.will(lambda peer: peer.reset())
    with pytest.raises(InferenceError) as caught:
        ask(max_retries=0).complete()
    error: BaseException | None = caught.value
    while error is not None:
        assert KEY not in repr(vars(error)) + repr(error.args)
        assert not hasattr(error, "request")
        error = error.__cause__ or error.__context__


def named_function() -> str:
    return "a-token"


async def named_coroutine() -> str:
    return "a-token"


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"credential": KEY}, "with its key"),
        ({"credential": KeyCredential(KEY)}, "with its key"),
        ({"credential": AzureKeyCredential(KEY)}, "with its key"),
        ({"credential": SecretStr(KEY)}, "with its key"),
        ({"credential": TokenCredential(TestClock())}, "a TokenCredential, which may contain"),
        ({"credential": ClientSecretCredential("t", "c", KEY)}, "a ClientSecretCredential, which"),
        ({"credential": lambda: KEY}, "is not a function of a module"),
        ({"credential": partial(str, KEY)}, "is not a function of a module"),
        ({"credential": KEY.strip}, "is not a function of a module"),
        ({"credential": SecretStr(KEY).get_secret_value}, "is not a function of a module"),
        ({"credential": named_function, "headers": {"Api-Key": KEY}}, "'Api-Key'"),
        ({"credential": named_function, "endpoint": f"{V1}?api-key={KEY}"}, "'api-key'"),
        ({"credential": named_function, "endpoint": f"{V1}?code={KEY}"}, "'code'"),
        ({"credential": named_function, "endpoint": f"{V1}?sig={KEY}"}, "'sig'"),
    ],
)
def test_a_client_with_a_secret_cannot_be_pickled(
    kind: str, named: dict[str, Any], expected: str
) -> None:
    driver = ClientDriver(kind, **{"endpoint": V1, **named})
    with pytest.raises(
        ConfigurationError, match=f"{expected}.*cannot be pickled.*'env:NAME'"
    ) as caught:
        pickle.dumps(driver.client)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a/b", "https://a/b"),
        ("https://a/b?subscription-key=s3cret", "https://a/b"),
        ("https://a/b?%63ode=s3cret&team=a&Sig=s3cret#there", "https://a/b?team=a"),
        ("a/b?x=%20&error-code=1&signal=2", "a/b?x=%20&error-code=1&signal=2"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


def test_a_pickled_client_reads_its_key_from_the_environment_again(
    kind: str, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(reply(chat()), reply(vectors([1.0])))
    monkeypatch.setenv("AZURE_AI_API_KEY", KEY)
    with open_driver(kind, f"{server.url}/models", model="m") as driver:
        driver.complete()
        data = pickle.dumps(driver.client)
        assert KEY.encode() not in data
        driver.client = pickle.loads(data)
        driver.embed("a")
    assert [request.header("api-key") for request in server.received] == [KEY, KEY]


@pytest.mark.parametrize("function", [named_function, named_coroutine])
def test_a_pickled_client_finds_its_function_by_name(
    server: RawServer, function: Callable[[], Any]
) -> None:
    server.will(reply(chat()))
    with open_driver(
        "async", f"{server.url}/models", function, "m", headers={"x-team": "a"}
    ) as driver:
        data = pickle.dumps(driver.client)
        assert b"a-token" not in data
        driver.client = pickle.loads(data)
        driver.complete()
    assert authorizations(server) == ["Bearer a-token"]
    assert server.received[0].header("x-team") == "a"


def test_a_pickled_client_creates_a_new_default_azure_credential(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.setenv(variable, KEY)
    driver = ClientDriver(kind, V1, "entra")
    assert KEY.encode() in pickle.dumps(driver.client._credential._source.get_token)
    data = pickle.dumps(driver.client)
    assert KEY.encode() not in data
    assert callable(pickle.loads(data)._credential._source.get_token)


def test_a_copied_client_works_and_keeps_its_key(ask: Ask, server: RawServer) -> None:
    server.will(reply(chat()))
    driver = ask()
    original = driver.client
    for copied in (copy.copy(original), copy.deepcopy(original)):
        driver.client = copied
        driver.complete()
        driver.run(copied.close() if driver.kind == "sync" else copied.aclose())
    driver.client = original
    assert [request.header("api-key") for request in server.received] == [KEY, KEY]


def test_token_credentials_are_shared_by_copies(clock: TestClock) -> None:
    client = AsyncInferenceClient("https://contoso.openai.azure.com", TokenCredential(clock))
    assert copy.deepcopy(client)._credential is client._credential


def test_locks_of_token_caches_are_new_in_a_child() -> None:
    cache = credentials._Cache()
    old = cache.lock
    old.acquire()  # as a thread of the parent may have it at the moment of the fork
    _renew_all()
    assert cache.lock is not old
    assert not cache.lock.locked()
