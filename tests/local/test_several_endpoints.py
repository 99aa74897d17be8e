"""Several local endpoints at once: each is its own resource, and routes connect them."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import (
    AuthenticationError,
    ConfigurationError,
    InferenceClient,
    InferenceError,
    UserMessage,
)
from azinfer.core.routes import Route
from azinfer.local import Fault, LocalDeployment, LocalEndpoint, LocalEndpoints, SyntheticEngine
from azinfer.local.config.endpoint_config import read_endpoint_configs

COMMAND = str(Path(sys.executable).with_name("azinfer"))
HELLO = [UserMessage("Hello")]
FILE = """
[local]
strict = true
allowed_hosts = ["azinfer.internal"]

[local.endpoints.main]
key = "key-of-main"
[local.endpoints.main.deployments."gpt-4o"]
model_name = "gpt-4o"
engine = { kind = "synthetic", text = "main" }
faults = [{ kind = "status", status = 503, every = 1 }]

[local.endpoints.west]
key = "env:WEST"
strict = false
[local.endpoints.west.deployments."gpt-4o"]
model_name = "gpt-4o"
engine = { kind = "synthetic", text = "west" }
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "azinfer.toml"
        path.write_text(text)
        return path

    return write


def endpoint_with_text(text: str) -> LocalEndpoint:
    return LocalEndpoint([LocalDeployment("gpt-4o", engine=SyntheticEngine(text=text))])


def free_ports(count: int) -> list[int]:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def test_a_route_leads_from_one_resource_to_another() -> None:
    with LocalEndpoints(
        {"main": endpoint_with_text("main"), "far west": endpoint_with_text("west")}
    ) as local:
        assert local["main"].key != local["far west"].key
        facts = local.config()["deployments"]["gpt-4o@far west"]
        assert (facts["model_id"], facts["capacity_type"]) == ("gpt-4o", "GlobalStandard")
        assert "capacity" not in facts
        route = Route("chat", [["gpt-4o@main"], ["gpt-4o@far west"]])
        client = InferenceClient.from_config(
            local.config(), environ=local.environ(), routes=[route]
        )
        assert client.complete(HELLO, model="chat").text == "main"
        local["main"].fail("gpt-4o", Fault("status", status=503))
        assert client.complete(HELLO, model="chat").text == "west"
        local.reset()
        assert client.complete(HELLO, model="gpt-4o@main").text == "main"
        local["main"].stop()
        answer = client.complete(HELLO, model="chat")
        assert answer.text == "west"
        # Each resource takes its own keys alone.
        with pytest.raises(AuthenticationError):
            InferenceClient(local["far west"].url, local["main"].key, "gpt-4o").complete(HELLO)
        assert "far west: LocalEndpoint(http://" in repr(local)
        assert local["main"].key not in repr(local)
    assert [endpoint.url for endpoint in local.values()] == ["", ""]
    assert len(local) == 2


def test_different_names_have_different_variables() -> None:
    names = ("a b", "a_20_b", "a__b", "a-b", "a_b")
    local = LocalEndpoints({name: endpoint_with_text(name) for name in names})
    assert len(local.environ()) == len(names)


def test_endpoints_of_a_file_share_what_stands_above_them(
    config_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEST", "key-of-west")
    path = config_file(FILE)
    configs = read_endpoint_configs(path)
    assert [each.options["strict"] for each in configs.values()] == [True, False]
    with LocalEndpoints.from_config(path, page_size=1) as local:
        assert [each.key for each in local.values()] == ["key-of-main", "key-of-west"]
        route = Route("chat", [["gpt-4o@main"], ["gpt-4o@west"]])
        client = InferenceClient.from_config(
            local.config(), environ=local.environ(), routes=[route]
        )
        assert client.complete(HELLO, model="chat").text == "west"
        assert len(local["main"].requests) == 1


def test_a_file_with_one_endpoint_is_the_main_one(config_file: Callable[[str], Path]) -> None:
    path = config_file(
        "[local]\nkey = 'only'\n[routes.chat]\ntiers = [['x']]\n[shared]\nredis = 'redis://x'\n"
    )
    with LocalEndpoints.from_config(path) as local:
        assert {name: each.key for name, each in local.items()} == {"main": "only"}
    assert read_endpoint_configs(path) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("strict = true", "port = 1"), "line 3: local.port: is for one endpoint"),
        (FILE + "[local.deployments.x]\n", "local.deployments: is for one endpoint; move it below"),
        (FILE.replace('key = "key-of-main"', "keys = 1"), "line 7: local.endpoints.main.keys"),
        (FILE.replace("every = 1", "every = 0"), "local.endpoints.main.deployments.gpt-4o.faults"),
        (FILE.replace("strict = true", "strictt = true"), "line 3: local.strictt: is unknown"),
    ],
)
def test_a_mistake_names_its_line(
    config_file: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LocalEndpoints.from_config(config_file(text.replace("env:WEST", "west")))
    assert message in str(caught.value)


def test_options_for_one_endpoint_are_refused_for_several(
    config_file: Callable[[str], Path],
) -> None:
    path = config_file(FILE.replace("env:WEST", "west"))
    with pytest.raises(ConfigurationError, match=r"several endpoints \(main, west\)"):
        LocalEndpoint.from_config(path)
    with pytest.raises(ConfigurationError, match=r"^port is for one endpoint, and there are"):
        LocalEndpoints.from_config(path, port=0)
    with pytest.raises(ConfigurationError, match="at least one endpoint"):
        LocalEndpoints({})


def test_all_stop_if_one_cannot_start() -> None:
    first = endpoint_with_text("first")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        second = LocalEndpoint(port=taken.getsockname()[1])
        with pytest.raises(InferenceError, match="cannot listen"):
            LocalEndpoints({"first": first, "second": second}).start()
    assert first.url == ""


LOCAL_CLIENT = """
[endpoints.main]
url = "local"
[endpoints.west]
url = "local"
credential = "env:WEST"
[routes.chat]
tiers = [["gpt-4o@main"], ["gpt-4o@west"]]
"""


def test_serve_starts_all_endpoints_and_clients_reach_them_by_the_same_file(
    config_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEST", "key-of-west")
    ports = free_ports(2)
    text = LOCAL_CLIENT + FILE
    for name, port in zip(("main", "west"), ports, strict=True):
        text = text.replace(
            f"local.endpoints.{name}]\n", f"local.endpoints.{name}]\nport = {port}\n"
        )
    path = config_file(text)
    command = [COMMAND, "serve", "--config", str(path)]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            served: dict[str, Any] = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
            served = served["endpoints"]
            with InferenceClient.from_config(path) as client:
                assert client.complete(HELLO, model="chat").text == "west"
                assert client.endpoint.url.startswith(served["main"]["url"])
            ports_of_env = subprocess.run(
                [COMMAND, "env"], capture_output=True, text=True, check=False
            ).stderr
            assert f"choose --port {min(ports)} or {max(ports)}" in ports_of_env
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
    assert served["west"]["key"] == "key-of-west"


def test_serve_names_each_endpoint(
    config_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEST", "key-of-west")
    first, second = free_ports(2)
    text = FILE.replace("[local.endpoints.main]\n", f"[local.endpoints.main]\nport = {first}\n")
    path = config_file(
        text.replace("[local.endpoints.west]\n", f"[local.endpoints.west]\nport = {second}\n")
    )
    command = [COMMAND, "serve", "--config", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if "Ctrl-C" in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert f"main  http://127.0.0.1:{first}  key key-of-main" in lines
    assert f"west  http://127.0.0.1:{second}  key key-of-west" in lines
    assert any(f"azinfer env --port {first}" in line for line in lines)
    done = subprocess.run([*command, "--synthetic"], capture_output=True, text=True, check=False)
    assert re.search(r"--synthetic is for one endpoint, and the file has several", done.stderr)
