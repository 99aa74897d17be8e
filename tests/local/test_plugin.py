"""The pytest plugin: an endpoint in tests of one's own, as it was for each of them."""

from __future__ import annotations

import pytest

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
