"""Where local endpoints are, as the table `[local]` of `azinfer.toml` says."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from azinfer.core.toml_tables import Table

T = TypeVar("T")

LOCAL = "local"  # the URL of an endpoint that runs on this machine
FIRST_PORT = 8765  # of `azinfer serve`; further endpoints without a port have the next ones
# An endpoint that listens on a wildcard address is reached at the loopback address.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class LocalAddress(NamedTuple):
    """Where a local endpoint is.

    Attributes:
        url: Its URL.
        credential: Its key, or `"env:NAME"`; None if the file does not have it.
    """

    url: str
    credential: str | None


def local_address(local: Table, name: str, table: Table) -> LocalAddress | None:
    """Return where the local endpoint with a name is when `azinfer serve` runs it.

    None if the URL of the table is not `"local"`.

    Args:
        local: The table `[local]`.
        name: The name of the endpoint.
        table: The table `[endpoints.<name>]`.

    Raises:
        ConfigurationError: There is no such endpoint, or its port is chosen when it starts.
    """
    if table.value("url") != LOCAL:
        return None
    several = local.tables("endpoints")
    if several and name not in several:
        raise table.wrong(
            f'is "local", but [local.endpoints] has no {name!r}, only {", ".join(several)}', "url"
        )
    own = several[name] if several else local
    order = list(several).index(name) if several else 0
    port = own.get("port", int)
    if port == 0:
        raise own.wrong(f"must be above 0, because [endpoints.{name}] refers to it", "port")
    scheme = "https" if _either(own, local, "https", bool) else "http"
    host = _either(own, local, "host", str) or "127.0.0.1"
    host = _ANY.get(host, host)
    if ":" in host:
        host = f"[{host}]"
    credential = _either(own, local, "key", str)
    return LocalAddress(f"{scheme}://{host}:{port or FIRST_PORT + order}", credential)


def _either(own: Table, shared: Table, name: str, kind: type[T]) -> T | None:
    value = own.get(name, kind)
    return shared.get(name, kind) if value is None else value
