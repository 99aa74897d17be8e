"""The pytest plugin: an endpoint in a user's own tests, reset for each of them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from azinfer.core import ConfigurationError
from azinfer.local import LocalDeployment, LocalEndpoint
from azinfer.testing.recordings import recording

pytest_plugins = ["pytester"]

PROJECT = """
import pytest
from azinfer.core import BadRequestError, InferenceClient, RateLimitError, UserMessage
from azinfer.local import Fault, Latency, LocalDeployment, Scripted, ScriptedCall, SyntheticEngine

HELLO = [UserMessage("Hello")]

def asked():
    return InferenceClient(model="chat", max_retries=0).complete(HELLO)

def test_a_script(azinfer_script, azinfer_endpoint):
    azinfer_script("chat", "first", Scripted(tool_calls=(ScriptedCall("f", {"a": 1}),)))
    assert asked().text == "first"
    assert asked().tool_calls[0].function.name == "f"
    with pytest.raises(BadRequestError, match="used up"):
        asked()
    assert [entry.deployment for entry in azinfer_endpoint.requests] == ["chat"] * 3

def test_a_fault(azinfer_endpoint):
    azinfer_endpoint.fail("chat", Fault(status=429))
    azinfer_endpoint.slow("chat", Latency(0.001))
    with pytest.raises(RateLimitError):
        asked()

def test_deployments(azinfer_endpoint):
    azinfer_endpoint.delete("chat-2")
    azinfer_endpoint.deploy(LocalDeployment("chat", "other", SyntheticEngine("other")))
    azinfer_endpoint.deploy(LocalDeployment("new"))
    assert asked().text == "other"

@pytest.mark.parametrize("at", range(4))
def test_everything_is_reset(azinfer_endpoint, at):
    assert [each.name for each in azinfer_endpoint.deployments] == ["chat", "chat-2", "embed"]
    assert asked().text == "This is a synthetic answer to: Hello"
    assert len(azinfer_endpoint.requests) == 1
"""


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_state_ends_with_each_test_in_one_or_two_processes(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(PROJECT)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error", *workers)
    result.assert_outcomes(passed=7)


LIMITED = """
import pytest
from azinfer.core import InferenceClient, RateLimit, RateLimitError, UserMessage
from azinfer.local import LocalDeployment

@pytest.fixture(scope="session")
def azinfer_deployments():
    return [LocalDeployment("mine", rate_limits=(RateLimit("request", 1, 3600),))]

@pytest.mark.parametrize("at", range(3))
def test_limits_are_unused(azinfer_endpoint, at):
    client = InferenceClient(model="mine", max_retries=0)
    client.complete([UserMessage("a")])
    with pytest.raises(RateLimitError):
        client.complete([UserMessage("b")])
"""


def test_a_project_can_define_its_own_deployments(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LIMITED)
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-W", "error")
    result.assert_outcomes(passed=3)


RECORDED = """
import pytest
from azinfer.core import BadRequestError, InferenceClient, UserMessage

@pytest.mark.parametrize("word", ["sea", "a/b: c"])
def test_answers(azinfer_recording, word):
    client = InferenceClient(model="chat")
    assert client.complete([UserMessage(word)]).text == f"This is a synthetic answer to: {word}"
    with client.stream([UserMessage(word)]) as chunks:
        assert "".join(chunk.text for chunk in chunks).endswith(word)
    assert len(client.embed("x", model="vectors").vectors[0]) == 384

def test_another_request(azinfer_recording):
    client = InferenceClient(model="chat", max_retries=0)
    client.complete([UserMessage("recorded")], temperature=0)
    if not azinfer_recording.deployments[0].engine.url.startswith("http://127.0.0.1:9/"):
        return
    with pytest.raises(BadRequestError) as caught:
        client.complete([UserMessage("changed")], temperature=0)
    assert "the nearest, in line 1, differs in messages[0].content" in str(caught.value)
    assert "recorded \\"recorded\\", requested \\"changed\\"" in str(caught.value)
"""
ASYNC = """
import pytest
from azinfer.core import UserMessage

@pytest.mark.asyncio
async def test_answers(azinfer_recording, azinfer_async_client):
    answer = await azinfer_async_client.complete([UserMessage("sea")], model="chat")
    assert answer.text.endswith("sea")

@pytest.mark.asyncio
async def test_an_endpoint(azinfer_endpoint, azinfer_script, azinfer_async_client):
    azinfer_script("chat", "scripted")
    answer = await azinfer_async_client.complete([UserMessage("sea")], model="chat")
    assert answer.text == "scripted"
"""


@pytest.mark.long
@pytest.mark.parametrize(("module", "count"), [(RECORDED, 3), (ASYNC, 2)])
def test_recordings_are_made_and_replayed_without_a_network(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, module: str, count: int
) -> None:
    pytester.makepyfile(test_recorded=module)
    deployments = [LocalDeployment("chat"), LocalDeployment("vectors")]
    with LocalEndpoint(deployments, key="very-secret-key") as upstream:
        url = f"{upstream.url}/openai/v1"
        pytester.makeini(
            f"[pytest]\nazinfer_upstream =\n    chat={url}\n    vectors={url}\n"
            "asyncio_default_fixture_loop_scope = function"
        )
        monkeypatch.setenv("AZINFER_UPSTREAM_KEY", "very-secret-key")
        result = pytester.runpytest_subprocess("-W", "error", "--azinfer-record")
        result.assert_outcomes(passed=count)
        assert upstream.requests
    monkeypatch.delenv("AZINFER_UPSTREAM_KEY")
    files = sorted((pytester.path / "cassettes" / "test_recorded").iterdir())
    assert "very-secret-key" not in "".join(each.read_text("utf-8") for each in files)
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=count)


REFUSED = """
import pytest
from azinfer.core import InferenceClient, UserMessage

@pytest.mark.parametrize("text", ["This is a synthetic answer to: sea", "other"])
def test_answers(azinfer_recording, text):
    assert InferenceClient(model="chat").complete([UserMessage("sea")]).text == text

def test_nothing(azinfer_recording):
    pass
"""


@pytest.mark.long
def test_a_recording_that_fails_leaves_the_old_one(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZINFER_UPSTREAM_KEY", "very-secret-key")
    folder = pytester.mkdir("cassettes") / "test_refused"
    folder.mkdir()
    names = ["test_answers[This_is_a_synthetic_answer_to_sea]", "test_answers[other]"]
    files = [folder / f"{name}.jsonl" for name in (*names, "test_nothing")]
    for file in files:
        file.write_text("old")
    pytester.makepyfile(test_refused=REFUSED)
    with LocalEndpoint([LocalDeployment("chat")], key="very-secret-key") as upstream:
        pytester.makeini(f"[pytest]\nazinfer_upstream =\n    chat={upstream.url}/openai/v1\n")
        result = pytester.runpytest_subprocess("-p", "no:asyncio", "--azinfer-record")
    result.assert_outcomes(passed=2, failed=1)
    assert [file.read_text() == "old" for file in files] == [False, True, True]
    assert [file.name for file in folder.glob("*.part")] == ["test_answers[other].jsonl.part"]


def test_an_upstream_that_is_not_there_leaves_the_old_recording(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text("old")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConfigurationError):
        recording(path, [f"http://127.0.0.1:{port}/v1"])
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("chat.jsonl", "old")]


@pytest.mark.long
def test_a_test_without_a_recording_says_how_to_make_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RECORDED)
    result = pytester.runpytest_subprocess("-p", "no:asyncio")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*has no recording at *cassettes*; run it once with*"])
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "--azinfer-record")
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(["*--azinfer-record needs an upstream*"])
