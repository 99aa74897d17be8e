"""Lists of deployments: their URLs and their pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from azinfer.core.deployments import Deployment, Deployments
from azinfer.core.endpoints import Endpoint, origin_of
from azinfer.core.errors import ConfigurationError, InvalidResponseError
from azinfer.core.surfaces import ARM_SCOPE, PROJECT_SCOPE

# Values of `source=`: the account is searched; the endpoint's project; the resource's own list.
AZURE, PROJECT, CLASSIC = "azure", "project", "classic"
_ARM_VERSION = "2025-09-01"
_CLASSIC_LIST_VERSION = "2022-12-01"
_OTHER_CLOUDS = r"https://management\.(usgovcloudapi\.net|chinacloudapi\.cn)"


def list_url(endpoint: Endpoint, source: str | None) -> tuple[str, str | None]:
    """Return the URL of a list of deployments, and the scope of a token for it.

    Sources: "Deployments - List" of the AI Foundry projects and the Cognitive Services
    management REST APIs; the resource's own list is that of "Deployments" in version
    2022-12-01 of the Azure OpenAI REST API.
    """
    if source and "/subscriptions/" in source:
        base = source.split("?")[0].rstrip("/").removesuffix("/deployments")
        scope = (
            f"{origin_of(base)}/.default"
            if re.fullmatch(_OTHER_CLOUDS, origin_of(base))
            else ARM_SCOPE
        )
        return f"{base}/deployments?api-version={_ARM_VERSION}", scope
    if source == PROJECT and endpoint.project is None:
        raise ConfigurationError(
            "this endpoint is not a Foundry project: pass the URL of one "
            "(https://<resource>.services.ai.azure.com/api/projects/<project>)"
        )
    is_url = source not in (None, PROJECT, CLASSIC)
    project = Endpoint.parse(source or "").project if is_url else endpoint.project
    if project and source != CLASSIC:
        return f"{project}/deployments?api-version=v1", PROJECT_SCOPE
    if endpoint.root is None or is_url:
        raise ConfigurationError(
            "this endpoint has no list of deployments: pass source=, the URL of a Foundry project "
            "(https://<resource>.services.ai.azure.com/api/projects/<project>) or of an account "
            "in Azure Resource Manager"
        )
    return f"{endpoint.root}/openai/deployments?api-version={_CLASSIC_LIST_VERSION}", None


def models_url(url: str) -> str | None:
    """Return the URL of the list of an account's models, for that of its deployments.

    Source: "Accounts - List Models" of the Cognitive Services management REST API.
    """
    path, _, query = url.partition("?")
    if "/subscriptions/" not in path:
        return None
    return f"{path.removesuffix('/deployments')}/models?{query}"


def with_retirements(deployments: Deployments, models: Iterable[Mapping[str, Any]]) -> Deployments:
    """Return deployments with the days on which their models retire, where the list has them.

    Args:
        deployments: The deployments.
        models: The pages of the list of the account's models, in which
            `deprecation.inference` is a time.
    """
    days = {
        (model.get("name"), model.get("version")): day
        for page in models
        for model in page.get("value") or ()
        if isinstance(model, Mapping) and (day := _retirement(model))
    }
    if not days:
        return deployments
    return Deployments(
        each.with_retirement(days.get((each.model_name, each.model_version)))
        for each in deployments.values()
    )


def _retirement(model: Mapping[str, Any]) -> str | None:
    """Return the day after which a model answers no longer, for example `"2027-04-14"`."""
    deprecation = model.get("deprecation")
    time = deprecation.get("inference") if isinstance(deprecation, Mapping) else None
    day = str(time)[:10]
    return day if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else None


def next_page(pages: list[dict[str, Any]], url: str) -> str | None:
    """Return the URL of the next page in the same version, or None after the last page.

    Raises:
        InvalidResponseError: The next page is on another host, to which no credential is
            sent, or there are more pages than any resource has.
    """
    link = pages[-1].get("nextLink")
    if not link:
        return None
    if not isinstance(link, str):
        raise InvalidResponseError(f"the next page of the list is not a URL: {str(link)[:200]}")
    try:
        origin = origin_of(link)
    except ValueError:  # as for "http://["
        origin = ""
    if origin != origin_of(url) or len(pages) > 1000:
        raise InvalidResponseError(
            f"the next page of the list, {link!r}, was refused: it is on another host, "
            "or there are more than 1000 pages"
        )
    version = dict(parse_qsl(urlsplit(url).query))["api-version"]
    parts = urlsplit(link)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "api-version"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("api-version", version)])))


def from_pages(pages: Iterable[Mapping[str, Any]]) -> Deployments:
    """Return the deployments of all pages: `value` in ARM and projects, `data` in the classic list.

    Raises:
        InvalidResponseError: An entry is not a deployment.
    """
    try:
        entries = [entry for page in pages for entry in page.get("value", page.get("data")) or ()]
        return Deployments(map(Deployment.from_wire, entries))
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidResponseError(
            f"the list has an entry that is not a deployment: {error!r:.200}"
        ) from None
