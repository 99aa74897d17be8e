"""`azinfer chat`: conversations in a terminal, text from a pipe, and the endpoint that it finds."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from azinfer.core import ConfigurationError, InferenceClient
from azinfer.local import LocalDeployment, LocalEndpoint, Piece, Prompt, SyntheticEngine
from azinfer.local.cli.chat import Conversation, run_command
from azinfer.local.cli.clients import open_client
from azinfer.local.cli.running_endpoints import RunningEndpoint, register
from terminals import COMMAND, terminal

VARIABLES = (
    *("AZURE_INFERENCE_ENDPOINT", "AZURE_AI_ENDPOINT", "AZURE_OPENAI_ENDPOINT"),
    *("AZINFER_KEY", "AZURE_AI_API_KEY"),
)


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEndpoint]:
    """Run an endpoint that commands find, with nothing else configured."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AZINFER_DATA", str(tmp_path))
    deployments = [LocalDeployment("first"), LocalDeployment("second", engine=SyntheticEngine())]
    with (
        LocalEndpoint(deployments) as endpoint,
        register(tmp_path, RunningEndpoint(endpoint.url, endpoint.key)),
    ):
        yield endpoint


def azinfer(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )


def body_of(endpoint: LocalEndpoint) -> dict[str, Any]:
    """Return the body of the last request for chat."""
    chats = [each for each in endpoint.requests if each.path.endswith("/chat/completions")]
    body: dict[str, Any] = chats[-1].body
    return body


def test_the_file_in_the_folder_comes_before_the_running_endpoint(
    endpoint: LocalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    file = work / "azinfer.toml"
    file.write_text("[local]\nkey = 'k'\n")  # for `azinfer serve`: it has no endpoints
    assert azinfer("chat", stdin="one").returncode == 0
    assert len(endpoint.requests) > 0
    endpoint.requests.clear()
    with LocalEndpoint([LocalDeployment("third")], key="of-the-file") as other:
        file.write_text(
            f"[endpoints.main]\nurl = '{other.url}'\ncredential = 'env:KEY_OF_FILE'\n"
            "[routes.usual]\ntiers = [['third@main']]\n"
        )
        monkeypatch.setenv("KEY_OF_FILE", "of-the-file")
        monkeypatch.setenv("AZINFER_KEY", endpoint.key)  # for the local endpoint only
        for model in ("usual", "THIRD"):
            done = azinfer("chat", "-m", model, stdin="two")
            assert (done.stdout, done.stderr) == ("This is a synthetic answer to: two\n", "")
        assert "third" in azinfer("deployments").stdout
        assert len(endpoint.requests) == 0
        monkeypatch.setenv("AZURE_AI_ENDPOINT", endpoint.url)
        assert azinfer("chat", "-m", "first", stdin="three").returncode == 0
    assert body_of(endpoint)["model"] == "first"
    monkeypatch.delenv("AZURE_AI_ENDPOINT")
    file.write_text("[endpoints.main]\nurl = 3\n")
    done = azinfer("chat", stdin="four")
    assert done.returncode == 1
    assert "azinfer.toml" in done.stderr
    file.write_text("[endpoints\n")
    assert "azinfer.toml" in azinfer("chat", stdin="five").stderr


def test_text_from_a_pipe_is_sent_to_the_running_endpoint(endpoint: LocalEndpoint) -> None:
    done = azinfer("chat", "--temperature", "0.5", "--max-tokens", "40", stdin="From a pipe.\n")
    assert (done.stdout, done.stderr) == ("This is a synthetic answer to: From a pipe.\n", "")
    body = body_of(endpoint)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("first", 0.5, 40)
    done = azinfer("chat", stdin="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no text to send: pass TEXT, or send it through a pipe" in done.stderr


def test_json_has_text_routing_and_usage(endpoint: LocalEndpoint) -> None:
    answer = json.loads(azinfer("chat", "Hello", "-m", "SECOND", "--json").stdout)
    assert answer["text"] == "This is a synthetic answer to: Hello"
    assert (answer["deployment"], answer["surface"]) == ("second", "v1")
    assert answer["usage"]["completion_tokens"] > 0
    vectors = json.loads(azinfer("embed", "one", "two", "--json").stdout)
    assert len(vectors["vectors"]) == 2
    assert vectors["deployment"] == "first"


def test_without_a_model_each_command_takes_the_deployment_for_its_job(
    endpoint: LocalEndpoint,
) -> None:
    endpoint.deploy(LocalDeployment("small-embed", engine=SyntheticEngine()))
    assert json.loads(azinfer("embed", "one", "--json").stdout)["deployment"] == "small-embed"
    endpoint.delete("first")
    endpoint.delete("second")
    endpoint.deploy(LocalDeployment("small-chat", engine=SyntheticEngine()))
    assert json.loads(azinfer("chat", "Hello", "--json").stdout)["deployment"] == "small-chat"


@pytest.mark.parametrize("command", ["deployments", "doctor", "env"])
def test_every_command_that_prints_data_prints_json(endpoint: LocalEndpoint, command: str) -> None:
    value = json.loads(azinfer(command, "--json").stdout)
    if command == "env":
        assert value["AZURE_AI_ENDPOINT"] == endpoint.url
    elif command == "doctor":
        assert {each["passed"] for each in value} == {True}
    else:
        assert [each["name"] for each in value] == ["first", "second"]


def test_the_key_of_the_running_endpoint_is_found_for_its_url(endpoint: LocalEndpoint) -> None:
    address = endpoint.url.removeprefix("http://")
    assert azinfer("chat", "Hi", "--endpoint", address).returncode == 0


def test_a_conversation_in_a_terminal(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    file = tmp_path / "conversation.json"
    with terminal("chat") as chat:
        chat.read_until("Talking to first")
        chat.read_until(">")
        chat.press("Hello\r")
        chat.read_until("This is a synthetic answer to: Hello")
        chat.read_until("(v1 → first, ")
        chat.read_until(" tokens, ")
        chat.press("/model SECOND\r")
        chat.read_until("talking to SECOND")
        chat.press("/system Be brief.\r")
        chat.read_until("system message set")
        chat.press("Again\r")
        chat.read_until("(v1 → second, ")
        sent = body_of(endpoint)["messages"]
        assert [each["role"] for each in sent] == ["system", "user", "assistant", "user"]
        chat.press(f"/save {file}\r")
        chat.read_until(f"saved to {file}"[:60])
        chat.press("/wrong\r")
        chat.read_until("unknown command /wrong")
        chat.press("/model none\r")
        chat.read_until("talking to none")
        chat.press("Anyone?\r")
        chat.read_until("DeploymentNotFound")
        chat.press("\x04")
        assert chat.wait() == 0
    saved = json.loads(file.read_text("utf-8"))
    assert saved["model"] == "SECOND"
    assert saved["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(saved["messages"]) == 5


def test_ctrl_c_at_an_empty_prompt_leaves_a_conversation(endpoint: LocalEndpoint) -> None:
    with terminal("chat", "-m", "first") as chat:
        chat.read_until(">")
        chat.press("\x03")
        chat.read_until("Press Ctrl-C again, or Ctrl-D, to leave.")
        chat.read_until(">")
        chat.press("not sent\x03")
        chat.read_until("not sent")
        chat.read_until("\n")  # the line may be drawn once more before the next prompt
        chat.read_until(">")
        chat.press("\x03")
        chat.read_until("again")
        chat.read_until(">")
        chat.press("\x03")
        assert chat.wait() == 130
        assert "Traceback" not in chat.output
    assert not any("chat/completions" in each.path for each in endpoint.requests)


class Waiting:
    """An engine that writes a word, and the next one only when the test says so."""

    def __init__(self) -> None:
        self.may_end = threading.Event()

    async def chat(self, prompt: Prompt) -> AsyncIterator[Piece]:
        yield Piece("Wait ")
        await asyncio.to_thread(self.may_end.wait, 60)
        yield Piece("over.", finish_reason="stop", prompt_tokens=1)

    async def aclose(self) -> None:
        self.may_end.set()


def test_keys_pressed_during_an_answer_reach_the_next_prompt(endpoint: LocalEndpoint) -> None:
    engine = Waiting()
    endpoint.deploy(LocalDeployment("waiting", engine=engine))
    with terminal("chat", "-m", "waiting") as chat:
        chat.read_until(">")
        chat.press("Hello\r")
        chat.read_until("Wait ")
        chat.press("/model later\r\x04")
        engine.may_end.set()
        chat.read_until("talking to later")
        assert chat.wait() == 0


def test_ctrl_c_stops_an_answer_and_not_the_conversation(endpoint: LocalEndpoint) -> None:
    endpoint.deploy(LocalDeployment("waiting", engine=Waiting()))
    with terminal("chat", "-m", "waiting") as chat:
        chat.read_until(">")
        for _ in range(2):
            chat.press("Hello\r")
            chat.read_until("Wait ")
            chat.press("\x03")
            chat.read_until("(stopped; the conversation goes on without this message)")
            chat.read_until(">")
        chat.press("/model first\r")
        chat.read_until("talking to first")
        chat.press("Anyone?\r")
        chat.read_until("This is a synthetic answer to: Anyone?")
        chat.read_until(">")
        chat.press("\x04")
        assert chat.wait() == 0
    assert [each["content"] for each in body_of(endpoint)["messages"]] == ["Anyone?"]


def test_commands_of_a_conversation(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    with InferenceClient(endpoint.url, endpoint.key, "first") as client:
        conversation = Conversation(client, "first", "Old.", {})
        conversation.complete("Hi")
        assert run_command(conversation, "/new") == "new conversation"
        assert conversation.messages == []
        assert run_command(conversation, "/system") == "system message removed"
        assert conversation.system is None
        assert "/save FILE" in run_command(conversation, "/help")
        with pytest.raises(ConfigurationError, match="/model needs a value"):
            run_command(conversation, "/model ")
        with pytest.raises(ConfigurationError, match="cannot be written"):
            run_command(conversation, f"/save {tmp_path}")


def test_each_connection_mistake_gets_the_doctors_advice(endpoint: LocalEndpoint) -> None:
    port = endpoint.url.rpartition(":")[2]
    with LocalEndpoint([LocalDeployment("tls")], https=True) as secure:
        plain = secure.url.replace("https:", "http:")
        mistakes = {
            ("--endpoint", f"https://127.0.0.1:{port}"): "this port does not speak TLS",
            ("--endpoint", plain): "speaks TLS: write https:// in --endpoint",
            ("--endpoint", "http://127.0.0.1:1"): "is `azinfer serve` running, on this port?",
            ("--key", "wrong"): "`azinfer serve` prints the endpoint's key",
            ("--endpoint", f"{endpoint.url}/opena/v1", "--key", endpoint.key): (
                "check the path of --endpoint"
            ),
        }
        for options, advice in mistakes.items():
            for command in (("chat", "Hi"), ("doctor",)):
                done = azinfer(*command, "--model", "first", *options)
                assert done.returncode == 1, options
                assert advice in done.stdout + done.stderr, (options, command)


def test_several_running_endpoints_need_a_choice(endpoint: LocalEndpoint, tmp_path: Path) -> None:
    with (
        LocalEndpoint() as second,
        register(tmp_path, RunningEndpoint(second.url, second.key)),
    ):
        message = azinfer("chat", "Hi").stderr
    assert "choose --endpoint http://127.0.0.1:" in message
    assert endpoint.url in message
    assert second.url in message


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_running_endpoint_is_known_by_every_name_of_this_machine(
    endpoint: LocalEndpoint, name: str
) -> None:
    port = endpoint.url.rpartition(":")[2]
    with open_client(f"http://{name}:{port}", None) as client:
        assert client.embed("a", model="first").vectors
    assert open_client(f"http://{name}:1", None).endpoint.url  # another server, without a key
