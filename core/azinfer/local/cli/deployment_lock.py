"""Locks of deployments: a file with their facts, and the changes since it was written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from azinfer.core import ConfigurationError, Deployment, InferenceClient
from azinfer.core.model_catalog import find
from azinfer.local.cli.doctor import deployments_of
from azinfer.local.cli.file_writing import write_file
from azinfer.local.cli.output import write, write_json

_FACTS = ("model_name", "model_version", "model_format", "capacity_type", "capacity")
_DAYS = 30  # days before its retirement in which a model is reported
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One change since the file was written, or one that is coming.

    Attributes:
        deployment: The deployment.
        kind: `"changed"`, `"gone"`, `"new"` or `"retires"`.
        fact: The fact that has changed; for a retirement, the model.
        before: The value in the file.
        now: The value now; for a retirement, the date.
    """

    deployment: str
    kind: str
    fact: str = ""
    before: Any = None
    now: Any = None

    def __str__(self) -> str:
        match self.kind:
            case "gone":
                return f"- {self.deployment}: it is not there any more (it was {self.before})"
            case "new":
                return f"+ {self.deployment}: it is not in the file ({self.now})"
            case "retires":
                return f"! {self.deployment}: {self.fact} retires on {self.now}"
        return f"~ {self.deployment}: {self.fact} {_text(self.before)} → {_text(self.now)}"


def lock_deployments(client: InferenceClient, source: str | None, path: Path) -> None:
    """Write the facts of all deployments of an endpoint to a file.

    Args:
        client: The client of the endpoint.
        source: Where they are listed, if not at the endpoint.
        path: The file; an existing one must be a lock, too.

    Raises:
        ConfigurationError: The file is something else, or cannot be written.
    """
    _check_replaceable(path)
    facts = {each.name: facts_of(each) for each in deployments_of(client, source).values()}
    content = {
        "version": _VERSION,
        "endpoint": client.endpoint.url,
        "deployments": dict(sorted(facts.items())),
    }
    try:
        write_file(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    write(f"{path}: {len(facts)} deployments")


def check_deployments(
    client: InferenceClient, source: str | None, path: Path, today: date, *, as_json: bool
) -> bool:
    """Print the changes since a file was written; return whether there are none.

    A model that retires within 30 days counts, too.

    Args:
        client: The client of the endpoint.
        source: Where its deployments are listed, if not at the endpoint.
        path: The file.
        today: The date.
        as_json: Whether to print JSON.

    Raises:
        ConfigurationError: The file cannot be read, or is not a lock.
    """
    before = read_lock(path)
    now = deployments_of(client, source)
    changes = list(differences(before, {each.name: facts_of(each) for each in now.values()}))
    changes += retirements(now, today)
    if as_json:
        write_json(changes)
    else:
        for each in changes:
            write(str(each))
        if not changes:
            write(f"{len(before)} deployments are as in {path}")
    return not changes


def _check_replaceable(path: Path) -> None:
    """Raise if an existing file is not a lock, as it would be lost."""
    if path.is_file() and path.stat().st_size:
        try:
            read_lock(path)
        except ConfigurationError:
            raise ConfigurationError(
                f"{path} exists and is not a file of `azinfer deployments --lock`: use another "
                "file, or delete this one"
            ) from None


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """Return the facts in a file, by the names of the deployments."""
    try:
        deployments = json.loads(path.read_text("utf-8"))["deployments"]
        return {str(name): dict(facts) for name, facts in deployments.items()}
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; write it with --lock"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigurationError(
            f"{path} is not a file of `azinfer deployments --lock`; write one with --lock"
        ) from None


def facts_of(deployment: Deployment) -> dict[str, Any]:
    """Return the listed facts of a deployment on which its users depend.

    Source of the options of upgrades: "Accounts - Deployments" of the Cognitive Services
    management REST API.
    """
    properties = deployment.raw.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    facts = {name: getattr(deployment, name) for name in _FACTS}
    facts |= {
        "content_filter": deployment.content_filter,
        "rate_limits": [asdict(each) for each in deployment.rate_limits] or None,
        "upgrade": properties.get("versionUpgradeOption"),
        "spillover": properties.get("spilloverDeploymentName"),
    }
    return {name: value for name, value in facts.items() if value is not None}


def differences(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> Iterator[Difference]:
    """Yield the differences; a fact that one of the lists does not have is not compared."""
    names = {name.casefold(): name for name in now}
    for name, facts in before.items():
        current = now.get(names.get(name.casefold(), ""))
        if current is None:
            yield Difference(name, "gone", before=_model(facts))
            continue
        for fact in facts.keys() & current.keys():
            if facts[fact] != current[fact]:
                yield Difference(name, "changed", fact, facts[fact], current[fact])
    known = {name.casefold() for name in before}
    for folded, name in names.items():
        if folded not in known:
            yield Difference(name, "new", now=_model(now[name]))


def retirements(deployments: Mapping[str, Deployment], today: date) -> Iterator[Difference]:
    """Yield the deployments whose models retire soon or are retired."""
    for each in deployments.values():
        model = each.model_name or ""
        if each.retires is not None:  # as Azure Resource Manager says
            if (date.fromisoformat(each.retires) - today).days <= _DAYS:
                yield Difference(each.name, "retires", model, now=each.retires)
            continue
        facts = find(f"{model}-{each.model_version}", is_model_id=True) or find(
            model, is_model_id=True
        )
        if facts is None or facts.retires is None:
            continue
        if (date.fromisoformat(facts.retires) - today).days <= _DAYS:
            yield Difference(each.name, "retires", facts.name, now=facts.retires)


def _model(facts: Mapping[str, Any]) -> str:
    return " ".join(str(facts[name]) for name in _FACTS[:2] if name in facts) or "unknown"


def _text(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    return ", ".join(
        f"{each.get('count'):g} {each.get('key')}s in {each.get('renewal_period'):g} s"
        for each in value
    )
