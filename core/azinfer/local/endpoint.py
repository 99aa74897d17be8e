"""`LocalEndpoint`: the endpoint as an object that runs in a thread and is reached over HTTP."""

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
from azinfer.core.waits import wait_in_steps
from azinfer.local.api.app import make_app
from azinfer.local.engines.base import Sleep
from azinfer.local.engines.scripted import Scripted
from azinfer.local.resource.auth.authentication import Authenticator
from azinfer.local.resource.auth.failed_attempts import FailedAttempts
from azinfer.local.resource.auth.keys import Keys
from azinfer.local.resource.auth.tokens import AsyncLocalCredential, Issuer, LocalCredential
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault, Faults
from azinfer.local.resource.latency import Latency
from azinfer.local.resource.overrides import Overrides, OverridesStore
from azinfer.local.resource.registry import Registry
from azinfer.local.resource.state import ResourceState
from azinfer.local.resource.storage.file_store import LARGEST_STORE, FileStore
from azinfer.local.resource.storage.request_log import RequestLog
from azinfer.local.server import address
from azinfer.local.server.request_guard import AllowedHosts, RequestGuard
from azinfer.local.server.uvicorn_setup import BackgroundServer, configure_limits

if TYPE_CHECKING:
    from azinfer.local.server.certificate_authority import Authority


class LocalEndpoint:
    """An endpoint with deployments on your own machine, over real HTTP.

    Args:
        deployments: The deployments; by default one called `"synthetic"`.
        key: The key that requests must send; by default a new one.
        key2: The second key, which is accepted too; by default a new one.
        host: The address to listen on.
        port: The port; with 0 the system chooses one.
        strict: Whether to refuse what the service refuses although real clients send it.
        https: Whether to serve TLS, with a certificate that clients trust by `ca_file`.
        allowed_hosts: Names of the endpoint beside loopback names and `host`, without port.
            Requests for other hosts are refused, which stops DNS rebinding.
        data: A directory for files and batches, which then outlive the process; by default
            they last until `stop`.
        page_size: The most entries on one page of a list of deployments.
        token_lifetime: The seconds for which its tokens are valid.
        seed: The seed of requests that send none, so that the same request gives the same answer
            also from a model that samples; None for a new answer each time. A real model answers
            concurrent requests together, which may change the last digits of its numbers, and so
            an answer.
        max_file_bytes: The most bytes that all uploaded files may have together.
        clock: Returns monotonic seconds, for rate limits; replace it in tests.
        now: Returns seconds since 1970, for tokens, files and batches; replace it in tests.
        sleep: Waits for a latency; replace it in tests.

    Attributes:
        url: The address, after the start.
        ca_file: With `https`, the authorities that clients must trust, as SSL_CERT_FILE and
            REQUESTS_CA_BUNDLE name them; otherwise None.
        requests: The log of requests, newest last, without credentials.

    Raises:
        ConfigurationError: Two deployments have the same name, or a key, the port or an allowed
            host is not valid.

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
        allowed_hosts: Sequence[str] = (),
        data: Path | str | None = None,
        page_size: int = 1000,
        token_lifetime: float = 3600.0,
        seed: int | None = None,
        max_file_bytes: int = LARGEST_STORE,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        address.check(host, https)
        if not 0 <= port <= 65_535:
            raise ConfigurationError(f"port={port} is not valid; choose one between 0 and 65535")
        self._registry = Registry(deployments or (LocalDeployment("synthetic"),), clock, now)
        self._authenticator = Authenticator(
            Keys(key, key2), Issuer(now, token_lifetime), FailedAttempts(clock, sleep)
        )
        self._address = (host, port)
        self._authority = _authority() if https else None
        self.ca_file = str(self._authority.ca_file) if self._authority else None
        self.requests = RequestLog()
        self._overrides_store = OverridesStore(sleep)
        self._store = FileStore(None if data is None else Path(data), now, max_file_bytes)
        self._state = ResourceState(
            registry=self._registry,
            authenticator=self._authenticator,
            strict=strict,
            log=self.requests,
            overrides=self._overrides_store,
            store=self._store,
            page_size=page_size,
            seed=seed,
            clock=clock,
        )
        self._app = RequestGuard(make_app(self._state), AllowedHosts(host, allowed_hosts))
        self._server: BackgroundServer | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    @classmethod
    def from_config(cls, path: str | Path = "azinfer.toml", **named: Any) -> Self:
        """Return the endpoint that a file describes under `[local]` (see `endpoint_config`).

        Args:
            path: The file.
            **named: Arguments of the constructor, which replace those of the file.

        Raises:
            ConfigurationError: A setting is wrong; the message has file, line, field and reason.
            InferenceError: The weights of a model cannot be downloaded.
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
        """The current deployments."""
        return tuple(self._registry)

    @property
    def key(self) -> str:
        """The current key that requests must send."""
        return self._authenticator.keys.first

    @property
    def key2(self) -> str:
        """The current second key."""
        return self._authenticator.keys.second

    def deploy(self, deployment: LocalDeployment) -> None:
        """Add a deployment, or replace the configuration of one.

        Raises:
            ConfigurationError: It spills over to an unknown deployment or to another model.
        """
        self._registry.put(deployment)

    def delete(self, name: str) -> bool:
        """Remove a deployment by its name, in any case; return False if the name is unknown."""
        return self._registry.remove(name)

    def page_url(self) -> str:
        """Return an address of the page that opens it in a browser once, without the key."""
        return f"{self.url}/?token={self._authenticator.issue_page_token()}"

    def credential(self) -> LocalCredential:
        """Return a credential for the endpoint, to use in place of one of azure-identity."""
        return LocalCredential(self._authenticator.issuer)

    def async_credential(self) -> AsyncLocalCredential:
        """Return the same credential for async clients."""
        return AsyncLocalCredential(self._authenticator.issuer)

    def script(self, model: str, *answers: Scripted | Mapping[str, Any] | str) -> None:
        """Script a deployment's answers until `reset`; no answers clear the script.

        Args:
            model: The deployment's name, in any case.
            *answers: Texts, or `Scripted` with tool calls and more; used in their order, or
                chosen by the newest message.

        Raises:
            ConfigurationError: The deployment is unknown, or an answer is not valid.
        """
        scripted = [
            each if isinstance(each, Scripted) else Scripted.from_wire(each) for each in answers
        ]
        self._overrides(model).set_script(scripted)

    def fail(self, model: str, *faults: Fault) -> None:
        """Make requests to a deployment fail until `reset`; no faults end this.

        Raises:
            ConfigurationError: The deployment is unknown.
        """
        self._overrides(model).faults = Faults(faults)

    def slow(self, model: str, latency: Latency) -> None:
        """Add a latency to a deployment until `reset`.

        Raises:
            ConfigurationError: The deployment is unknown.
        """
        self._overrides(model).latency = latency

    def reset(self) -> None:
        """Return to the initial state.

        Deployments, scripts, faults, latencies and keys are the initial ones; limits are unused,
        the log is empty, batches are stopped, and stored responses, files and batches are deleted.
        Files and batches in a directory of your own (`data`) stay, and batches continue. This
        method returns when all is done; it can be called from any thread except the
        endpoint's own.
        """
        if self._server is None:
            self._state.clear()
        else:
            asyncio.run_coroutine_threadsafe(self._state.reset(), self._server.loop).result()

    def _overrides(self, model: str) -> Overrides:
        deployment = self._registry.get(model)
        if deployment is None:
            names = ", ".join(each.name for each in self.deployments)
            raise ConfigurationError(f"unknown deployment {model!r}; choose from {names}")
        return self._overrides_store.of(deployment)

    def start(self) -> None:
        """Start to listen; `url` is set when this returns.

        Raises:
            InferenceError: The address is in use, or not one of this machine.
            ConfigurationError: Another endpoint uses `data`, or it cannot be written.
        """
        sock = address.listen(*self._address)
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
        """End running requests, and close the engines and the port."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self.wait()
            self._thread.join()
        self._server = self._thread = None
        self.url = ""

    def wait(self) -> None:
        """Serve until the process is interrupted."""
        # After an interrupted join the thread counts as ended (bpo-45274), and nothing is closed.
        if self._server is not None:
            wait_in_steps(self._server.over.wait)


def _authority() -> Authority:
    # Its library is large, and most endpoints do not need it.
    from azinfer.local.directories import data_folder
    from azinfer.local.server.certificate_authority import Authority

    return Authority(data_folder())
