"""The local endpoint as an object: started in a thread, reached over HTTP, stopped at the end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from azinfer.core.errors import ConfigurationError
from azinfer.local.api.app import application
from azinfer.local.engines.base import Sleep
from azinfer.local.engines.scripted import Scripted
from azinfer.local.resource.auth.authentication import Authenticator
from azinfer.local.resource.auth.keys import Keys
from azinfer.local.resource.auth.tokens import AsyncLocalCredential, Issuer, LocalCredential
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault, Faults
from azinfer.local.resource.latency import Latency
from azinfer.local.resource.overrides import Overrides, OverridesStore
from azinfer.local.resource.registry import Registry
from azinfer.local.resource.state import ResourceState
from azinfer.local.resource.storage.file_store import FileStore
from azinfer.local.resource.storage.request_log import RequestLog
from azinfer.local.server import address
from azinfer.local.server.uvicorn_setup import BackgroundServer, configure_limits

if TYPE_CHECKING:
    from azinfer.local.server.certificate_authority import Authority


class LocalEndpoint:
    """An endpoint with deployments on one's own machine, over real HTTP.

    Args:
        deployments: What it serves; left out, a synthetic deployment called `"synthetic"`.
        key: The key that requests must bear; left out, a new one.
        key2: The other key, which opens it too; left out, a new one.
        host: The address to listen on; other than loopback it needs a `key`.
        port: The port; 0 lets the system choose.
        strict: Whether to refuse what the service refuses though real clients send it.
        https: Whether to serve TLS, with a certificate that clients trust by `ca_file`.
        data: A directory to keep files and batches in, so that they outlive the process; left
            out, they last until `stop`.
        page_size: How many entries a page of a list of deployments has at most.
        token_lifetime: Seconds that its tokens are good for.
        clock: Monotonic seconds, by which rate limits are counted; for tests.
        now: Seconds since 1970, by which tokens, files and batches end; for tests.
        sleep: How latency waits, `asyncio.sleep` or a stand-in; for tests.

    Attributes:
        url: The address, once it was started.
        ca_file: With `https`, the authorities that clients must trust, as SSL_CERT_FILE and
            REQUESTS_CA_BUNDLE name them; else None.
        requests: What clients sent, newest last, without their credentials.

    Raises:
        ConfigurationError: Two deployments have one name, the address needs a key, or a key or
            the port is none.

    Example:
        >>> from azinfer.core import InferenceClient
        >>> with LocalEndpoint([LocalDeployment("echo")]) as endpoint:
        ...     client = InferenceClient(endpoint.url, endpoint.key, model="ECHO")
        ...     client.complete([{"role": "user", "content": "Hello"}]).text
        'This is a synthetic answer to: Hello'
    """

    def __init__(
        self,
        deployments: Sequence[LocalDeployment] | None = None,
        *,
        key: str | None = None,
        key2: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        strict: bool = False,
        https: bool = False,
        data: Path | str | None = None,
        page_size: int = 1000,
        token_lifetime: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        address.check(host, key, https)
        if not 0 <= port <= 65_535:
            raise ConfigurationError(f"port={port} is no port: give 0 to 65535")
        self._registry = Registry(deployments or (LocalDeployment("synthetic"),), clock, now)
        self._authenticator = Authenticator(Keys(key, key2), Issuer(now, token_lifetime))
        self._address = (host, port)
        self._authority = _authority() if https else None
        self.ca_file = str(self._authority.ca_file) if self._authority else None
        self.requests = RequestLog()
        self._overrides_store = OverridesStore(sleep)
        self._store = FileStore(None if data is None else Path(data), now)
        self._state = ResourceState(
            registry=self._registry,
            authenticator=self._authenticator,
            strict=strict,
            log=self.requests,
            overrides=self._overrides_store,
            store=self._store,
            page_size=page_size,
            clock=clock,
        )
        self._app = application(self._state)
        self._server: BackgroundServer | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    @classmethod
    def from_config(cls, path: str | Path = "azinfer.toml", **named: Any) -> Self:
        """The endpoint that a file describes under `[local]` (see `endpoint_config`).

        Args:
            path: The file.
            **named: What the constructor takes; it wins over the file.

        Raises:
            ConfigurationError: Something is wrong; the text has file, line, field and reason.
            InferenceError: The weights of a model cannot be had.
        """
        from azinfer.local.config.endpoint_config import read_endpoint_config

        settings = read_endpoint_config(path, options=named)
        return cls(**{"deployments": settings.deployments, **settings.options})

    def __repr__(self) -> str:
        names = ", ".join(deployment.name for deployment in self.deployments)
        return f"LocalEndpoint({self.url or 'not started'}: {names})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def deployments(self) -> tuple[LocalDeployment, ...]:
        """What it serves now."""
        return tuple(self._registry)

    @property
    def key(self) -> str:
        """The key that requests must bear, as it is now."""
        return self._authenticator.keys.first

    @property
    def key2(self) -> str:
        """The other key that opens it, as it is now."""
        return self._authenticator.keys.second

    def deploy(self, deployment: LocalDeployment) -> None:
        """Serve one more deployment, or another configuration of one, from now on.

        Raises:
            ConfigurationError: It spills over to what is not there or is another model.
        """
        self._registry.put(deployment)

    def delete(self, name: str) -> bool:
        """Serve a deployment no longer; False if there was none of this name, in any case."""
        return self._registry.remove(name)

    def credential(self) -> LocalCredential:
        """A credential whose tokens open it; stands where one of azure-identity does."""
        return LocalCredential(self._authenticator.issuer)

    def async_credential(self) -> AsyncLocalCredential:
        """The same for async clients."""
        return AsyncLocalCredential(self._authenticator.issuer)

    def script(self, model: str, *answers: Scripted | Mapping[str, Any] | str) -> None:
        """Let a deployment answer what is written here, until `reset`; with no answers, not.

        Args:
            model: The deployment's name, in any case.
            *answers: Texts, or `Scripted` with calls of tools and more; in their order, or
                chosen by what was said.

        Raises:
            ConfigurationError: There is no such deployment, or an answer is none.
        """
        scripted = [
            each if isinstance(each, Scripted) else Scripted.from_wire(each) for each in answers
        ]
        self._overrides(model).set_script(scripted)

    def fail(self, model: str, *faults: Fault) -> None:
        """Let requests to a deployment go wrong, until `reset`; with no faults, not.

        Raises:
            ConfigurationError: There is no such deployment.
        """
        self._overrides(model).faults = Faults(faults)

    def slow(self, model: str, latency: Latency) -> None:
        """Let a deployment take its time, until `reset`.

        Raises:
            ConfigurationError: There is no such deployment.
        """
        self._overrides(model).latency = latency

    def reset(self) -> None:
        """Begin anew: all is as it was at first, and nothing was asked yet.

        Deployments, their behaviour and the keys are as they were given; limits are unused, the
        log is empty, and stored responses, files and batches are gone, whose work is stopped.
        Files and batches in a directory of one's own (`data`) stay and go on: they are there to
        outlive more than that. Returns when it is done; may be called from any thread but the
        endpoint's own.
        """
        if self._server is None:
            self._state.clear()
        else:
            asyncio.run_coroutine_threadsafe(self._state.reset(), self._server.loop).result()

    def _overrides(self, model: str) -> Overrides:
        found = self._registry.get(model)
        if found is None:
            names = ", ".join(each.name for each in self.deployments)
            raise ConfigurationError(f"there is no deployment {model!r} here, but {names}")
        return self._overrides_store.of(found)

    def start(self) -> None:
        """Listen; `url` is set when this returns.

        Raises:
            InferenceError: The address is taken or not this machine's.
            ConfigurationError: Another endpoint uses `data`, or it cannot be written.
        """
        sock = address.listening(*self._address)
        with contextlib.ExitStack() as failed:
            failed.callback(sock.close)
            if self._store.lasting:
                self._store.open()
            failed.pop_all()
        config = uvicorn.Config(
            self._app,
            log_config=None,
            log_level="critical",
            ws="none",
            access_log=False,
            proxy_headers=False,
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        configure_limits(config)
        config.ssl = self._authority.server_context() if self._authority else None
        self._server = BackgroundServer(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([sock],), name="azinfer-local", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()
        scheme = "https" if self._authority else "http"
        self.url = address.url(scheme, self._address[0], sock.getsockname()[1])

    def stop(self) -> None:
        """End the requests in flight, close the engines and the port."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._server = self._thread = None
        self.url = ""

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        # An interrupted join takes the thread for ended (bpo-45274), and nothing would be closed.
        if self._server is not None:
            self._server.over.wait()


def _authority() -> Authority:
    # Its library is large, and most endpoints do without.
    from azinfer.local.directories import data_folder
    from azinfer.local.server.certificate_authority import Authority

    return Authority(data_folder())
