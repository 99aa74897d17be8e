"""The doctor: an endpoint examined step by step, each with what to do where it fails."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from azinfer.core import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    DeploymentNotFoundError,
    Deployments,
    InferenceClient,
    InferenceError,
    UserMessage,
)
from azinfer.core.endpoints import is_loopback

_SECONDS = 10.0
# Any account is a local endpoint's.
_LOCAL_ACCOUNT = (
    "/subscriptions/local/resourceGroups/local/providers/Microsoft.CognitiveServices/accounts/local"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found.

    Attributes:
        step: What was examined.
        held: Whether it is as it should be; None where it could not be examined.
        what: What was found.
        then: What to do next, where something is.
    """

    step: str
    held: bool | None
    what: str
    then: str = ""


def examine(
    make: Callable[[], InferenceClient], source: str | None, model: str | None
) -> Iterator[Finding]:
    """Examine an endpoint until a step fails without which the next cannot be.

    Args:
        make: Makes a client of it.
        source: Where its deployments are listed, if not at the endpoint itself.
        model: A deployment to ask one short question.
    """
    try:
        client = make()
    except ConfigurationError as error:
        yield Finding("endpoint", False, error.message)
        return
    with client:
        endpoint = client.endpoint
        version = endpoint.api_version or endpoint.surface.api_version or "no api-version"
        yield Finding("endpoint", True, f"{endpoint.surface.name} at {endpoint.url}, {version}")
        for finding in (*_network(endpoint.url), *_credential(client, source, model)):
            yield finding
            if finding.held is False and finding.step != "deployments":
                return


def deployments_of(client: InferenceClient, source: str | None) -> Deployments:
    """The deployments of an endpoint, with all their facts if it is a local one.

    Raises:
        InferenceError: They cannot be listed.
    """
    root = client.endpoint.root
    if source is None and root is not None and is_loopback(root):
        # Else a server of others on this machine, or a key that the next request tells is wrong.
        with contextlib.suppress(APIStatusError):
            return client.deployments(root + _LOCAL_ACCOUNT)
    return client.deployments(source)


def _network(url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxy := _proxy(parts.scheme, host):
        what = f"goes through {proxy}, so that the steps before a request are its own"
        yield Finding("proxy", None, what)
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, port)}
    except OSError as error:
        then = "compare the name with the portal's; a private endpoint needs its network or VPN"
        yield Finding("name", False, f"{host} has no address: {error.strerror}", then)
        return
    yield Finding("name", True, f"{host} is {', '.join(sorted(addresses))}")
    try:
        connected = socket.create_connection((host, port), _SECONDS)
    except OSError as error:
        then = (
            "is `azinfer serve` running, on this port?"
            if is_loopback(url)
            else "a firewall, or the resource's network rules, may keep you out"
        )
        yield Finding("connection", False, f"port {port}: {error.strerror or error}", then)
        return
    with connected:
        yield Finding("connection", True, f"port {port} answers")
        if parts.scheme == "https":
            yield _tls(connected, host)


def _proxy(scheme: str, host: str) -> str | None:
    """The proxy that requests to a host go through, without its password."""
    proxy = getproxies().get(scheme) if not proxy_bypass(host) else None
    return urlsplit(proxy)._replace(path="").geturl().rpartition("@")[2] if proxy else None


def _tls(connected: socket.socket, host: str) -> Finding:
    try:
        with ssl.create_default_context().wrap_socket(connected, server_hostname=host) as secured:
            certificate: Any = secured.getpeercert()
            version = secured.version()
    except ssl.SSLCertVerificationError as error:
        then = (
            'of `azinfer serve --https`: run `eval "$(azinfer env)"` first'
            if is_loopback(f"//{host}")
            else "where a proxy opens TLS, set SSL_CERT_FILE to its authorities and the usual ones"
        )
        return Finding("TLS", False, f"not trusted: {error.verify_message}", then)
    except OSError as error:
        return Finding("TLS", False, f"{error}", "does this port speak TLS at all?")
    issuer = {name: value for part in certificate["issuer"] for name, value in part}
    ends = datetime.datetime.fromtimestamp(
        ssl.cert_time_to_seconds(certificate["notAfter"]), datetime.UTC
    )
    who = issuer.get("organizationName") or issuer.get("commonName")
    return Finding("TLS", True, f"{version}, signed by {who}, until {ends:%Y-%m-%d}")


def _credential(
    client: InferenceClient, source: str | None, model: str | None
) -> Iterator[Finding]:
    """Whether the credential is accepted, what is deployed, and whether a deployment answers."""
    try:
        found = deployments_of(client, source)
    except AuthenticationError as error:
        yield Finding("credential", False, error.message, _then_for_401(client))
        return
    except InferenceError as error:
        known = isinstance(error, APIStatusError)
        if known:
            yield Finding("credential", True, "accepted")
        yield Finding(
            "deployments",
            None,
            f"not listed here: {error.message}",
            "give --source, the URL of a Foundry project or of an account in Resource Manager",
        )
    else:
        yield Finding("credential", True, "accepted")
        then = "" if found else "make one in the portal, or with `az cognitiveservices`"
        yield Finding("deployments", bool(found), ", ".join(found) or "there are none", then)
    if model is not None:
        yield _asked(client, model)


def _then_for_401(client: InferenceClient) -> str:
    scope = client.endpoint.surface.scope
    return (
        "copy the key again, from the same resource as the endpoint; a token must be for "
        f"{scope} and its owner needs the role Cognitive Services User, which takes minutes to "
        "arrive"
    )


def _asked(client: InferenceClient, model: str) -> Finding:
    try:
        answer = client.complete([UserMessage("Say yes.")], model=model, max_tokens=16)
    except DeploymentNotFoundError as error:
        return Finding("a question", False, error.message, "names are those of deployments")
    except InferenceError as error:
        return Finding("a question", False, error.message)
    return Finding("a question", True, f"{model} answers: {' '.join(answer.text.split())[:60]}")
