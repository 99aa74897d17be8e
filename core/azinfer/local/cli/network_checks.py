"""Checks of the connection to an endpoint: proxy, name, port, TLS; and what to do on failure."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from azinfer.core.endpoints import Endpoint, is_loopback
from azinfer.core.proxies import proxy_of

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        step: What was checked.
        passed: Whether the check passed; None if it was not possible.
        detail: What the check found.
        advice: What to do next; empty if there is nothing to do.
    """

    step: str
    passed: bool | None
    detail: str
    advice: str = ""


def check_network(url: str) -> Iterator[Finding]:
    """Check the connection to a URL step by step, until a step fails.

    Args:
        url: An endpoint's URL.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxy := _proxy(url):
        detail = f"requests go through {proxy}, which makes the next steps itself"
        yield Finding("proxy", None, detail)
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, port)}
    except OSError as error:
        advice = "compare the name with the portal's; a private endpoint needs its network or VPN"
        yield Finding("name", False, f"{host} has no address: {error.strerror}", advice)
        return
    yield Finding("name", True, f"{host} is {', '.join(sorted(addresses))}")
    try:
        connection = socket.create_connection((host, port), _TIMEOUT)
    except OSError as error:
        advice = (
            "is `azinfer serve` running, on this port? `azinfer env` prints the running endpoint"
            if is_loopback(url)
            else "a firewall, or the resource's network rules, may block the connection"
        )
        yield Finding("connection", False, f"port {port}: {error.strerror or error}", advice)
        return
    with connection:
        yield Finding("connection", True, f"port {port} answers")
        if parts.scheme == "https":
            yield _check_tls(connection, host)


def connection_advice(url: str) -> str:
    """Return what to do about a connection to a URL that failed; empty if nothing is wrong now."""
    findings = list(check_network(url))
    last = findings[-1]
    if last.passed is False:
        return last.advice
    parts = urlsplit(url)
    if last.step == "connection" and _speaks_tls(parts.hostname or "", parts.port or 80):
        return f"port {parts.port or 80} speaks TLS: write https:// in --endpoint"
    return ""


def key_advice(url: str) -> str:
    """Return what to do about a key that an endpoint does not accept."""
    if is_loopback(url):
        return (
            "`azinfer serve` prints the endpoint's key, and `azinfer env` sets it; without "
            "--endpoint and --key, commands find the endpoint and its key themselves"
        )
    return (
        "copy the key again, from the same resource as the endpoint; a token must be for "
        f"{Endpoint.parse(url).surface.scope} and its owner needs the role Cognitive Services "
        "User, which takes some minutes to take effect"
    )


def _proxy(url: str) -> str | None:
    """Return the proxy that requests to a URL go through, without its password."""
    proxy = proxy_of(url)
    return urlsplit(proxy)._replace(path="").geturl().rpartition("@")[2] if proxy else None


def _check_tls(connection: socket.socket, host: str) -> Finding:
    try:
        with ssl.create_default_context().wrap_socket(connection, server_hostname=host) as secured:
            certificate: Any = secured.getpeercert()
            version = secured.version()
    except ssl.SSLCertVerificationError as error:
        advice = (
            'for `azinfer serve --https`, run `eval "$(azinfer env)"` first'
            if is_loopback(f"//{host}")
            else "if a proxy inspects TLS, set SSL_CERT_FILE to its authorities and the usual ones"
        )
        return Finding("TLS", False, f"not trusted: {error.verify_message}", advice)
    except OSError as error:
        advice = "this port does not speak TLS: check the port, or use http:// in --endpoint"
        return Finding("TLS", False, f"{error}", advice)
    issuer = {name: value for part in certificate["issuer"] for name, value in part}
    expiry = datetime.datetime.fromtimestamp(
        ssl.cert_time_to_seconds(certificate["notAfter"]), datetime.UTC
    )
    signer = issuer.get("organizationName") or issuer.get("commonName")
    return Finding("TLS", True, f"{version}, signed by {signer}, valid until {expiry:%Y-%m-%d}")


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent; only whether TLS is spoken matters
    try:
        with socket.create_connection((host, port), _TIMEOUT) as connection:
            context.wrap_socket(connection).close()
    except OSError:
        return False
    return True
