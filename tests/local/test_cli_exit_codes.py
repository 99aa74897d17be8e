"""Exit codes: 2 for options that can never be right, 1 for what went wrong with good ones."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from azinfer.local import LocalDeployment, LocalEndpoint
from command_runs import run


@pytest.fixture(scope="module")
def running() -> Iterator[LocalEndpoint]:
    with LocalEndpoint([LocalDeployment("chat")]) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(
    running: LocalEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> LocalEndpoint:
    monkeypatch.setenv("AZURE_AI_ENDPOINT", running.url)
    monkeypatch.setenv("AZURE_AI_API_KEY", running.key)
    monkeypatch.setenv("AZINFER_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("one")
    (tmp_path / "folder").mkdir()
    return running


CLIENT_COMMANDS = (
    "chat hi",
    "embed hi",
    "complete hi",
    "deployments",
    "doctor",
    "batch prepare new -m chat -i in.txt",
)


# For the doctor, a client that cannot be created is a step that fails.
@pytest.mark.parametrize("command", [name for name in CLIENT_COMMANDS if name != "doctor"])
@pytest.mark.parametrize(
    "options",
    [
        "--surface nosuch",
        "--endpoint foo://bar",
        "--endpoint https://e.org",
        "--nosuch",
        "--endpoint http://127.0.0.1:99999",
        "--endpoint http://127.0.0.1:abc",
        "--endpoint http://[::1",
    ],
)
def test_wrong_options_of_clients(endpoint: LocalEndpoint, command: str, options: str) -> None:
    code, message = run(*command.split(), *options.split())
    assert code == 2, message


@pytest.mark.parametrize(
    "command",
    [
        "chat -m '' hi",
        "embed -m ' ' hi",
        "chat --endpoint '' hi",
        "deployments --endpoint ' '",
        "doctor --nosuch",
        "chat --temperature warm hi",
        "chat --max-tokens few hi",
        "embed --format xml hi",
        "embed --concurrency 0 hi",
        "embed --concurrency many hi",
        "embed --patience 0 hi",
        "complete --patience long hi",
        "embed --batch-size 0 hi",
        "embed --dimensions few hi",
        "embed --prices p.toml hi",
        "embed --resume hi",
        "embed -o out.xlsx hi",
        "embed -o folder hi",
        "complete -o out.npy hi",
        "complete --format xml hi",
        "complete --resume hi",
        "batch",
        "batch nosuch",
        "batch prepare",
        "batch prepare in.txt -m chat",
        "batch prepare new --format xml -m chat",
        "batch prepare new",
        "batch fetch folder -o out.npy",
        "env --shell nosuch",
        "env --port many",
        "deployments --lock a --check b",
        "deployments --lock folder",
        "routes --every 0",
        "serve --record tape",
        "serve --at-once",
        "serve --synthetic --replay tape",
        "serve --synthetic --port 99999",
        "serve --synthetic --port many",
        "serve --synthetic --gguf nofile",
        "serve --synthetic --onnx nofile",
        "pull nosuch",
        "migrate",
        "nosuch",
    ],
)
def test_wrong_options(endpoint: LocalEndpoint, command: str) -> None:
    code, message = run(*shlex.split(command), stdin="one")
    assert code == 2, message
    assert not Path("new").exists()


def test_an_empty_endpoint_is_named_as_the_option(endpoint: LocalEndpoint) -> None:
    _, message = run("chat", "--endpoint", "", "hi")
    assert "--endpoint is empty; pass a URL" in message


@pytest.mark.parametrize(
    "command",
    [
        "chat -m nosuch hi",
        "embed -m nosuch hi",
        "complete -m nosuch hi",
        "doctor -m nosuch",
        "chat --key wrong hi",
        "embed --key wrong hi",
        "complete --key wrong hi",
        "deployments --key wrong",
        "embed -i nosuch.txt",
        "embed -i folder",
        "embed -i in.txt -o nosuch/out.jsonl",
        "complete -i nosuch.txt",
        "complete -i folder",
        "batch prepare new -m chat -i nosuch.txt",
        "batch submit folder",
        "batch watch folder",
        "batch fetch folder",
        "deployments --check nosuch",
        "deployments --check in.txt",
        "deployments --lock in.txt",
        "routes --config nosuch.toml",
        "routes --config in.txt",
        "routes --import nosuch.yaml",
        "serve --config nosuch.toml",
        "serve --config in.txt",
        "serve --synthetic --gguf name=nosuch.gguf",
        "serve --replay nosuch",
        "env",
        "migrate nosuch.py",
    ],
)
def test_what_goes_wrong_with_good_options(endpoint: LocalEndpoint, command: str) -> None:
    code, message = run(*command.split())
    assert code == 1, message
    assert message.strip()


@pytest.mark.parametrize("command", CLIENT_COMMANDS[:5])
def test_nothing_listens(endpoint: LocalEndpoint, command: str) -> None:
    with socket.socket() as taken:  # bound, and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        code, message = run(*command.split(), "--endpoint", f"http://127.0.0.1:{port}")
    assert code == 1
    assert "is `azinfer serve` running, on this port?" in message
