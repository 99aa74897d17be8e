"""`azinfer routes`, as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT

import pytest

from fleet import Fleet, rate_limit_reply
from raw_server import chat, failure, reply

COMMAND = str(Path(sys.executable).with_name("azinfer"))


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet("ab")
    for name, server in fleet.servers.items():
        server.will(reply(chat(name)))
    yield fleet
    fleet.stop()


@pytest.fixture
def config(fleet: Fleet, tmp_path: Path) -> Path:
    path = tmp_path / "azinfer.toml"
    path.write_text(
        f"""default = "a"
[endpoints.a]
url = "{fleet["a"].url}"
credential = "env:MY_KEY"
[endpoints.b]
url = "{fleet["b"].url}"
credential = "env:MY_KEY"
[deployments."m@b"]
rpm = 60
tpm = 1000
[routes.chat]
tiers = [["m@a"], ["m@b"]]
""",
        "utf-8",
    )
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "160", "MY_KEY": "key", "PYTHONUNBUFFERED": "1"}


def azinfer(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "routes", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_routes_are_shown_without_a_request(fleet: Fleet, config: Path) -> None:
    done = azinfer("--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(done.stdout)[2:4] == [
        "chat 1 m@a healthy 0 - - next call",
        "chat 2 m@b healthy 0 - 10 requests, 1000 tokens -",
    ]
    assert done.stdout.splitlines()[-1].startswith("healthy: gets calls; open: gets none")
    assert sum(fleet.counts.values()) == 0


def test_ask_shows_which_deployment_answers_next(fleet: Fleet, config: Path) -> None:
    fleet["a"].will(rate_limit_reply(30))
    done = azinfer("--config", str(config), "--ask")
    first, second = rows(done.stdout)[2:4]
    assert first.startswith("chat 1 m@a open 0 - - after 429, ")
    assert second.startswith("chat 2 m@b healthy 0 0.")
    assert second.endswith("9 requests, 995 tokens answered, next call")


def test_ask_shows_a_deployment_that_failed_once(fleet: Fleet, config: Path) -> None:
    fleet["a"].will(reply(failure("x"), 500))
    done = azinfer("--config", str(config), "--ask")
    first, second = rows(done.stdout)[2:4]
    assert first.startswith("chat 1 m@a healthy 0 - - failed: ServerError, next call")
    assert second.endswith(" answered")


def test_ask_prints_the_error_of_a_route_that_does_not_answer(fleet: Fleet, config: Path) -> None:
    fleet["a"].will(reply(failure("invalid_prompt", "no such prompt"), 400))
    done = azinfer("--config", str(config), "--ask")
    assert "chat: no such prompt" in " ".join(rows(done.stdout))


def test_routes_are_printed_as_json(config: Path) -> None:
    (routing,) = json.loads(azinfer("--config", str(config), "--json").stdout)
    assert routing["decision"]["route"] == "chat"
    assert [each["endpoint"] for each in routing["decision"]["candidates"]] == ["a", "b"]


def test_a_file_without_routes_says_how_to_add_one(config: Path) -> None:
    config.write_text(config.read_text("utf-8").partition("[routes")[0], "utf-8")
    assert azinfer("--config", str(config)).stdout == (
        "no routes: add a table [routes.chat] with tiers\n"
    )


def test_a_mistake_names_its_line(config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace('m@b"]]', 'm@c"]]'), "utf-8")
    done = azinfer("--config", str(config))
    assert done.returncode == 1
    assert "azinfer.toml, line 12: routes.chat.tiers: 'm@c' names an unknown end" in done.stderr


def test_a_missing_credential_is_asked_for_in_the_file(config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace('credential = "env:MY_KEY"', ""), "utf-8")
    environ = {name: value for name, value in environment().items() if "AZURE" not in name}
    command = [COMMAND, "routes", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode == 1
    assert 'add credential = "env:NAME"' in done.stderr
    assert "below [endpoints.a]" in done.stderr
    assert "--key" not in done.stderr


def test_a_variable_that_is_not_set_is_named_with_its_line(config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace("env:MY_KEY", "env:NOT_SET"), "utf-8")
    done = azinfer("--config", str(config))
    assert done.returncode == 1
    assert "line 4: endpoints.a.credential: the variable NOT_SET is not set" in done.stderr
    assert "--key" not in done.stderr


def test_a_misspelt_field_is_named_where_it_is_missing(config: Path) -> None:
    config.write_text(config.read_text("utf-8").replace("tiers =", "tears ="), "utf-8")
    done = azinfer("--config", str(config))
    assert "is missing, but there is an unknown field 'tears'" in done.stderr


def test_a_name_that_the_endpoint_does_not_list_is_named(fleet: Fleet, config: Path) -> None:
    fleet["b"].will(reply({"data": [{"id": "mm", "model": "gpt-4o"}]}))
    text = config.read_text("utf-8").replace('["m@b"]', '["mn@b"]')
    config.write_text(text.replace("[endpoints.b]", '[endpoints.b]\ndiscover = "classic"'), "utf-8")
    done = azinfer("--config", str(config))
    assert "b lists no deployment 'mn': did you mean " in done.stdout


def test_watching_follows_the_file(config: Path) -> None:
    command = [COMMAND, "routes", "--config", str(config), "--watch", "--every", "0.1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert len(json.loads(process.stdout.readline())) == 1
        more = config.read_text("utf-8") + '[routes.other]\ntiers = [["m@b"]]\n'
        config.write_text(more, "utf-8")
        lines = map(json.loads, process.stdout)
        assert next(line for line in lines if len(line) == 2)[1]["requested"] == "other"
        process.send_signal(SIGINT)
        assert process.wait(20) == 130
