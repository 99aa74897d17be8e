"""Credentials: a key or a source of tokens becomes the headers of one attempt."""

from __future__ import annotations

import inspect
import os
import re
import threading
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from azinfer.core.clock import Clock
from azinfer.core.errors import PASS_CREDENTIAL, AuthenticationError, ConfigurationError
from azinfer.core.interruptions import is_interruption
from azinfer.core.locks import renew_after_fork
from azinfer.core.redaction import SecretText, hidden
from azinfer.core.secret_names import pickleable_credential, refuse_to_pickle
from azinfer.core.surfaces import Surface

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Lock

# Variables with endpoints, in the order of precedence, each with the variables of its keys.
ENVIRONMENT = {
    "AZURE_INFERENCE_ENDPOINT": ("AZURE_INFERENCE_CREDENTIAL", "AZURE_INFERENCE_API_KEY"),
    "AZURE_AI_ENDPOINT": ("AZURE_AI_API_KEY", "AZURE_AI_KEY"),
    "AZURE_OPENAI_ENDPOINT": ("AZURE_OPENAI_API_KEY",),
}
_REFRESH_BEFORE = 300.0
# What a mistake in a caller's code raises, and what no code can help. Both pass through.
_MISTAKES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError),
    *(NameError, NotImplementedError, RecursionError, SyntaxError, TypeError),
)


class _TokenSource(Protocol):
    def get_token(self, *scopes: str) -> Any: ...


class _KeyHolder(Protocol):
    @property
    def key(self) -> str: ...


Credential: TypeAlias = str | _KeyHolder | _TokenSource | Callable[[], str | Awaitable[str]]


class Secret:
    """The headers that authorise one attempt, and the secret in them, which is never shown."""

    __slots__ = ("headers", "names", "shared", "value")

    def __init__(self, value: str, names: tuple[str, ...]) -> None:
        self.value = hidden(value)
        self.names = names
        self.shared: dict[Hashable, Any] = {}  # whole headers with this secret
        self.headers = tuple(
            (name, f"Bearer {value}" if name == "authorization" else value) for name in names
        )

    def __repr__(self) -> str:
        return "Secret(…)"


class Keys:
    """A key: text, an attribute of an object, or a variable of the environment.

    It is read again for each attempt, so that a running program uses a rotated key.

    Args:
        read: Returns the key.
        name: The name of the key in messages.
        reduction: How to pickle it; None if the pickle would contain the key.
    """

    def __init__(
        self, read: Callable[[], str], name: str = "the key", reduction: Any = None
    ) -> None:
        self._read = read
        self._name = name
        self._reduction = reduction
        self._last: Secret | None = None

    def __repr__(self) -> str:
        return f"Keys({self._name})"

    def __reduce__(self) -> Any:
        return self._reduction or refuse_to_pickle("its key")

    def secret(self, surface: Surface, scope: str | None, rejected: str | None) -> Secret | None:
        """Return the headers for one attempt, or None if the only secret is the rejected one."""
        value, last = hidden(self._read()), self._last
        if last is None or last.value != value or last.names != surface.key_headers:
            last = self._last = Secret(_check_secret(value, self._name), surface.key_headers)
        return None if last.value == rejected else last

    async def asecret(
        self, surface: Surface, scope: str | None, rejected: str | None
    ) -> Secret | None:
        """Do the same in async code."""
        return self.secret(surface, scope, rejected)


class TokenFunction:
    """A function that returns a token, or a coroutine of one; it is called for each attempt."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __reduce__(self) -> Any:
        if pickleable_credential(self._function) is None:
            refuse_to_pickle("a credential function that is not a function of a module")
        return TokenFunction, (self._function,)

    def secret(self, surface: Surface, scope: str | None, rejected: str | None) -> Secret | None:
        """Return the headers for one attempt, or None if the only secret is the rejected one."""
        value = hidden(_call(self._function))
        if inspect.isawaitable(value):
            _discard(value)
            raise ConfigurationError(
                "credential is an async function; pass InferenceClient a function that returns the "
                "token itself, or use AsyncInferenceClient"
            )
        return _bearer(value, rejected)

    async def asecret(
        self, surface: Surface, scope: str | None, rejected: str | None
    ) -> Secret | None:
        """Do the same in async code."""
        value = hidden(_call(self._function))
        if inspect.isawaitable(value):
            try:
                value = hidden(await value)
            except Exception as error:
                _no_token(error)
        return _bearer(value, rejected)


class _Cache:
    """The tokens of one credential, by scope."""

    def __init__(self) -> None:
        self.tokens: dict[str, Any] = {}
        self.renew_locks()

    def renew_locks(self) -> None:
        """Use new locks."""
        self.lock = threading.Lock()
        self.locks: WeakKeyDictionary[AbstractEventLoop, Lock] = WeakKeyDictionary()
        renew_after_fork(self)


_caches: WeakKeyDictionary[Any, _Cache] = WeakKeyDictionary()


class Tokens:
    """The tokens of a credential of azure-identity: cached, and refreshed before they expire.

    All clients with the same credential share its tokens, and only one at a time asks for a new
    token.
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
            refuse_to_pickle(f"a {type(self._source).__name__}, which may contain a secret,")
        return Tokens, (self._source, self._clock)

    def secret(self, surface: Surface, scope: str | None, rejected: str | None) -> Secret | None:
        """Return the headers for one attempt, with another token than the rejected one."""
        scope = _scope(surface, scope)
        if inspect.iscoroutinefunction(self._source.get_token):
            raise ConfigurationError(
                f"{type(self._source).__name__} is an async credential; use AsyncInferenceClient, "
                "or the credential of the same name for sync code"
            )
        with self._cache.lock:
            token = self._valid_token(scope, rejected, _REFRESH_BEFORE)
            if token is None:
                try:
                    token = self._cache.tokens[scope] = self._source.get_token(scope)
                except Exception as error:
                    token = self._after_failure(error, scope, rejected)
        return _bearer(token.token, rejected)

    async def asecret(
        self, surface: Surface, scope: str | None, rejected: str | None
    ) -> Secret | None:
        """Do the same in async code; a credential that blocks is called in a thread."""
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
            return token  # another task fetched it while this one waited
        try:
            token = self._cache.tokens[scope] = await self._source.get_token(scope)
        except Exception as error:
            return self._after_failure(error, scope, rejected)
        return token

    def _after_failure(self, error: Exception, scope: str, rejected: str | None) -> Any:
        """Return the cached token if it is still valid, or raise."""
        if _is_failure(error) and (token := self._valid_token(scope, rejected, 0.0)):
            return token
        return _no_token(error)

    def _valid_token(self, scope: str, rejected: str | None, margin: float) -> Any:
        """Return the cached token if it is valid for `margin` more seconds."""
        token = self._cache.tokens.get(scope)
        if token is None or token.token == rejected:
            return None
        return token if token.expires_on - self._clock.time() > margin else None


Source: TypeAlias = Keys | TokenFunction | Tokens


def source_of(credential: Any, url: str, environ: Mapping[str, str] | None, clock: Clock) -> Source:
    """Return the source of headers for whatever was passed as `credential`.

    Args:
        credential: A key, `"env:NAME"`, `"entra"`, an object with `key` or `get_token`, a
            function, or None for the variables of the environment.
        url: The endpoint that the credential is for.
        environ: The environment; None for that of the process.
        clock: Decides when a token expires.

    Raises:
        ConfigurationError: The credential has an unknown type, or there is none.
    """
    if credential is None:
        return _from_environment(url, environ)
    if hasattr(credential, "get_secret_value"):  # pydantic's SecretStr
        credential = credential.get_secret_value()
    credential = hidden(credential)
    if isinstance(credential, str):
        return _source_by_name(credential, environ, clock) or _key_source(credential)
    if hasattr(credential, "get_token"):
        return Tokens(credential, clock)
    if hasattr(credential, "key"):
        return Keys(lambda: credential.key)
    if callable(credential):
        return TokenFunction(credential)
    raise ConfigurationError(
        f"credential has the type {type(credential).__name__}; pass a key, an object with "
        "get_token (azure-identity) or key (AzureKeyCredential), or a function that returns a token"
    )


class _Entra:
    """The DefaultAzureCredential of azure-identity; each process makes its own."""

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
    """Return the source for a name, as in configuration files: `"entra"` or `"env:NAME"`."""
    if credential == "entra":
        return Tokens(_Entra(), clock)
    if not credential.startswith("env:"):
        return None
    credential = str(credential)  # a name is not a secret
    variable = credential.removeprefix("env:")
    if not environment(environ).get(variable):
        raise ConfigurationError(f"credential={credential!r}: the variable {variable} is not set")
    return _in_environment(variable, environ)


def _key_source(key: str) -> Keys:
    key = _check_secret(key, "the key")
    return Keys(lambda: key)


def environment(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the given environment, or that of the process."""
    return os.environ if environ is None else environ


def endpoint_from(environ: Mapping[str, str] | None) -> str:
    """Return the endpoint that the environment names.

    Raises:
        ConfigurationError: No variable names one.
    """
    for variable in ENVIRONMENT:
        if url := environment(environ).get(variable):
            return url
    raise ConfigurationError(f"no endpoint: pass endpoint=, or set {', or '.join(ENVIRONMENT)}")


def _from_environment(url: str, environ: Mapping[str, str] | None) -> Source:
    """Return the key in the environment; it is only sent to the host of its endpoint variable."""
    known = environment(environ)
    for endpoint, variables in ENVIRONMENT.items():
        if known.get(endpoint) and _host(known[endpoint]) != _host(url):
            continue
        for variable in variables:
            if known.get(variable):
                return _in_environment(variable, environ)
    names = ", ".join(variable for variables in ENVIRONMENT.values() for variable in variables)
    raise ConfigurationError(
        f"no credential for {url}: {PASS_CREDENTIAL}, or set one of {names}; a key whose endpoint "
        "variable names another host is not used",
        param="credential",
    )


def _in_environment(variable: str, environ: Mapping[str, str] | None) -> Keys:
    return Keys(
        lambda: environment(environ).get(variable, ""),
        variable,
        (_in_environment, (variable, None)),
    )


def _host(url: str) -> str:
    return urlsplit(url if "://" in url else f"//{url}").netloc.lower()


def _check_secret(value: Any, name: str) -> SecretText:
    value = text = SecretText(value.strip() if isinstance(value, str) else "")
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ConfigurationError(
            f"{name} is empty, or has spaces or other characters that a key cannot have; "
            "copy it again"
        )
    return text


def _scope(surface: Surface, scope: str | None) -> str:
    if scope := scope or surface.scope:
        return scope
    raise ConfigurationError(
        f"the {surface.name} surface does not accept Entra ID tokens; pass its own token as text"
    )


def _call(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:
        _no_token(error)


def _is_failure(error: Exception) -> bool:
    """Return True if a credential failed: neither was it interrupted, nor is its code wrong."""
    return not isinstance(error, _MISTAKES) and not is_interruption(error)


def _no_token(error: Exception) -> Any:
    if not _is_failure(error):
        raise error
    raise AuthenticationError(
        f"the credential returned no token: {type(error).__name__}: {error}"
    ) from error


def _bearer(value: Any, rejected: str | None) -> Secret | None:
    value = hidden(value)
    token = _check_secret(value, "the token")
    return None if token == rejected else Secret(token, ("authorization",))


def _discard(awaitable: Any) -> None:
    if inspect.iscoroutine(awaitable):
        awaitable.close()
