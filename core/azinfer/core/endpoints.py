"""Endpoints: any URL that a portal or a sample shows, parsed once and without the network."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from azinfer.core.arguments import refuse
from azinfer.core.errors import GITHUB_ENDED, ConfigurationError
from azinfer.core.redaction import hidden
from azinfer.core.surfaces import (
    BESIDE,
    DEPLOYMENTS,
    INFO,
    INFO_VERSION,
    MANAGED,
    MODELS,
    SERVERLESS,
    V1,
    Surface,
    WireName,
    surface_named,
)

# Patterns as text: they are compiled when they are first used, not when azinfer is imported.
_OPERATION = (
    r"(?i)/(?:chat/completions|completions|images/embeddings|embeddings|info|responses|score"
    r"|messages(?:/count_tokens)?)$"
)
# Public cloud, US government and China.
_RESOURCE = (
    r"\.(?:services\.ai|openai|cognitiveservices)\.azure\.(?:com|us|cn)$"
    r"|\.api\.cognitive\.(?:microsoft\.com|azure\.us|azure\.cn)$"
)
_PROJECT = r"(?i)^(.*?)(/api/projects/[^/]+)(?:/openai(?:/v1)?)?$"
# Hosts with one surface, whatever the path is.
_HOSTS = (
    ("models.ai.azure.com", SERVERLESS),
    ("inference.ml.azure.com", MANAGED),
)
_GITHUB_HOSTS = ("models.github.ai", "models.inference.ai.azure.com")
# The root of a resource, and the surface that a path names.
_PATH = r"(?i)^(.*?)/(?:(models)|openai(?:/(v1)|/deployments(?:/([^/]+))?)?|(anthropic)(?:/v1)?)$"
# The ends of URLs that name a wire.
_WIRE = r"(?i)/(?:openai(?:/v1)?/(responses)|(anthropic)(?:/v1(?:/messages.*)?)?)/*$"
_VERSION = r"\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview|latest"
# Versions of OpenAI's models, which are often mistaken for versions of the API.
_MODEL_DATES = frozenset(
    {
        *("2024-04-09", "2024-05-13", "2024-07-18", "2024-08-06", "2024-09-12", "2024-11-20"),
        *("2024-12-17", "2025-01-31", "2025-02-27", "2025-04-14", "2025-04-16", "2025-08-07"),
    }
)
# Longer than the name of a host without a domain; or a token of Entra ID.
_KEY = r"[^./:]{32,}|eyJ[^/:]+"
_EXAMPLES = (
    "https://<resource>.services.ai.azure.com, …/models, …/openai/v1, "
    "https://<resource>.openai.azure.com/openai/deployments/<name>"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests are sent: a base URL and its surface.

    Attributes:
        url: The base URL, to which the operation is appended; without a slash at its end.
        surface: The way to address deployments there.
        deployment: The deployment that the URL names.
        api_version: The version in the URL, or that of the caller; None for the default.
        query: Further items of the URL's query, sent with every request. They are not shown,
            since keys may be among them.
        root: The root of the resource, which has other surfaces too; None if it is unknown.
        project: The URL of the Foundry project, if the endpoint is one.
        wire: The wire that the URL names.
    """

    url: str
    surface: Surface
    _: KW_ONLY
    deployment: str | None = None
    api_version: str | None = None
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    root: str | None = None
    project: str | None = None
    wire: WireName | None = None

    def __str__(self) -> str:
        return self.url

    @classmethod
    def parse(
        cls, url: str, surface: str | Surface | None = None, api_version: str | None = None
    ) -> Endpoint:
        """Parse any form of URL.

        Args:
            url: A resource root, a surface, a deployment, a project or a whole request URL.
            surface: The surface to use, if the URL does not name it or another is meant.
            api_version: Replaces the version in the URL.

        Raises:
            ConfigurationError: The URL has no known form; the message says why.

        Example:
            >>> str(Endpoint.parse("contoso.openai.azure.com/openai/v1/chat/completions"))
            'https://contoso.openai.azure.com/openai/v1'
        """
        if not isinstance(url, str):
            refuse("endpoint", url, "a URL")
        url = hidden(url)  # its query may have a key, and tracebacks may show variables
        try:
            return _parse(url, surface, api_version)
        except ConfigurationError as error:
            refusal = error
        refusal.__context__ = None
        raise refusal.with_traceback(None)

    def on(self, surface: Surface) -> Endpoint:
        """Return the same resource on another surface; unchanged if its root is unknown."""
        if surface == self.surface or self.root is None:
            return self
        return replace(self, url=self.root + surface.path, surface=surface, api_version=None)

    def with_options(
        self, surface: str | Surface | None = None, api_version: str | None = None
    ) -> Endpoint:
        """Return the same resource on another surface, or in another api-version.

        Args:
            surface: The surface to use, with its default version if none is passed.
            api_version: The version to send; None keeps the present one on the same surface.

        Raises:
            ConfigurationError: The surface is unknown, or the api-version is not valid.
        """
        named = self.surface if surface is None else surface_named(surface)
        version = api_version or (self.api_version if named == self.surface else None)
        url = self.url if self.root is None else self.root + named.path
        parsed = Endpoint.parse(url, named, version)
        return replace(self, url=parsed.url, surface=parsed.surface, api_version=version)

    def endpoint_for(self, operation: str) -> Endpoint:
        """Return the endpoint for an operation: this one, or the resource's `models` surface.

        Raises:
            ConfigurationError: Neither has the operation; the message names surfaces that do.
        """
        if operation in self.surface.operations:
            return self
        if self.root is not None:
            for surface in BESIDE:
                if operation in surface.operations:
                    return self.on(surface)
        raise ConfigurationError(
            f"{operation} does not exist on the {self.surface.name} surface ({self.url}). Use the "
            "models surface (https://<resource>.services.ai.azure.com/models) or serverless."
        )

    def has(self, operation: str) -> bool:
        """Return whether an operation exists here, or on another surface of the resource."""
        beside = BESIDE if self.root is not None else ()
        return any(operation in surface.operations for surface in (self.surface, *beside))

    def operation_url(self, operation: str, deployment: str | None) -> str:
        """Return the whole URL of a request."""
        base = self.url
        name = self.surface.name
        if name == DEPLOYMENTS.name:
            base = f"{base}/{path_segment(deployment or '')}"
        version = self.api_version or self.surface.api_version
        is_info = operation == INFO and name == MODELS.name
        if is_info:
            version = self.api_version or INFO_VERSION
        if not version and not self.query:
            return f"{base}/{operation}"
        query = list(self.query)
        if version:
            query.append(("api-version", version))
        if is_info and deployment:
            query.append(("model", deployment))
        return f"{base}/{operation}?{urlencode(query)}"


def _parse(url: str, surface: str | Surface | None, api_version: str | None) -> Endpoint:
    origin, host, path, query = _split(url)
    named = surface_named(surface) if surface else None
    version = api_version or next((v for k, v in query if k.lower() == "api-version"), None)
    if version and (version in _MODEL_DATES or not re.fullmatch(_VERSION, version)):
        raise ConfigurationError(
            f"api-version {version!r} is not a version of the API. Examples: 2024-10-21, "
            "2025-04-01-preview. The version of a model belongs to its deployment."
        )
    endpoint = _read(origin, host, path, version)
    if _is_gateway(url, host, path):
        endpoint = Endpoint(origin + path, SERVERLESS)
    if named and (named != endpoint.surface or not endpoint.url):
        endpoint = _on_surface(endpoint, named, origin + path)
    if not endpoint.url:
        raise ConfigurationError(
            f"{origin + path!r} is not a known Azure AI URL. Pass its surface (surface='v1', "
            f"'models', 'deployments', …; 'serverless' takes the path of a gateway as it is), "
            f"or a URL like one of these: {_EXAMPLES}"
        )
    rest = tuple((k, v) for k, v in query if k.lower() != "api-version")
    return replace(endpoint, api_version=version, query=rest, wire=_named_wire(url))


def path_segment(name: str) -> str:
    """Return a deployment's name as exactly one segment of a path.

    Raises:
        ConfigurationError: The name is empty, `.` or `..`, or cannot be in a URL.
    """
    if name.strip() in ("", ".", ".."):
        raise ConfigurationError(f"{name!r} is not a deployment name: pass model=")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"model={name!r} cannot be written in a URL") from None


def _named_wire(url: str) -> WireName | None:
    """Return the wire that a URL names by its end, as the portal shows one for each."""
    match = re.search(_WIRE, url.strip().partition("?")[0])
    return None if match is None else "responses" if match[1] else "messages"


def is_loopback(url: str) -> bool:
    """Return True if a URL is on this machine; False for a text that is not a URL."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:  # of half an IPv6 address
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _split(url: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    text = url.strip().strip("\"'")
    shown = re.sub(r"//.*@", "//", text.partition("?")[0])[:200]
    if re.fullmatch(_KEY, text):
        raise ConfigurationError(
            "the endpoint looks like a key, and is not shown: pass the URL first, then the key "
            "(or by name, endpoint= and credential=)",
            param="endpoint",
        )
    if "://" not in text:
        text = f"{'http' if is_loopback(f'//{text}') else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise ConfigurationError(f"endpoint {shown!r}: {error}") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme.lower() not in ("http", "https") or not host or re.search(r"[\s<>{}]", host):
        raise ConfigurationError(
            f"endpoint {shown!r} is not a valid http(s) URL. Examples: {_EXAMPLES}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "the endpoint contains a user name or password; remove it and pass credential="
        )
    bracketed = f"[{host}]" if ":" in host else host
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    path = re.sub(_OPERATION, "", path).rstrip("/")
    origin = f"{parts.scheme.lower()}://{bracketed}{port}"
    return origin, host, path, parse_qsl(parts.query, keep_blank_values=True)


def _read(origin: str, host: str, path: str, version: str | None) -> Endpoint:
    """Return the endpoint that the URL describes; one with an empty URL if it is not known."""
    for suffix, surface in _HOSTS:
        if host == suffix or host.endswith(f".{suffix}"):
            return Endpoint(origin + path, surface)
    if host in _GITHUB_HOSTS:
        raise ConfigurationError(GITHUB_ENDED)
    if match := re.match(_PROJECT, path):
        root = origin + match[1]
        return Endpoint(root + V1.path, V1, root=root, project=root + match[2])
    if match := re.match(_PATH, path):
        root = origin + match[1]
        surface = MODELS if match[2] else V1 if match[3] or match[5] else DEPLOYMENTS
        deployment = match[4] and unquote(match[4])
        return Endpoint(root + surface.path, surface, deployment=deployment, root=root)
    return _root(origin, host, path, version)


def _is_gateway(url: str, host: str, path: str) -> bool:
    """Return whether a URL is a gateway's own: an operation directly below /openai."""
    is_request = re.search(_OPERATION, url.strip().partition("?")[0].rstrip("/")) is not None
    is_azure = re.search(_RESOURCE, host) or is_loopback(f"//{host}")
    return is_request and path.casefold().endswith("/openai") and not is_azure


def _root(origin: str, host: str, path: str, version: str | None) -> Endpoint:
    """Return the root of a resource, or the base of an OpenAI-compatible service."""
    if not path and (re.search(_RESOURCE, host) or is_loopback(origin)):
        # An api-version with a date belongs to the surface with a URL for each deployment.
        surface = DEPLOYMENTS if version and version[0].isdigit() else V1
        return Endpoint(origin + surface.path, surface, root=origin)
    # On a resource only /openai/v1 is OpenAI's surface, which `_read` knows.
    is_compatible = path.endswith("/v1") and not re.search(_RESOURCE, host)
    return Endpoint(origin + path if is_compatible else "", V1)


def _on_surface(endpoint: Endpoint, surface: Surface, url: str) -> Endpoint:
    """Return the endpoint on the surface that the caller names."""
    if endpoint.root is not None and surface.path:
        return replace(endpoint, url=endpoint.root + surface.path, surface=surface)
    if surface == DEPLOYMENTS:
        root, _, name = url.partition("/deployments/")
        if name:
            return Endpoint(f"{root}/deployments", surface, deployment=unquote(name))
        return Endpoint(url + surface.path, surface, root=url)
    return Endpoint(url, surface)


def origin_of(url: str) -> str:
    """Return the scheme and host of a URL; a credential for one is not sent to another."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
