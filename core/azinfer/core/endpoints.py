"""Endpoints: whatever URL a portal, a sample or a blog shows, read once and without a network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from azinfer.core.errors import ConfigurationError
from azinfer.core.surfaces import (
    BESIDE,
    DEPLOYMENTS,
    GITHUB,
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

# Texts, compiled when they are first needed: importing azinfer takes no time for them.
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
# Hosts that speak one surface, whatever the path.
_HOSTS = (
    ("models.github.ai", GITHUB),
    ("models.inference.ai.azure.com", GITHUB),
    ("models.ai.azure.com", SERVERLESS),
    ("inference.ml.azure.com", MANAGED),
)
# The root of a resource, and which of its surfaces a path names.
_PATH = r"(?i)^(.*?)/(?:(models)|openai(?:/(v1)|/deployments(?:/([^/]+))?)?|(anthropic)(?:/v1)?)$"
# The ends of URLs that say which wire is spoken there.
_WIRE = r"(?i)/(?:openai(?:/v1)?/(responses)|(anthropic)(?:/v1(?:/messages.*)?)?)/*$"
_VERSION = r"\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview|latest"
# Versions of OpenAI's models, which people take for one of the API; none of these is both.
_MODEL_DATES = frozenset(
    {
        *("2024-04-09", "2024-05-13", "2024-07-18", "2024-08-06", "2024-09-12", "2024-11-20"),
        *("2024-12-17", "2025-01-31", "2025-02-27", "2025-04-14", "2025-04-16", "2025-08-07"),
    }
)
_RIGHT_FORMS = (
    "https://<resource>.services.ai.azure.com, …/models, …/openai/v1, "
    "https://<resource>.openai.azure.com/openai/deployments/<name>"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go: a base URL and the surface spoken there.

    Attributes:
        url: The base that operations are appended to, without a slash at its end.
        surface: The way deployments are addressed there.
        deployment: The deployment that the URL itself named.
        api_version: The version that the URL or the caller asked for; None for the default.
        query: Further items of the URL's query; they go with every request. Not shown, as keys
            may be among them.
        root: The root of the resource, where other surfaces stand beside this one.
        project: The Foundry project's URL, where one was given.
        wire: The wire that the URL itself named.
    """

    url: str
    surface: Surface
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
        """Read any form of URL.

        Args:
            url: A resource root, a surface, a deployment, a project or a whole request URL.
            surface: The surface to speak, where the URL does not say or another is wanted.
            api_version: Beats the version in the URL.

        Raises:
            ConfigurationError: The URL cannot be understood; the text says what was.

        Example:
            >>> str(Endpoint.parse("contoso.openai.azure.com/openai/v1/chat/completions"))
            'https://contoso.openai.azure.com/openai/v1'
        """
        origin, host, path, query = _split(url)
        named = surface_named(surface) if surface else None
        version = api_version or next((v for k, v in query if k.lower() == "api-version"), None)
        if version and (version in _MODEL_DATES or not re.fullmatch(_VERSION, version)):
            raise ConfigurationError(
                f"api-version {version!r} is not a version of the API, which looks like "
                "2024-10-21 or 2025-04-01-preview; a model's version belongs to its deployment"
            )
        endpoint = _read(origin, host, path, version)
        if named and (named != endpoint.surface or not endpoint.url):
            endpoint = _on_surface(endpoint, named, origin + path)
        if not endpoint.url:
            raise ConfigurationError(
                f"{origin + path!r} is no Azure AI URL that is known: name the surface it speaks "
                f"(surface='v1', 'models', 'deployments', …), or give one like {_RIGHT_FORMS}"
            )
        rest = tuple((k, v) for k, v in query if k.lower() != "api-version")
        return replace(endpoint, api_version=version, query=rest, wire=_named_wire(url))

    def on(self, surface: Surface) -> Endpoint:
        """The same resource, spoken to another way."""
        if surface == self.surface or self.root is None:
            return self
        return replace(self, url=self.root + surface.path, surface=surface, api_version=None)

    def with_options(
        self, surface: str | Surface | None = None, api_version: str | None = None
    ) -> Endpoint:
        """Return the same resource on another surface, or in another api-version.

        Args:
            surface: The surface to speak; its own default version is sent, where none is given.
            api_version: The version to send; None keeps the present one on the same surface.

        Raises:
            ConfigurationError: The surface is unknown, or the api-version is not valid.
        """
        named = self.surface if surface is None else surface_named(surface)
        version = api_version or (self.api_version if named == self.surface else None)
        url = self.url if self.root is None else self.root + named.path
        parsed = Endpoint.parse(url, named, version)
        return replace(self, url=parsed.url, surface=parsed.surface, api_version=version)

    def serving(self, operation: str) -> Endpoint:
        """Where an operation goes: here, or to the resource's `models` surface.

        Raises:
            ConfigurationError: Neither has the operation; the text names the surface that has.
        """
        if operation in self.surface.operations:
            return self
        if self.root is not None:
            for surface in BESIDE:
                if operation in surface.operations:
                    return self.on(surface)
        raise ConfigurationError(
            f"{operation} does not exist on the {self.surface.name} surface ({self.url}); it does "
            f"on models (https://<resource>.services.ai.azure.com/models) and serverless"
        )

    def has(self, operation: str) -> bool:
        """Return whether an operation exists here, or on another surface of the resource."""
        beside = BESIDE if self.root is not None else ()
        return any(operation in surface.operations for surface in (self.surface, *beside))

    def operation_url(self, operation: str, deployment: str | None) -> str:
        """The whole URL of a request."""
        base = self.url
        if self.surface == DEPLOYMENTS:
            base = f"{base}/{path_segment(deployment or '')}"
        version = self.api_version or self.surface.api_version
        if operation == INFO and self.surface == MODELS:
            version = self.api_version or INFO_VERSION
        query = list(self.query)
        if version:
            query.append(("api-version", version))
        if operation == INFO and self.surface == MODELS and deployment:
            query.append(("model", deployment))
        return f"{base}/{operation}?{urlencode(query)}" if query else f"{base}/{operation}"


def path_segment(name: str) -> str:
    """A deployment's name as exactly one segment of a path.

    Raises:
        ConfigurationError: The name is empty, or one that a path would swallow.
    """
    if name.strip() in ("", ".", ".."):
        raise ConfigurationError(f"model={name!r} is no deployment name; name the deployment")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"model={name!r} has characters no URL can hold") from None


def _named_wire(url: str) -> WireName | None:
    """Return the wire that a URL names by its end, as the portal shows one for each."""
    found = re.search(_WIRE, url.strip().partition("?")[0])
    return None if found is None else "responses" if found[1] else "messages"


def is_loopback(url: str) -> bool:
    """Whether a URL stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _split(url: str) -> tuple[str, str, str, list[tuple[str, str]]]:
    text = url.strip().strip("\"'")
    shown = re.sub(r"//.*@", "//", text.partition("?")[0])[:200]
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
            f"endpoint {shown!r} is no http(s) URL with a host; give one like {_RIGHT_FORMS}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("the endpoint has a user name in it; pass credential= instead")
    bracketed = f"[{host}]" if ":" in host else host
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    path = re.sub(_OPERATION, "", path).rstrip("/")
    origin = f"{parts.scheme.lower()}://{bracketed}{port}"
    return origin, host, path, parse_qsl(parts.query, keep_blank_values=True)


def _read(origin: str, host: str, path: str, version: str | None) -> Endpoint:
    """What the URL itself says; an Endpoint without a URL when it says nothing."""
    for suffix, surface in _HOSTS:
        if host == suffix or host.endswith(f".{suffix}"):
            missing = surface == GITHUB and host == "models.github.ai" and not path
            return Endpoint(f"{origin}{path}{'/inference' if missing else ''}", surface)
    if match := re.match(_PROJECT, path):
        root = origin + match[1]
        return Endpoint(root + V1.path, V1, root=root, project=root + match[2])
    if match := re.match(_PATH, path):
        root = origin + match[1]
        surface = MODELS if match[2] else V1 if match[3] or match[5] else DEPLOYMENTS
        return Endpoint(root + surface.path, surface, match[4] and unquote(match[4]), root=root)
    return _root(origin, host, path, version)


def _root(origin: str, host: str, path: str, version: str | None) -> Endpoint:
    """The root of a resource, or a base of an OpenAI-compatible service."""
    if not path and (re.search(_RESOURCE, host) or is_loopback(origin)):
        # A dated api-version belongs to the surface with a URL for each deployment.
        surface = DEPLOYMENTS if version and version[0].isdigit() else V1
        return Endpoint(origin + surface.path, surface, root=origin)
    return Endpoint(origin + path if path.endswith("/v1") else "", V1)


def _on_surface(endpoint: Endpoint, surface: Surface, url: str) -> Endpoint:
    """The endpoint when the caller names the surface."""
    if endpoint.root is not None and surface.path:
        return replace(endpoint, url=endpoint.root + surface.path, surface=surface)
    if surface == DEPLOYMENTS:
        root, _, name = url.partition("/deployments/")
        if name:
            return Endpoint(f"{root}/deployments", surface, unquote(name))
        return Endpoint(url + surface.path, surface, root=url)
    return Endpoint(url, surface)


def origin_of(url: str) -> str:
    """Return the scheme and host of a URL; a credential for one is sent to no other."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
