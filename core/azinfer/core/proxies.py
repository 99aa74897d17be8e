"""Proxies: which of them, if any, requests to a URL go through."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from azinfer.core.endpoints import is_loopback


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy that requests to a URL go through; None if they go direct.

    Requests to this machine always go direct. Otherwise HTTPS_PROXY, HTTP_PROXY and ALL_PROXY
    count, and on Windows and macOS the system's settings; NO_PROXY excludes hosts with their
    subdomains, hosts with a port (`host:8080`), addresses and ranges of them (`10.0.0.0/8`).
    """
    proxies = getproxies()
    if not proxies or is_loopback(url):
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    if proxy_bypass(f"{host}:{port}") or _is_in_range(host, proxies.get("no", "")):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _is_in_range(host: str, excepted: str) -> bool:
    """Return True if a host is an address in one of the ranges of NO_PROXY."""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in map(_network, excepted.split(",")) if network)


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry.strip().strip("[]"), strict=False)
    except ValueError:
        return None
