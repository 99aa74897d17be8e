"""`azinfer routes --import`: an `azinfer.toml` from LiteLLM's config.yaml or the environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azinfer.core import ConfigurationError, missing_extra

ENVIRONMENT = "env"
_VARIABLE = re.compile(r"os\.environ/(\w+)")
# The variables of each kind of endpoint: its URL, its key, its version and its deployment.
_VARIABLES = (
    (
        "AZURE_OPENAI_ENDPOINT",
        ("AZURE_OPENAI_API_KEY",),
        ("OPENAI_API_VERSION", "AZURE_OPENAI_API_VERSION"),
        (
            "AZURE_OPENAI_DEPLOYMENT",
            "AZURE_OPENAI_DEPLOYMENT_NAME",
            "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME",
        ),
    ),
    (
        "AZURE_AI_ENDPOINT",
        ("AZURE_AI_API_KEY", "AZURE_AI_KEY"),
        (),
        ("AZURE_AI_MODEL", "AZURE_AI_MODEL_DEPLOYMENT_NAME"),
    ),
    (
        "AZURE_INFERENCE_ENDPOINT",
        ("AZURE_INFERENCE_CREDENTIAL", "AZURE_INFERENCE_API_KEY"),
        (),
        ("AZURE_INFERENCE_MODEL",),
    ),
    ("AZURE_AI_PROJECT_ENDPOINT", (), (), ("AZURE_AI_MODEL_DEPLOYMENT_NAME",)),
    ("AZURE_API_BASE", ("AZURE_API_KEY",), ("AZURE_API_VERSION",), ()),
)


@dataclass(slots=True)
class Imported:
    """The content of a new `azinfer.toml`.

    Attributes:
        endpoints: The tables of endpoints, by name.
        deployments: Facts about deployments, by `name@endpoint`.
        routes: The tiers of each route.
        aliases: Other names of routes.
        notes: What could not be converted, for the reader.
    """

    endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    routes: dict[str, list[list[str]]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def endpoint(self, url: str, **more: str | None) -> str:
        """Return the name of an endpoint, which is added if it is new."""
        table = {"url": url.rstrip("/"), **{key: text for key, text in more.items() if text}}
        for name, known in self.endpoints.items():
            if known == table:
                return name
        host = (urlsplit(url).hostname or "main").partition(".")[0]
        base = re.sub(r"[^A-Za-z0-9_-]", "-", host) or "main"
        names = (base if number == 1 else f"{base}-{number}" for number in range(1, 1000))
        name = next(name for name in names if name not in self.endpoints)
        self.endpoints[name] = table
        return name

    def to_toml(self) -> str:
        """Return the text of the file."""
        lines = [f"# {' '.join(note.split())}" for note in self.notes]
        if len(self.endpoints) > 1:
            lines += ["", f"default = {_value(next(iter(self.endpoints)))}"]
        for kind in ("endpoints", "deployments"):
            for name, table in getattr(self, kind).items():
                lines += ["", f"[{kind}.{_key(name)}]"]
                lines += [f"{key} = {_value(value)}" for key, value in table.items()]
        for name, tiers in self.routes.items():
            lines += ["", f"[routes.{_key(name)}]", f"tiers = {_value(tiers)}"]
        if self.aliases:
            lines += ["", "[aliases]"]
            lines += [f"{_key(name)} = {_value(target)}" for name, target in self.aliases.items()]
        return "\n".join(lines).strip() + "\n"


def import_routes(source: str, environ: Mapping[str, str]) -> str:
    """Return the text of an `azinfer.toml`.

    Args:
        source: The path of a LiteLLM config.yaml, or `"env"` for the variables of the environment.
        environ: The environment.

    Raises:
        ConfigurationError: There is nothing in it to convert, or the file cannot be read.
        ModuleNotFoundError: PyYAML is not installed.
    """
    if source == ENVIRONMENT:
        imported = from_environment(environ)
        if not imported.endpoints:
            names = ", ".join(url for url, *_ in _VARIABLES)
            raise ConfigurationError(f"the environment has none of the variables {names}")
    else:
        imported = from_litellm(_read_yaml(Path(source)))
        if not imported.endpoints:
            raise ConfigurationError(
                f"{source} has no model of Azure: an entry of model_list whose litellm_params have "
                "a model like azure/gpt-4o and an api_base"
            )
    return imported.to_toml()


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise missing_extra("migrate", error) from None
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from None
    return content if isinstance(content, Mapping) else {}


def from_environment(environ: Mapping[str, str]) -> Imported:
    """Return the content of the usual variables, also of those with an ending such as `_WEST`."""
    imported, members = Imported(), list[str]()
    names: dict[tuple[str, str | None, str | None], str] = {}  # several variables, one endpoint
    for variable in sorted(environ, key=len):
        for url, keys, versions, models in _VARIABLES:
            if not re.fullmatch(rf"{url}(_\w+)?", variable) or not environ[variable]:
                continue
            ending = variable.removeprefix(url)
            key = _first(keys, ending, environ)
            version = environ.get(_first(versions, ending, environ) or "")
            same = (environ[variable].rstrip("/").casefold(), environ.get(key or ""), version)
            if (name := names.get(same)) is None:
                credential = f"env:{key}" if key else "entra"
                name = names[same] = imported.endpoint(
                    environ[variable], credential=credential, api_version=version
                )
            if model := environ.get(_first(models, ending, environ) or ""):
                members.append(f"{model}@{name}")
    if members:
        imported.routes["chat"] = [[each] for each in dict.fromkeys(members)]
    return imported


def _first(names: Iterable[str], ending: str, environ: Mapping[str, str]) -> str | None:
    return next((name + ending for name in names if environ.get(name + ending)), None)


def from_litellm(config: Mapping[str, Any]) -> Imported:
    """Return the content of a config.yaml of LiteLLM.

    Source: "Proxy config.yaml" and "Router - Load Balancing" of LiteLLM's documentation.
    """
    imported = Imported()
    tiers: dict[str, dict[int, list[str]]] = {}
    for entry in _tables(config.get("model_list")):
        group, parameters = str(entry.get("model_name")), _table(entry.get("litellm_params"))
        member = _member(imported, group, parameters, _table(entry.get("model_info")))
        if member is not None:
            order = parameters.get("order")
            place = tiers.setdefault(group, {})
            place.setdefault(order if isinstance(order, int) else 1, []).append(member)
    for group, places in tiers.items():
        imported.routes[group] = [list(dict.fromkeys(places[order])) for order in sorted(places)]
    router, settings = _table(config.get("router_settings")), _table(config.get("litellm_settings"))
    for each in (router, settings):
        _add_fallbacks(imported, each.get("fallbacks"))
    for alias, target in _table(router.get("model_group_alias")).items():
        target = target.get("model") if isinstance(target, Mapping) else target
        imported.aliases[str(alias)] = str(target)
    return imported


def _member(
    imported: Imported, group: str, parameters: Mapping[str, Any], info: Mapping[str, Any]
) -> str | None:
    """Return a deployment of a route, after its endpoint and its facts were added."""
    provider, _, deployment = str(parameters.get("model") or "").partition("/")
    url = _text(parameters.get("api_base"))
    if provider not in ("azure", "azure_ai") or not deployment or not url:
        imported.notes.append(f"not converted: {group} ({parameters.get('model')})")
        return None
    if variable := _VARIABLE.fullmatch(url):
        imported.notes.append(f"write the URL that the variable {variable[1]} has into the file")
        url = f"https://{variable[1].lower().replace('_', '-')}.openai.azure.com"
    endpoint = imported.endpoint(
        url,
        credential=_credential(imported, parameters.get("api_key"), url),
        api_version=_version(parameters.get("api_version")),
    )
    facts = {
        "model_id": str(info["base_model"]).rpartition("/")[2] if info.get("base_model") else None,
        "rpm": parameters.get("rpm"),
        "tpm": parameters.get("tpm"),
    }
    facts = {name: value for name, value in facts.items() if value}
    if facts:
        imported.deployments[f"{deployment}@{endpoint}"] = facts
    weight = parameters.get("weight")
    is_weight = isinstance(weight, int | float) and weight > 0 and weight != 1
    return f"{deployment}@{endpoint}:{weight:g}" if is_weight else f"{deployment}@{endpoint}"


def _credential(imported: Imported, key: Any, url: str) -> str:
    text = _text(key)
    if text is None:
        return "entra"
    if variable := _VARIABLE.fullmatch(text):
        return f"env:{variable[1]}"
    host = (urlsplit(url).hostname or "main").partition(".")[0]
    name = re.sub(r"\W", "_", f"{host}_key").upper()
    note = f"put the key of {url} into the variable {name}: a key does not belong in a file"
    if note not in imported.notes:
        imported.notes.append(note)
    return f"env:{name}"


def _version(value: Any) -> str | None:
    text = _text(value)
    return None if text is None or _VARIABLE.fullmatch(text) else text


def _add_fallbacks(imported: Imported, fallbacks: Any) -> None:
    """Append the routes that follow a route: all except the last as their deployments."""
    for group, others in [pair for each in _tables(fallbacks) for pair in each.items()]:
        names = [str(each) for each in others if str(each) in imported.routes]
        if group not in imported.routes or not names:
            imported.notes.append(f"not converted: the fallbacks of {group}")
            continue
        seen = {member for tier in imported.routes[group] for member in tier}
        for name in names[:-1]:
            rest = [
                [member for member in tier if member not in seen] for tier in imported.routes[name]
            ]
            imported.routes[group] += [tier for tier in rest if tier]
        imported.routes[group].append([f"route:{names[-1]}"])


def _tables(value: Any) -> Iterator[Mapping[str, Any]]:
    for each in value if isinstance(value, list) else ():
        if isinstance(each, Mapping):
            yield each


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """Return a text, a number or a list in the form of TOML, which is that of JSON."""
    return json.dumps(value, ensure_ascii=False)
