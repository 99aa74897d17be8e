"""`azinfer deployments --lock` and `--check`: changes, and models that retire soon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from azinfer.core import Deployment, Deployments, RateLimit
from azinfer.core.model_catalog import find
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.cli.app import app
from azinfer.local.cli.deployment_lock import differences, facts_of, retirements
from client_driver import KEY
from raw_server import RawServer, reply


@pytest.fixture
def endpoint() -> Iterator[LocalEndpoint]:
    with LocalEndpoint(
        [
            LocalDeployment("chat", "gpt-4.1", model_version="2025-04-14", capacity=10),
            LocalDeployment("old", "phi-4"),
        ]
    ) as endpoint:
        yield endpoint


def run(endpoint: LocalEndpoint, *arguments: str) -> tuple[int, str]:
    command = ["deployments", "--endpoint", endpoint.url, "--key", endpoint.key, *arguments]
    done = CliRunner().invoke(app, command)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_check_passes_while_nothing_changes(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "deployments.lock"
    assert run(endpoint, "--lock", str(path)) == (0, f"{path}: 2 deployments\n")
    locked = json.loads(path.read_text())["deployments"]["chat"]
    assert (locked["model_version"], locked["capacity"]) == ("2025-04-14", 10)
    assert locked["upgrade"] == "OnceNewDefaultVersionAvailable"
    assert run(endpoint, "--check", str(path)) == (0, f"2 deployments are as in {path}\n")
    assert run(endpoint, "--check", str(path), "--json") == (0, "[]\n")


def test_check_lists_the_changes(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    path = tmp_path / "deployments.lock"
    run(endpoint, "--lock", str(path))
    endpoint.deploy(LocalDeployment("CHAT", "gpt-4.1", model_version="2026-01-01", capacity=20))
    endpoint.delete("old")
    endpoint.deploy(LocalDeployment("fresh", "phi-4", model_version="7"))
    code, output = run(endpoint, "--check", str(path))
    lines = output.splitlines()
    assert code == 1
    assert "~ chat: model_version 2025-04-14 → 2026-01-01" in lines
    assert "~ chat: capacity 10 → 20" in lines
    limits = next(line for line in lines if "rate_limits" in line)
    assert "10000 tokens in 60 s → " in limits
    assert limits.endswith("20000 tokens in 60 s")
    assert "- old: it is not there any more (it was phi-4 1)" in lines
    assert "+ fresh: it is not in the file (phi-4 7)" in lines
    code, output = run(endpoint, "--check", str(path), "--json")
    assert code == 1
    gone = [each for each in json.loads(output) if each["kind"] == "gone"]
    assert [each["deployment"] for each in gone] == ["old"]


def test_a_fact_that_one_list_does_not_have_is_not_compared() -> None:
    before = {"a": {"model_name": "m", "content_filter": "strict"}}
    assert list(differences(before, {"A": {"model_name": "m", "capacity": 3}})) == []
    assert facts_of(Deployment("a", raw={"properties": "odd"})) == {}
    limited = Deployment("a", rate_limits=(RateLimit("token", 5, 60),))
    assert facts_of(limited)["rate_limits"][0]["count"] == 5


def test_a_model_that_retires_soon_is_a_problem() -> None:
    facts = find("gpt-4.1", is_model_id=True)
    assert facts is not None
    assert facts.retires is not None
    day = date.fromisoformat(facts.retires)
    deployments = Deployments([Deployment("a", "gpt-4.1"), Deployment("b", "no-such-model")])
    assert list(retirements(deployments, date.fromordinal(day.toordinal() - 31))) == []
    (soon,) = retirements(deployments, date.fromordinal(day.toordinal() - 30))
    assert str(soon) == f"! a: {facts.name} retires on {facts.retires}"
    assert len(list(retirements(deployments, date.max))) == 1


def test_the_day_that_azure_says_counts() -> None:
    deployments = Deployments([Deployment("a", "gpt-4.1", retires="2030-01-31")])
    assert list(retirements(deployments, date(2029, 12, 31))) == []
    (soon,) = retirements(deployments, date(2030, 1, 1))
    assert str(soon) == "! a: gpt-4.1 retires on 2030-01-31"


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"deployments": 3}'])
def test_a_file_that_is_not_a_lock_is_refused(
    endpoint: LocalEndpoint, tmp_path: Path, content: Any
) -> None:
    path = tmp_path / "lock"
    if content is not None:
        path.write_text(content)
    with pytest.raises(
        Exception, match="cannot be read" if content is None else "is not a file of"
    ):
        run(endpoint, "--check", str(path))


def test_lock_and_check_cannot_be_combined(endpoint: LocalEndpoint) -> None:
    code, output = run(endpoint, "--lock", "a", "--check", "b")
    assert code == 2
    assert "cannot be combined" in output


def test_the_list_of_a_project_can_be_locked_too(server: RawServer, tmp_path: Path) -> None:
    entry = {"name": "a", "type": "ModelDeployment", "modelName": "m", "modelVersion": "1"}
    server.will(
        reply({}, 404), reply({"data": [{"id": "a", "model": "m"}]}), reply({"value": [entry]})
    )
    path = str(tmp_path / "lock")
    command = ["deployments", "--endpoint", server.url, "--key", KEY]
    assert CliRunner().invoke(app, [*command, "--lock", path]).exit_code == 0
    assert CliRunner().invoke(app, [*command, "--check", path]).exit_code == 0
