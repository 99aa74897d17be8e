"""The READMEs are true: programs run on the local endpoint, commands and names exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from azinfer import core
from azinfer.local import LocalDeployment, LocalEndpoint, LocalEndpoints

ROOT = Path(__file__).parent.parent
README, CORE, INTEGRATIONS = (
    (ROOT / folder / "README.md").read_text("utf-8") for folder in ("", "core", "integrations")
)
ASSISTANTS = (ROOT / "docs/pages/moving/assistants.md").read_text("utf-8")
ALL = README + CORE + INTEGRATIONS + ASSISTANTS
PROGRAMS = re.findall(r"^```python\n(.*?)^```", ALL, re.DOTALL | re.MULTILINE)
MODULES = sorted(path for path in (ROOT / "core/azinfer/core").glob("*.py"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LocalEndpoint]:
    """The deployments that the README names."""
    names = ("small-chat", "Small-Chat-PTU", "small-embed")
    with LocalEndpoint([LocalDeployment(name) for name in names]) as endpoint:
        yield endpoint


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs_with_two_strings_changed(program: str, endpoint: LocalEndpoint) -> None:
    program = program.replace("https://contoso.services.ai.azure.com", endpoint.url)
    program = program.replace("a-key", endpoint.key)
    # LlamaIndex asks for the event loop without one, of which Python 3.12 warns.
    no_loop = "ignore:There is no current event loop:DeprecationWarning"
    command = [sys.executable, "-W", "error", "-W", no_loop, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_the_configuration_example_is_valid(tmp_path: Path) -> None:
    files = re.findall(r"^```toml\n(.*?)^```", CORE, re.DOTALL | re.MULTILINE)
    one, several = [each for each in files if "[local" in each]
    path = tmp_path / "azinfer.toml"
    path.write_text(one, "utf-8")
    endpoint = LocalEndpoint.from_config(path)
    assert [each.spillover for each in endpoint.deployments] == ["mistral-standard", ""]
    path.write_text(several, "utf-8")
    assert [each.key for each in LocalEndpoints.from_config(path).values()] == [
        "key-of-main",
        "key-of-west",
    ]
    client = core.InferenceClient.from_config(path)
    assert client.explain(model="gpt-4o@west").url.startswith("http://127.0.0.1:8766/")


def test_there_are_programs() -> None:
    assert len(PROGRAMS) > 4


def test_the_tree_of_errors_is_complete() -> None:
    (tree,) = re.findall(r"```text\nInferenceError\n.*?```", README, re.DOTALL)
    named = set(re.findall(r"\b[A-Z]\w+Error\b", tree))
    assert all(issubclass(getattr(core, name), core.InferenceError) for name in named)
    assert {"RateLimitError", "StreamInterruptedError"} <= named


def test_named_files_exist() -> None:
    for path in re.findall(r"`(tests/[\w/.]+)`|`python (tests/[\w/.]+)`", ALL):
        assert (ROOT / "".join(path)).exists()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_examples_of_a_module_pass(path: Path) -> None:
    import doctest
    import importlib

    result = doctest.testmod(importlib.import_module(f"azinfer.core.{path.stem}"))
    assert result.failed == 0


@pytest.mark.parametrize(
    "name",
    [
        "azinfer.ag2.config",
        "azinfer.agent_framework.chat",
        "azinfer.agent_framework.embeddings",
        "azinfer.langchain.chat",
        "azinfer.langchain.embeddings",
        "azinfer.llama_index.chat",
        "azinfer.llama_index.embeddings",
        "azinfer.local.endpoint",
        "azinfer.local.endpoints",
        "azinfer.local.engines.base",
        "azinfer.local.engines.scripted",
        "azinfer.local.engines.synthetic",
        "azinfer.local.engines.upstream",
        "azinfer.local.resource.content_filter",
        "azinfer.local.resource.deployment",
        "azinfer.local.resource.faults",
        "azinfer.local.resource.latency",
        "azinfer.migrate.rewriter",
        "azinfer.otel.instrumentation",
        "azinfer.semantic_kernel.chat",
        "azinfer.semantic_kernel.embeddings",
        "azinfer.semantic_kernel.settings",
        "azinfer.semantic_kernel.completion",
    ],
)
def test_the_examples_outside_core_pass(name: str) -> None:
    import doctest
    import importlib

    result = doctest.testmod(importlib.import_module(name))
    assert (result.failed, result.attempted > 0) == (0, True)


def test_the_conversation_of_assistants_runs_on_responses(endpoint: LocalEndpoint) -> None:
    (program,) = (each for each in PROGRAMS if "threads.runs" in each)
    program = program.replace("https://contoso.services.ai.azure.com", endpoint.url)
    endpoint.requests.clear()
    names: dict[str, Any] = {}
    exec(program.replace("a-key", endpoint.key), names)
    first, second = endpoint.requests
    assert {first.path, second.path} == {"/openai/v1/responses"}
    assert (first.body["store"], second.body["store"]) == (False, False)
    assert [item["type"] for item in second.body["input"][2:]] == [
        "function_call",
        "function_call_output",
    ]
    assert names["answer"].text.endswith("sunny, 21 degrees")
    assert names["answer"].raw["output"]
    assert json.loads(json.dumps([each.state for each in names["thread"][2::2]]))


@pytest.mark.parametrize("kept_by", ["conversation", "previous_response_id"])
def test_the_service_may_keep_the_history_instead(endpoint: LocalEndpoint, kept_by: str) -> None:
    client = core.InferenceClient(endpoint.url, endpoint.key, "small-chat", wire="responses")
    response = httpx.post(
        f"{endpoint.url}/openai/v1/conversations", headers={"api-key": endpoint.key}, json={}
    )
    keep: dict[str, Any] = {"store": True}
    if kept_by == "conversation":
        keep["conversation"] = response.json()["id"]
    first = client.complete([core.UserMessage("My name is Ada.")], **keep)
    if kept_by == "previous_response_id":
        keep["previous_response_id"] = first.id
    endpoint.requests.clear()
    answer = client.complete([core.UserMessage("Who am I?")], **keep)
    (request,) = endpoint.requests
    assert len(request.body["input"]) == 1
    assert answer.usage is not None
    assert first.usage is not None
    assert answer.usage.prompt_tokens > first.usage.prompt_tokens
