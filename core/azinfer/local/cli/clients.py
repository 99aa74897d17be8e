"""Clients for commands: of the endpoint that the user names, of a file, or of the local one."""

from __future__ import annotations

import os
import tomllib
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azinfer.core import ConfigurationError, Deployment, Deployments, InferenceClient
from azinfer.core.credentials import ENVIRONMENT
from azinfer.core.endpoints import is_loopback, origin_of
from azinfer.local.cli.option_errors import OptionError, values_of_options
from azinfer.local.cli.running_endpoints import RunningEndpoint, all_running, find_running
from azinfer.local.directories import data_folder


def open_client(
    endpoint: str | None,
    key: str | None,
    model: str | None = None,
    *,
    surface: str | None = None,
    **options: Any,
) -> InferenceClient:
    """Return a client; of the running local endpoint if nothing else is configured.

    Args:
        endpoint: A URL; None for the environment's, or else those of `azinfer.toml` in the working
            folder, or else the running local endpoint.
        key: The key; None for that of the same source.
        model: The deployment for calls that name none.
        surface: The surface to use, if the URL does not name it.
        **options: Other arguments of the client's constructor.

    Raises:
        ConfigurationError: There is no endpoint or no key, or one is not valid.
        OptionError: The same, where it is an option.
    """
    if model is not None and not model.strip():
        raise OptionError("--model is empty; pass the name of a deployment")
    if endpoint is not None and not endpoint.strip():
        raise OptionError("--endpoint is empty; pass a URL, or leave it out for the environment's")
    if endpoint is None and not _has_endpoint() and (file := _configured_file()) is not None:
        # AZINFER_KEY is the local endpoint's key, which other hosts must not get.
        credential = None if key == os.environ.get("AZINFER_KEY") else key
        wanted = {"credential": credential, "model": model, "surface": surface, **options}
        named = {name: value for name, value in wanted.items() if value is not None}
        return InferenceClient.from_config(file, **named)
    from_options = endpoint is not None or surface is not None
    running = _running_endpoint(endpoint)
    if running is not None:
        endpoint, key = endpoint or running.url, key or running.key
        if running.ca_file is not None:
            os.environ.setdefault("SSL_CERT_FILE", running.ca_file)
    try:
        return InferenceClient(endpoint, key, model, surface=surface, **options)
    except ConfigurationError:
        with values_of_options() if from_options else nullcontext():
            if key is not None or endpoint is None or not is_loopback(_with_scheme(endpoint)):
                raise
            # Servers on this machine often need no key; if azinfer's own needs one, its error
            # says so.
            return InferenceClient(endpoint, "no-key", model, surface=surface, **options)


def deployment_for(client: InferenceClient, deployments: Deployments, *, embeddings: bool) -> str:
    """Return the deployment to call if the user names none.

    On this machine it is the first of its kind; elsewhere it must be the only one, as calls cost
    money there.

    Args:
        client: The client of the endpoint.
        deployments: What the endpoint lists.
        embeddings: Whether it is for embeddings; else for chat.

    Raises:
        ConfigurationError: The user must choose.
    """
    job, other = ("embeddings", "chatCompletion")[:: 1 if embeddings else -1]
    able = [each for each in deployments.values() if job in (each.capabilities or (job,))]

    def rank(each: Deployment) -> tuple[bool, bool]:
        # Synthetic deployments can do everything; only their names say what they are for.
        return other in each.capabilities, ("embed" in each.name.lower()) != embeddings

    names = [each.name for each in sorted(able, key=rank)]
    if names and (len(names) == 1 or is_loopback(client.endpoint.url)):
        return names[0]
    choices = ", ".join(names or deployments)
    raise ConfigurationError(f"choose a deployment with --model; this endpoint has: {choices}")


def _running_endpoint(endpoint: str | None) -> RunningEndpoint | None:
    """Return the running local endpoint, if a URL is its own, or if there is no URL."""
    folder = data_folder()
    if endpoint is not None:
        try:
            named = _origin(_with_scheme(endpoint))
        except ValueError:  # of a port or an address; the client says what is wrong
            return None
        return next((each for each in all_running(folder) if _origin(each.url) == named), None)
    if _has_endpoint():
        return None
    try:
        return find_running(folder, option="--endpoint")
    except ConfigurationError as error:
        if "several" in error.message:
            raise
        variables = " or ".join(ENVIRONMENT)
        raise ConfigurationError(
            f"no endpoint: pass --endpoint URL, set {variables}, write azinfer.toml, or start a "
            "local one with `azinfer serve`"
        ) from None


def _has_endpoint() -> bool:
    return any(os.environ.get(variable) for variable in ENVIRONMENT)


def _configured_file() -> Path | None:
    """Return the file in the working folder that has endpoints; None if there is no such file."""
    path = Path("azinfer.toml")
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError:
        return None
    except ValueError:  # the client says in which line
        return path
    return path if "endpoints" in tables else None


def _origin(url: str) -> str:
    """Return the scheme and host of a URL, with one name for all names of this machine."""
    origin = origin_of(url)
    if not is_loopback(origin):
        return origin
    parts = urlsplit(origin)
    return f"{parts.scheme}://localhost:{parts.port}"


def _with_scheme(endpoint: str) -> str:
    return endpoint if "://" in endpoint else f"http://{endpoint}"
