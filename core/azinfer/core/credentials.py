"""Credentials: a key or a source of tokens becomes the headers of one attempt."""

from __future__ import annotations

import inspect
import os
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from azinfer.core.clock import Clock
from azinfer.core.errors import AuthenticationError, ConfigurationError
from azinfer.core.secret_names import pickleable_credential, refuse_to_pickle
from azinfer.core.surfaces import Surface

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Lock

# Endpoint variables in the order they are looked at, each with the keys that belong to it.
ENVIRONMENT = {
    "AZURE_INFERENCE_ENDPOINT": ("AZURE_INFERENCE_CREDENTIAL", "AZURE_INFERENCE_API_KEY"),
    "AZURE_AI_ENDPOINT": ("AZURE_AI_API_KEY", "AZURE_AI_KEY"),
    "AZURE_OPENAI_ENDPOINT": ("AZURE_OPENAI_API_KEY",),
}
_REFRESH_BEFORE = 300.0


class _TokenSource(Protocol):
    def get_token(self, *scopes: str) -> Any: ...


class _KeyHolder(Protocol):
    @property
    def key(self) -> str: ...


Credential: TypeAlias = str | _KeyHolder | _TokenSource | Callable[[], str | Awaitable[str]]


class Secret:
    """The headers that authorise one attempt, and the text in them that must never show."""

    __slots__ = ("headers", "value")

    def __init__(self, value: str, names: tuple[str, ...]) -> None:
        self.value = value
        self.headers = tuple(
            (name, f"Bearer {value}" if name == "authorization" else value) for name in names
        )

    def __repr__(self) -> str:
        return "Secret(…)"


class Keys:
    """A key: given as text, held by an object, or in a variable of the environment.

    It is read anew for each attempt, so that one may be rotated in a running program.

    Args:
        read: Gives the key.
        name: What messages call it.
        reduction: How a pickle makes this again; None for a key that it would have to hold.
    """

    def __init__(
        self, read: Callable[[], str], name: str = "the key", reduction: Any = None
    ) -> None:
        self._read = read
        self._name = name
        self._reduction = reduction

    def __repr__(self) -> str:
        return f"Keys({self._name})"

    def __reduce__(self) -> Any:
        return self._reduction or refuse_to_pickle("its key")

    def secret(self, surface: Surface, scope: str | None, rejected: str | None) -> Secret | None:
        """The headers for one attempt, or None where only the `rejected` text is to be had."""
        value = _check_secret(self._read(), self._name)
        return None if value == rejected else Secret(value, surface.key_headers)

    async def asecret(
        self, surface: Surface, scope: str | None, rejected: str | None
    ) -> Secret | None:
        """The same."""
        return self.secret(surface, scope, rejected)


class TokenFunction:
    """A function that gives a token, or its coroutine; asked for each attempt."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __reduce__(self) -> Any:
        if pickleable_credential(self._function) is None:
            refuse_to_pickle("a function that is no module's own")
        return TokenFunction, (self._function,)

    def secret(self, surface: Surface, scope: str | None, rejected: str | None) -> Secret | None:
        """The headers for one attempt, or None where only the `rejected` text is to be had."""
        value = _call(self._function)
        if inspect.isawaitable(value):
            _discard(value)
            raise ConfigurationError(
                "credential is an async function; give InferenceClient one that returns the "
                "token, or use AsyncInferenceClient"
            )
        return _bearer(value, rejected)

    async def asecret(
        self, surface: Surface, scope: str | None, rejected: str | None
    ) -> Secret | None:
        """The same."""
        value = _call(self._function)
        return _bearer(await value if inspect.isawaitable(value) else value, rejected)


class _Cache:
    """The tokens that one credential gave, by scope."""

    def __init__(self) -> None:
        self.tokens: dict[str, Any] = {}
        self.lock = threading.Lock()
        self.locks: WeakKeyDictionary[AbstractEventLoop, Lock] = WeakKeyDictionary()


_caches: WeakKeyDictionary[Any, _Cache] = WeakKeyDictionary()


class Tokens:
    """Tokens of a credential as azure-identity has them: cached, refreshed before they expire.

    All clients that share a credential share its tokens, and one of them asks for a new one.
    """

    def __init__(self, source: _TokenSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        try:
            self._cache = _caches.setdefault(source, _Cache())
        except TypeError:  # not hashable, or no weak references
            self._cache = _Cache()

    def __reduce__(self) -> Any:
        if not isinstance(self._source, _Entra):
            refuse_to_pickle(f"a {type(self._source).__name__}, which may hold a secret")
        return Tokens, (self._source, self._clock)

    def secret(self, surface: Surface, scope: str | None, rejected: str | None) -> Secret | None:
        """The headers for one attempt; the token is another one than `rejected`."""
        scope = _scope(surface, scope)
        if inspect.iscoroutinefunction(self._source.get_token):
            raise ConfigurationError(
                f"{type(self._source).__name__} is an async credential; use "
                "AsyncInferenceClient, or the credential of the same name for sync code"
            )
        with self._cache.lock:
            token = self._valid_token(scope, rejected, _REFRESH_BEFORE)
            if token is None:
                try:
                    token = self._cache.tokens[scope] = self._source.get_token(scope)
                except Exception as error:
                    token = self._valid_token(scope, rejected, 0.0) or _no_token(error)
        return _bearer(token.token, rejected)

    async def asecret(
        self, surface: Surface, scope: str | None, rejected: str | None
    ) -> Secret | None:
        """The same; a credential that blocks is asked in a thread."""
        scope = _scope(surface, scope)
        token = self._valid_token(scope, rejected, _REFRESH_BEFORE)
        if token is None and not inspect.iscoroutinefunction(self._source.get_token):
            import asyncio

            return await asyncio.to_thread(self.secret, surface, scope, rejected)
        if token is None:
            import asyncio

            lock = self._cache.locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())
            async with lock:
                token = await self._refresh(scope, rejected)
        return _bearer(token.token, rejected)

    async def _refresh(self, scope: str, rejected: str | None) -> Any:
        if token := self._valid_token(scope, rejected, _REFRESH_BEFORE):
            return token  # another task asked while this one waited
        try:
            token = self._cache.tokens[scope] = await self._source.get_token(scope)
        except Exception as error:
            return self._valid_token(scope, rejected, 0.0) or _no_token(error)
        return token

    def _valid_token(self, scope: str, rejected: str | None, margin: float) -> Any:
        """The token at hand, if it is good for `margin` more seconds."""
        token = self._cache.tokens.get(scope)
        if token is None or token.token == rejected:
            return None
        return token if token.expires_on - self._clock.time() > margin else None


Source: TypeAlias = Keys | TokenFunction | Tokens


def source_of(credential: Any, url: str, environ: Mapping[str, str] | None, clock: Clock) -> Source:
    """What gives the headers, from whatever was passed as `credential`.

    Args:
        credential: A key, `"env:NAME"`, `"entra"`, an object with `key` or `get_token`, a
            function, or None to look into the environment.
        url: The endpoint that the credential is for.
        environ: The environment; None for the process's own.
        clock: Decides when a token expires.

    Raises:
        ConfigurationError: It is none of these, or there is none.
    """
    if credential is None:
        return _from_environment(url, environ)
    if hasattr(credential, "get_secret_value"):  # pydantic's SecretStr
        credential = credential.get_secret_value()
    if isinstance(credential, str):
        return _source_by_name(credential, environ, clock) or _key_source(credential)
    if hasattr(credential, "get_token"):
        return Tokens(credential, clock)
    if hasattr(credential, "key"):
        return Keys(lambda: credential.key)
    if callable(credential):
        return TokenFunction(credential)
    raise ConfigurationError(
        f"credential is a {type(credential).__name__}; give a key, an object with get_token "
        "(azure-identity) or key (AzureKeyCredential), or a function that returns a token"
    )


class _Entra:
    """The DefaultAzureCredential of azure-identity, which each process makes anew."""

    def __init__(self) -> None:
        try:
            from azure.identity import DefaultAzureCredential
        except ModuleNotFoundError:
            raise ConfigurationError(
                "credential='entra' needs azure-identity: pip install azure-identity"
            ) from None
        self.get_token = DefaultAzureCredential().get_token

    def __reduce__(self) -> Any:
        return _Entra, ()


def _source_by_name(
    credential: str, environ: Mapping[str, str] | None, clock: Clock
) -> Source | None:
    """A credential by name, as configuration files have it: `"entra"` or `"env:NAME"`."""
    if credential == "entra":
        return Tokens(_Entra(), clock)
    if not credential.startswith("env:"):
        return None
    variable = credential.removeprefix("env:")
    if not environment(environ).get(variable):
        raise ConfigurationError(f"credential={credential!r}: the variable is not set")
    return _in_environment(variable, environ)


def _key_source(key: str) -> Keys:
    _check_secret(key, "the key")
    return Keys(lambda: key)


def environment(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    """The environment that was given, or the process's own."""
    return os.environ if environ is None else environ


def endpoint_from(environ: Mapping[str, str] | None) -> str:
    """The endpoint that the environment names.

    Raises:
        ConfigurationError: It names none.
    """
    for variable in ENVIRONMENT:
        if url := environment(environ).get(variable):
            return url
    raise ConfigurationError(f"no endpoint: pass endpoint=, or set {', or '.join(ENVIRONMENT)}")


def _from_environment(url: str, environ: Mapping[str, str] | None) -> Source:
    """A key goes only to the host of the endpoint variable it belongs to, if that is set."""
    known = environment(environ)
    for endpoint, variables in ENVIRONMENT.items():
        if known.get(endpoint) and _host(known[endpoint]) != _host(url):
            continue
        for variable in variables:
            if known.get(variable):
                return _in_environment(variable, environ)
    names = ", ".join(variable for variables in ENVIRONMENT.values() for variable in variables)
    raise ConfigurationError(
        f"no credential for {url}: pass credential= (a key, or a credential of azure-identity), "
        f"or set one of {names}; a key whose endpoint variable names another host is not used"
    )


def _in_environment(variable: str, environ: Mapping[str, str] | None) -> Keys:
    return Keys(
        lambda: environment(environ).get(variable, ""),
        variable,
        (_in_environment, (variable, None)),
    )


def _host(url: str) -> str:
    return urlsplit(url if "://" in url else f"//{url}").netloc.lower()


def _check_secret(value: Any, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ConfigurationError(
            f"{name} is empty, or has spaces or characters that no key has; copy it again"
        )
    return text


def _scope(surface: Surface, scope: str | None) -> str:
    if scope := scope or surface.scope:
        return scope
    raise ConfigurationError(
        f"the {surface.name} surface takes no Entra ID token; give it its own as a text"
    )


def _call(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        _no_token(error)


def _no_token(error: Exception) -> Any:
    raise AuthenticationError(
        f"the credential gave no token: {type(error).__name__}: {error}"
    ) from error


def _bearer(value: Any, rejected: str | None) -> Secret | None:
    token = _check_secret(value, "the token")
    return None if token == rejected else Secret(token, ("authorization",))


def _discard(awaitable: Any) -> None:
    if inspect.iscoroutine(awaitable):
        awaitable.close()
