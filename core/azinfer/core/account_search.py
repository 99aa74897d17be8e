"""The account of an endpoint in Azure Resource Manager, found by the endpoint's host."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import urlsplit

from azinfer.core.endpoints import Endpoint, is_loopback, origin_of
from azinfer.core.errors import ConfigurationError

_SUBSCRIPTIONS_VERSION = "2022-12-01"
_ACCOUNTS_VERSION = "2025-09-01"
_MANAGEMENT = {
    ".azure.us": "https://management.usgovcloudapi.net",
    ".azure.cn": "https://management.chinacloudapi.cn",
}

Page = Mapping[str, Any]


def search_account(endpoint: Endpoint) -> Generator[str, list[Page], str]:
    """Return the URL of the account of an endpoint, after yielding the URLs of lists to read.

    Each list is sent back as its pages; for a list that must not be read, there are no pages.

    Source: "Subscriptions - List" and "Accounts - List" of the management REST APIs.

    Args:
        endpoint: The endpoint.

    Raises:
        ConfigurationError: No subscription that the credential may read has the account.
    """
    host, origin = urlsplit(endpoint.url).hostname or "", management_origin(endpoint.url)
    subscriptions = yield f"{origin}/subscriptions?api-version={_SUBSCRIPTIONS_VERSION}"
    names = [str(each.get("subscriptionId")) for each in _entries(subscriptions)]
    for name in names:
        accounts = yield (
            f"{origin}/subscriptions/{name}/providers/Microsoft.CognitiveServices/accounts"
            f"?api-version={_ACCOUNTS_VERSION}"
        )
        for account in _entries(accounts):
            if host in _hosts(account):
                return f"{origin}{account.get('id')}"
    raise ConfigurationError(
        f"no account has the endpoint {host}: this credential can read {len(names)} subscriptions "
        f"({', '.join(names[:5]) or '-'}); use one that can read the account, or pass "
        "source=, its URL in Azure Resource Manager"
    )


def management_origin(url: str) -> str:
    """Return where Azure Resource Manager is for an endpoint; a local one has its own."""
    if is_loopback(url):
        return origin_of(url)
    host = urlsplit(url).hostname or ""
    clouds = (origin for ending, origin in _MANAGEMENT.items() if host.endswith(ending))
    return next(clouds, "https://management.azure.com")


def _entries(pages: list[Page]) -> list[Page]:
    lists = (page.get("value") for page in pages)
    return [
        each
        for entries in lists
        if isinstance(entries, list)
        for each in entries
        if isinstance(each, Mapping)
    ]


def _hosts(account: Page) -> set[str | None]:
    """Return the hosts of all endpoints of an account."""
    properties = account.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    named = properties.get("endpoints")
    urls = [properties.get("endpoint"), *(named.values() if isinstance(named, Mapping) else ())]
    return {urlsplit(url).hostname for url in urls if isinstance(url, str)}
